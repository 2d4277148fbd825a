// HTTP on a socket: who connects, what they send, and what they are told. Knows no model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft {

constexpr std::size_t kMaxBodyBytes = std::size_t{16} << 20;

struct HttpRequest {
  std::string method, path, authorization;  // the header of that name
  std::string body;
  // Whether the client has closed its connection, so that nobody waits for the answer.
  std::function<bool()> gone = [] { return false; };
};

// False: the client does not take it, and never will.
using HttpWrite = std::function<bool(const std::string& piece)>;

struct HttpAnswer {
  int status = 200;
  std::string type = "application/json", body = "";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::function<void(const HttpWrite&)> stream = nullptr;  // instead of a body: writes its pieces
};

struct HttpSettings {
  std::string host;
  int port = 0;  // 0: any that is free
};

// Where the transport refuses by itself (a body too large, no HTTP): the answer to that status.
using HttpRefusal = std::function<HttpAnswer(int status)>;
// Called on a thread of the connection, so that clients wait for nobody but themselves; must not
// throw.
using HttpHandler = std::function<HttpAnswer(const HttpRequest&)>;

class HttpServer {
 public:
  // Listens; connections wait until start(). UserError where the address cannot be had.
  HttpServer(const HttpSettings& settings, HttpHandler handler, HttpRefusal refusal);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  void start();
  void stop();  // returns when all answers under way are given

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
