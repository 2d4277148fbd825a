// Runs a schedule's instructions on this rank's stage, moving activations and gradients between
// neighbours.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "model/schedule.h"
#include "model/stage.h"

namespace weft {

class Pipeline {
 public:
  Pipeline(const Context& ctx, Stage& stage) : ctx_(ctx), stage_(stage) {}

  // `load(slot, m)` fills ids, labels and batch of micro-batch m before its forward; `done(slot,
  // m)` sees it after its forward; `ready` as Stage::backward's, for the last micro-batch's
  // backward only: then all gradients up to there are final on this rank.
  struct Hooks {
    std::function<void(StageSlot&, int)> load;
    std::function<void(StageSlot&, int)> done;
    std::function<void(std::int64_t flat_end)> ready;
  };
  void run(const std::vector<Instruction>& list, const Hooks& hooks);

 private:
  void wait(std::unique_ptr<Transfer>& transfer);

  const Context& ctx_;
  Stage& stage_;
};

}  // namespace weft
