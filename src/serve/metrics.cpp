#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft {
namespace {

std::string head(const std::string& name, const char* type, const std::string& help) {
  return fmt::format("# TYPE {} {}\n# HELP {} {}\n", name, type, name, help);
}

std::string counter(const std::string& name, std::int64_t value, const std::string& help) {
  return head(name, "counter", help) + fmt::format("{}_total {}\n", name, value);
}

template <class T>
std::string gauge(const std::string& name, T value, const std::string& help) {
  return head(name, "gauge", help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

void MetricHistogram::add(double seconds) {
  const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++counts_[static_cast<std::size_t>(at)];
  sum_ += seconds;
}

std::string MetricHistogram::text(const std::string& name, const std::string& help) const {
  std::string out = head(name, "histogram", help);
  std::int64_t below = 0;
  for (std::size_t b = 0; b < counts_.size(); ++b) {
    below += counts_[b];
    const std::string bound = b < kBounds.size() ? fmt::format("{}", kBounds[b]) : "+Inf";
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, below);
  }
  return out + fmt::format("{}_count {}\n{}_sum {}\n", name, below, name, sum_);
}

void ServeMetrics::answered(const std::string& path, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++answers_[{path, status}];
  whole_.add(seconds);
}

void ServeMetrics::tokens(std::int64_t prompt, std::int64_t generated) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += prompt;
  generated_tokens_ += generated;
}

void ServeMetrics::began(double waited_s) {
  const std::lock_guard lock(mutex_);
  waited_.add(waited_s);
}

void ServeMetrics::first_token(double after_s) {
  const std::lock_guard lock(mutex_);
  first_token_.add(after_s);
}

void ServeMetrics::dropped() {
  const std::lock_guard lock(mutex_);
  ++dropped_;
}

void ServeMetrics::engine(const EngineGauges& gauges) {
  const std::lock_guard lock(mutex_);
  engine_ = gauges;
}

std::string ServeMetrics::text(std::size_t n_waiting) const {
  const std::lock_guard lock(mutex_);
  std::string out = head("weft_http_requests", "counter", "Requests by path and status.");
  for (const auto& [key, n] : answers_)
    out += fmt::format("weft_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first,
                       key.second, n);
  out += counter("weft_prompt_tokens", prompt_tokens_, "Tokens of prompts.");
  out += counter("weft_generation_tokens", generated_tokens_, "Tokens generated.");
  out += counter("weft_requests_dropped", dropped_,
                 "Requests whose client went away, or whose time was over.");
  out += counter("weft_engine_passes", engine_.passes, "Passes through the model.");
  out += gauge("weft_requests_waiting", static_cast<std::int64_t>(n_waiting),
               "Requests that wait for the engine.");
  out += gauge("weft_continuations_running", engine_.running, "Continuations under way.");
  out += gauge("weft_cache_usage_ratio", engine_.cache_use,
               "Share of the cache of keys and values in use.");
  out += whole_.text("weft_request_seconds", "From a request to the end of its answer.");
  out += waited_.text("weft_queue_seconds", "From a request to its beginning in the engine.");
  out += first_token_.text("weft_first_token_seconds", "From a request to its first new token.");
  return out + "# EOF\n";
}

}  // namespace weft
