// The only source that includes cpp-httplib.
#include "serve/http.h"

#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "core/check.h"

namespace weft {
namespace {

constexpr int kSilence_s = 10;             // a client that neither sends nor takes anything so long
constexpr double kBody_s = 60;             // in which a body must be there
constexpr std::size_t kConnections = 512;  // at once; others wait to be accepted

// A thread a connection, kept for the next one: whoever is slow keeps nobody waiting.
class Connections : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_ && threads_.size() < kConnections)
      threads_.emplace_back([this] { work(); });
    changed_.notify_one();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      changed_.wait(lock, [&] { return ends_ || !tasks_.empty(); });
      --idle_;
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ends_ = false;
};

int port_of(const sockaddr_storage& address) {
  switch (address.ss_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    default:
      return -1;
  }
}

// Each of this process's connections to the server's port, with the client's port.
template <class Visit>
void each_connection(int server_port, const Visit& visit) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    sockaddr_storage here{}, there{};
    socklen_t n = sizeof here;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &n) != 0) continue;
    n = sizeof there;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &n) != 0) continue;
    if (port_of(here) == server_port) visit(fd, port_of(there));
  }
}

// The request's own connection, which the library does not tell: it stays open while its handler
// runs. -1: not found.
int socket_of(const httplib::Request& request, int server_port) {
  int found = -1;
  each_connection(server_port, [&](int fd, int client_port) {
    if (client_port == request.remote_port) found = fd;
  });
  return found;
}

bool is_closed(int fd) {
  char byte = 0;
  const auto n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

// Not SO_REUSEPORT, by which a second server would share the port without a word.
void set_socket_options(int fd) {
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

struct HttpServer::Impl {
  httplib::Server server;
  HttpHandler handler;
  HttpRefusal refusal;
  int port = -1;
  std::thread thread;

  HttpAnswer answer_to(const httplib::Request& request, std::string body) const {
    HttpRequest r;
    r.method = request.method;
    r.path = request.path;
    r.authorization = request.get_header_value("Authorization");
    r.body = std::move(body);
    r.gone = [fd = socket_of(request, port)] { return fd >= 0 && is_closed(fd); };
    return handler(r);
  }

  static void give(HttpAnswer answer, httplib::Response& response) {
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    if (!answer.stream) return response.set_content(answer.body, answer.type);
    response.set_chunked_content_provider(
        answer.type, [stream = answer.stream](std::size_t, httplib::DataSink& sink) {
          bool taken = true;
          stream([&](const std::string& piece) {
            taken = taken && sink.write(piece.data(), piece.size());
            return taken;
          });
          if (taken) sink.done();
          return taken;
        });
  }

  // With the body as it comes, unpacked: neither too large nor for ever.
  void take(const httplib::Request& request, httplib::Response& response,
            const httplib::ContentReader& reader) const {
    const auto begin = std::chrono::steady_clock::now();
    std::string body;
    int status = 200;
    const auto receive = [&](const char* data, std::size_t n) {
      if (body.size() + n > kMaxBodyBytes) status = 413;
      if (std::chrono::steady_clock::now() - begin > std::chrono::duration<double>(kBody_s))
        status = 408;
      if (status == 200) body.append(data, n);
      return status == 200;
    };
    const bool whole = request.is_multipart_form_data() ? (status = 415, false) : reader(receive);
    if (!whole && status == 200) status = response.status >= 400 ? response.status : 400;
    give(status == 200 ? answer_to(request, std::move(body)) : refusal(status), response);
  }
};

HttpServer::HttpServer(const HttpSettings& settings, HttpHandler handler, HttpRefusal refusal)
    : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  impl_->refusal = std::move(refusal);
  httplib::Server& s = impl_->server;
  s.new_task_queue = [] { return new Connections; };
  s.set_socket_options([](auto fd) { set_socket_options(fd); });
  s.set_tcp_nodelay(true);
  s.set_payload_max_length(kMaxBodyBytes);
  s.set_read_timeout(kSilence_s);
  s.set_write_timeout(kSilence_s);
  s.set_keep_alive_timeout(5);
  s.set_keep_alive_max_count(1000);
  const Impl* impl = impl_.get();
  const httplib::Server::Handler without_body = [=](const httplib::Request& request,
                                                    httplib::Response& response) {
    Impl::give(impl->answer_to(request, ""), response);
  };
  const httplib::Server::HandlerWithContentReader with_body =
      [=](const httplib::Request& request, httplib::Response& response,
          const httplib::ContentReader& reader) { impl->take(request, response, reader); };
  const std::string all = ".*";
  s.Get(all, without_body).Options(all, without_body);
  s.Post(all, with_body).Put(all, with_body).Patch(all, with_body).Delete(all, with_body);
  s.set_error_handler(
      httplib::Server::Handler([=](const httplib::Request&, httplib::Response& response) {
        if (response.body.empty()) Impl::give(impl->refusal(response.status), response);
      }));
  errno = 0;
  const std::string& host = settings.host;
  if (settings.port == 0)
    impl_->port = s.bind_to_any_port(host);
  else if (s.bind_to_port(host, settings.port))
    impl_->port = settings.port;
  const std::string reason = errno != 0 ? std::strerror(errno) : "it is not this host's";
  CHECK_USER(impl_->port > 0,
             "--host {} --port {} cannot be had ({}); allowed: an address of this host and a free "
             "port, 0 for any",
             host, settings.port, reason);
}

HttpServer::~HttpServer() { stop(); }

int HttpServer::port() const { return impl_->port; }

void HttpServer::start() {
  impl_->thread = std::thread([this] { impl_->server.listen_after_bind(); });
  while (!impl_->server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void HttpServer::stop() {
  if (!impl_->thread.joinable()) return;
  impl_->server.stop();
  // Connections that are kept for another request wait for none.
  each_connection(impl_->port, [](int fd, int) { ::shutdown(fd, SHUT_RD); });
  impl_->thread.join();
}

}  // namespace weft
