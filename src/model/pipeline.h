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
  // chunks: of this rank's stage, in the model's order; they must outlive the pipeline.
  Pipeline(const Context& ctx, std::vector<Stage*> chunks)
      : ctx_(ctx), chunks_(std::move(chunks)) {}

  // `load(slot, m)` fills slot.batch with micro-batch m before its forward; `done(slot, m)` sees it
  // after its forward; `ready` as Stage::backward's, while the last instructions run that add to
  // gradients: then all gradients up to there are final on this rank.
  struct Hooks {
    std::function<void(StageSlot&, int)> load;
    std::function<void(StageSlot&, int)> done;
    Stage::Ready ready;
  };
  // Runs a list that check_schedule lets through, with as many slots. Collective over pp.
  void run(const std::vector<Instruction>& list, const Hooks& hooks);

 private:
  struct Run;

  const Context& ctx_;
  std::vector<Stage*> chunks_;
};

}  // namespace weft
