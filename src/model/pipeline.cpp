#include "model/pipeline.h"

#include <map>

namespace weft {
namespace {

constexpr int kForwardTag = 1, kBackwardTag = 2;

}  // namespace

// Waiting for a neighbour is the pipeline's bubble.
void Pipeline::wait(std::unique_ptr<Transfer>& transfer) {
  if (!transfer) return;
  const auto timed = time_as(ctx_, TimeShare::bubble);
  transfer->wait();
  transfer.reset();
}

void Pipeline::run(const std::vector<Instruction>& list, const Hooks& hooks) {
  Communicator& pp = ctx_.grid.pp();
  const int rank = pp.rank();
  int last_backward = -1;
  for (const Instruction& in : list)
    if (in.op == Op::backward) last_backward = in.micro_batch;

  // A slot's buffers may be written again only when what was sent from them has left.
  std::map<const StageSlot*, std::unique_ptr<Transfer>> sent_output, sent_gradient;
  for (const Instruction& in : list) {
    StageSlot& slot = stage_.slot(in.micro_batch);
    switch (in.op) {
      case Op::recv_forward: {
        wait(sent_gradient[&slot]);
        auto transfer = pp.start_recv(slot.activations.input, rank - 1, kForwardTag, ctx_.stream);
        wait(transfer);
        break;
      }
      case Op::forward: {
        wait(sent_output[&slot]);
        wait(sent_gradient[&slot]);
        {
          const auto timed = time_as(ctx_, TimeShare::data);
          hooks.load(slot, in.micro_batch);
        }
        const auto timed = time_as(ctx_, TimeShare::forward);
        stage_.forward(slot);
        if (hooks.done) hooks.done(slot, in.micro_batch);
        break;
      }
      case Op::send_forward:
        sent_output[&slot] =
            pp.start_send(slot.activations.output, rank + 1, kForwardTag, ctx_.stream);
        break;
      case Op::recv_backward: {
        auto transfer = pp.start_recv(slot.activations.dx, rank + 1, kBackwardTag, ctx_.stream);
        wait(transfer);
        break;
      }
      case Op::backward: {
        const auto timed = time_as(ctx_, TimeShare::backward);
        stage_.backward(slot, in.micro_batch == last_backward ? hooks.ready : nullptr);
        break;
      }
      case Op::send_backward:
        sent_gradient[&slot] =
            pp.start_send(slot.activations.dx, rank - 1, kBackwardTag, ctx_.stream);
        break;
    }
  }
  for (auto* sent : {&sent_output, &sent_gradient})
    for (auto& [slot, transfer] : *sent) wait(transfer);
}

}  // namespace weft
