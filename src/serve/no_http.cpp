// Stands for http.cpp where cpp-httplib was not found.
#include "core/check.h"
#include "serve/http.h"

namespace weft {

struct HttpServer::Impl {};

HttpServer::HttpServer(const HttpSettings&, HttpHandler, HttpRefusal) {
  user_error("weft serve is not built in: cpp-httplib was not found (Debian: libcpp-httplib-dev)");
}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return 0; }
void HttpServer::start() {}
void HttpServer::stop() {}

}  // namespace weft
