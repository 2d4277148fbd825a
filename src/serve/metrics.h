// What the server has done, as the OpenMetrics text that Prometheus reads.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace weft {

// Seconds in buckets that grow by about two.
class MetricHistogram {
 public:
  static constexpr std::array<double, 16> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                     2.5,   5,    10,    25,   50,  100,  250, 500};
  void add(double seconds);
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::array<std::int64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

// What changes from pass to pass.
struct EngineGauges {
  std::int64_t passes = 0;
  std::int64_t running = 0;  // continuations under way
  double cache_use = 0;      // share of the cache's rows in use
};

class ServeMetrics {
 public:
  void answered(const std::string& path, int status, double seconds);
  void tokens(std::int64_t prompt, std::int64_t generated);
  void began(double waited_s);
  void first_token(double after_s);  // since the request came
  void dropped();                    // its client went away, or its time was over
  void engine(const EngineGauges& gauges);
  std::string text(std::size_t n_waiting) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::int64_t> answers_;
  std::int64_t prompt_tokens_ = 0, generated_tokens_ = 0, dropped_ = 0;
  MetricHistogram whole_, waited_, first_token_;
  EngineGauges engine_;
};

constexpr const char* kMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

}  // namespace weft
