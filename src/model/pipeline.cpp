#include "model/pipeline.h"

#include <algorithm>
#include <map>

namespace weft {

// One list under way.
struct Pipeline::Run {
  using Sent = std::map<const StageSlot*, std::unique_ptr<Transfer>>;

  const Context& ctx;
  const std::vector<Stage*>& chunks;
  const Hooks& hooks;
  Communicator& pp = ctx.grid.pp();
  // A slot's buffers may be written again only when what was sent from them has left.
  Sent outputs = {}, gradients = {};

  int next() const { return (pp.rank() + 1) % pp.size(); }
  int previous() const { return (pp.rank() + pp.size() - 1) % pp.size(); }
  // Of what the stage sends: the last stage's chunk goes on in the first one's next chunk.
  int next_chunk(int chunk) const { return chunk + (pp.rank() == pp.size() - 1 ? 1 : 0); }
  int previous_chunk(int chunk) const { return chunk - (pp.rank() == 0 ? 1 : 0); }
  // A message is known by what receives it. There are fewer tags than micro-batches may be: of two
  // with the same one, which no list has under way at once, the first sent is received first.
  int tag(bool gradient, int chunk, int m) const {
    const std::int64_t place = static_cast<std::int64_t>(m) * std::ssize(chunks) + chunk;
    return static_cast<int>(2 * (place % 16'000) + (gradient ? 1 : 0));
  }

  // Waiting for a neighbour is the pipeline's bubble.
  void wait(std::unique_ptr<Transfer>& transfer) const {
    if (!transfer) return;
    const auto timed = time_as(ctx, TimeShare::bubble);
    transfer->wait();
    transfer.reset();
  }
  void receive(View into, int from, int tag) const {
    auto transfer = pp.start_recv(into, from, tag, ctx.stream);
    wait(transfer);
  }

  void forward(Stage& stage, StageSlot& slot, int m) const {
    {
      const auto timed = time_as(ctx, TimeShare::data);
      hooks.load(slot, m);
    }
    const auto timed = time_as(ctx, TimeShare::forward);
    stage.forward(slot);
    if (hooks.done) hooks.done(slot, m);
  }

  void step(const Instruction& in, const Stage::Ready& ready) {
    const int m = in.micro_batch, chunk = in.chunk;
    Stage& stage = *chunks[static_cast<std::size_t>(chunk)];
    StageSlot& slot = stage.slot(m);
    const StageActivations& a = slot.activations;
    switch (in.op) {
      case Op::recv_activation:
        return receive(a.input, previous(), tag(false, chunk, m));
      case Op::forward:
        wait(outputs[&slot]);
        return forward(stage, slot, m);
      case Op::send_activation:
        outputs[&slot] =
            pp.start_send(a.output, next(), tag(false, next_chunk(chunk), m), ctx.stream);
        return;
      case Op::recv_gradient:
        wait(gradients[&slot]);
        return receive(a.dx, next(), tag(true, chunk, m));
      case Op::backward: {
        wait(gradients[&slot]);
        const auto timed = time_as(ctx, TimeShare::backward);
        return stage.backward(slot, ready);
      }
      case Op::backward_input: {
        wait(gradients[&slot]);
        const auto timed = time_as(ctx, TimeShare::backward);
        return stage.backward_input(slot);
      }
      case Op::backward_weight: {
        const auto timed = time_as(ctx, TimeShare::backward);
        return stage.backward_weight(slot, ready);
      }
      case Op::send_gradient:
        gradients[&slot] =
            pp.start_send(a.dx, previous(), tag(true, previous_chunk(chunk), m), ctx.stream);
        return;
    }
  }
};

void Pipeline::run(const std::vector<Instruction>& list, const Hooks& hooks) {
  // The last instruction that adds to a chunk's gradients. Those of later chunks lie before it in
  // the flat order, so that it makes ready what it says only where they are finished too.
  std::vector<std::ptrdiff_t> last(chunks_.size(), -1);
  for (std::size_t i = 0; i < list.size(); ++i)
    if (list[i].op >= Op::backward && list[i].op <= Op::backward_weight)
      last[static_cast<std::size_t>(list[i].chunk)] = static_cast<std::ptrdiff_t>(i);
  Run run = {.ctx = ctx_, .chunks = chunks_, .hooks = hooks};
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto chunk = static_cast<std::ptrdiff_t>(list[i].chunk);
    const bool final =
        *std::max_element(last.begin() + chunk, last.end()) == static_cast<std::ptrdiff_t>(i);
    run.step(list[i], final ? hooks.ready : nullptr);
  }
  for (Run::Sent* sent : {&run.outputs, &run.gradients})
    for (auto& [slot, transfer] : *sent) run.wait(transfer);
}

}  // namespace weft
