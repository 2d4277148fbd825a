// What becomes of one HTTP request: routes, keys, limits, and the answer as its events come. Runs
// on the threads of the connections; the engine is behind a queue.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/work.h"

namespace weft {

struct DeskSettings {
  std::vector<std::string> api_keys;  // none: everybody is served
  double request_timeout_s = 600;
};

class ServeDesk {
 public:
  // All outlive it.
  ServeDesk(const ServedModel& model, DeskSettings settings, WorkQueue& queue,
            ServeMetrics& metrics);

  HttpAnswer answer(const HttpRequest& request);  // never throws
  static HttpAnswer refusal(int status);          // of the transport's own

 private:
  HttpAnswer route(const HttpRequest& request);
  HttpAnswer generate(ServedRoute route, const HttpRequest& request);
  HttpAnswer embed(const HttpRequest& request);
  WorkPtr queued(ServedRequest request, const std::string& body);
  WorkEvent next_event(ServedWork& work, const HttpRequest& request) const;
  void stream(const WorkPtr& work, const HttpRequest& request,
              const std::optional<WorkEvent>& first, const HttpWrite& write);
  void check_key(const HttpRequest& request) const;

  const ServedModel& model_;
  DeskSettings settings_;
  WorkQueue& queue_;
  ServeMetrics& metrics_;
  std::atomic<std::uint64_t> answers_ = 0;
  const std::int64_t began_;  // seconds since 1970
};

}  // namespace weft
