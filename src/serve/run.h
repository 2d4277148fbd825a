// The server's engine, on every rank of the replica: takes requests from the queue while it runs,
// and gives back what comes of them.
#pragma once

#include <map>
#include <unordered_map>

#include "core/system/deadline.h"
#include "infer/engine.h"
#include "serve/metrics.h"
#include "serve/orders.h"
#include "serve/work.h"

namespace weft {

// What rank 0 has to do with.
struct ServeRoom {
  WorkQueue& queue;
  ServeMetrics& metrics;
};

class ServeRun {
 public:
  // All outlive it. Collective, as run() is.
  ServeRun(const Context& ctx, const ServedModel& model, const Parameters& parameters,
           const EngineLimits& limits, const Deadline& deadline, ServeRoom room,
           const EngineWatch& watch);
  ~ServeRun();  // whoever still waits is told so

  // Until a signal or the deadline; why it ended. What waits then is refused, what is under way has
  // a moment to end. Throws where the machine fails.
  Failure run();

 private:
  // Rank 0's: whom an engine's request belongs to.
  struct Asked {
    WorkPtr work;
    std::size_t choice = 0;
    bool writes = false;  // its first token is there
  };
  EngineOrders next(bool idle);
  ServeOrders compose(bool idle);
  void begin_all(ServeOrders& orders);
  void drop_left(ServeOrders& orders);
  bool stop_now();
  BegunRequest begun(const ServedWork& work);
  void add_requests(const BegunRequest& begun, const WorkPtr& work, EngineOrders& orders);
  void read_prompts(const ServedRequest& request, const WorkPtr& work);
  void gauge();
  void fail_all(const HttpError& error);
  void note_token(std::size_t number, const ChosenToken& token);
  void note_done(std::size_t number, const Completion& completion);

  const Context& ctx_;
  const ServedModel& model_;
  const Parameters& parameters_;
  const EngineLimits limits_;
  const Deadline& deadline_;
  ServeRoom room_;
  EngineStatistics own_statistics_, *statistics_;
  GenerationCounts counted_;  // by the last pass but one
  OrderWire wire_;
  Engine engine_;
  std::map<std::size_t, Asked> asked_;
  std::vector<WorkPtr> beginning_;  // rank 0's, of the orders that are shared now
  std::size_t next_number_ = 0;     // of an engine's request
  std::unordered_map<std::uint64_t, std::int64_t> copies_;  // of each prompt without a seed
  std::optional<Failure> stopped_;
  double stop_at_s_ = 0;  // when what is under way ends too
  bool warned_ = false;
};

}  // namespace weft
