#include "infer/engine.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;

// A continuation under way.
struct Sequence {
  std::size_t request = 0;
  std::vector<std::int32_t> ids;  // prompt and new tokens
  std::int64_t cached = 0;        // of them in the cache
  std::int64_t slot = 0;
  Completion completion;
  std::string tail;               // last bytes of the new text, for stop strings
};

// A token of a sequence whose row comes last in this pass.
struct Next {
  Sequence* sequence;
  std::int64_t row;
};

bool ends_in_stop(Sequence& s, const Generation& g, const Tokenizer* tokenizer) {
  if (g.stop.empty()) return false;
  CHECK(tokenizer, "stop strings need a tokenizer");
  const std::string& piece = tokenizer->token_bytes(s.ids.back());
  std::size_t longest = 0;
  for (const std::string& stop : g.stop) longest = std::max(longest, stop.size());
  s.tail += piece;
  if (s.tail.size() > longest + piece.size()) s.tail.erase(0, s.tail.size() - longest - piece.size());
  return std::any_of(g.stop.begin(), g.stop.end(), [&](const std::string& stop) { return s.tail.find(stop) != std::string::npos; });
}

}  // namespace

Engine::Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters, const Tokenizer* tokenizer, EngineLimits limits)
    : ctx_(ctx), config_(config), parameters_(parameters), tokenizer_(tokenizer), limits_(limits) {}

void Engine::run(std::span<const GenerationRequest> requests, const std::function<void(std::size_t, const Completion&)>& done) {
  if (requests.empty()) return;
  const Grid& grid = ctx_.grid;
  DecoderShape shape;
  shape.slots = std::min<std::int64_t>(limits_.max_batch, static_cast<std::int64_t>(requests.size()));
  for (const GenerationRequest& r : requests) {
    const auto length = static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
    CHECK(!r.ids.empty() && length <= config_.context, "a request of {} tokens for a context of {}", length, config_.context);
    shape.S = std::max(shape.S, length);
    shape.max_rows += static_cast<std::int64_t>(r.ids.size());
  }
  shape.max_rows = std::clamp(shape.max_rows, shape.slots, std::max(limits_.max_rows, shape.slots));
  shape.max_logit_rows = shape.slots;
  Decoder decoder(ctx_, config_, parameters_, shape);
  Sampler sampler;
  const bool chooses = grid.is_last_stage() && grid.tp().rank() == 0;
  const int chooser = (grid.shape().pp - 1) * grid.shape().tp;  // its rank in the replica
  const Clock::time_point start = Clock::now();

  std::vector<std::optional<Sequence>> slots(static_cast<std::size_t>(shape.slots));
  std::size_t admitted = 0, finished = 0;
  std::vector<std::int32_t> ids, positions, chosen;
  std::vector<float> logprobs;
  while (finished < requests.size()) {
    for (std::size_t s = 0; s < slots.size() && admitted < requests.size(); ++s)
      if (!slots[s]) slots[s] = Sequence{.request = admitted, .ids = requests[admitted].ids, .cached = 0, .slot = static_cast<std::int64_t>(s), .completion = {}, .tail = {}}, ++admitted;

    // One row each for those that are writing; what is left of the pass goes to prompts.
    ids.clear();
    positions.clear();
    std::vector<CacheSlice> slices;
    std::vector<Next> next;
    std::int64_t writing = 0;
    for (const auto& s : slots) writing += s && static_cast<std::int64_t>(s->ids.size()) - s->cached == 1;
    std::int64_t room = shape.max_rows - writing;
    for (auto& slot : slots) {
      if (!slot) continue;
      Sequence& s = *slot;
      const std::int64_t waiting = static_cast<std::int64_t>(s.ids.size()) - s.cached;
      const std::int64_t n = waiting == 1 ? 1 : std::min(waiting, room);
      if (n == 0) continue;
      if (waiting > 1) room -= n;
      slices.push_back({static_cast<std::int64_t>(ids.size()), n, s.cached, s.slot});
      for (std::int64_t i = 0; i < n; ++i) {
        ids.push_back(s.ids[static_cast<std::size_t>(s.cached + i)]);
        positions.push_back(static_cast<std::int32_t>(s.cached + i));
      }
      s.cached += n;
      if (n == waiting) next.push_back({&s, static_cast<std::int64_t>(ids.size()) - 1});
    }
    const ConstView hidden = decoder.hidden(ids, positions, slices);
    if (next.empty()) continue;

    // The choices and the clock of one rank are everyone's.
    chosen.assign(next.size() + 1, 0);
    logprobs.assign(next.size(), 0);
    if (grid.is_last_stage()) {
      std::vector<std::int64_t> rows;
      for (const Next& n : next) rows.push_back(n.row);
      const ConstView logits = decoder.logits(hidden, rows);
      for (std::size_t i = 0; chooses && i < next.size(); ++i) {
        const GenerationRequest& r = requests[next[i].sequence->request];
        const std::span<const float> row(logits.as<float>() + static_cast<std::int64_t>(i) * config_.vocab, static_cast<std::size_t>(config_.vocab));
        const Sampler::Choice choice = sampler.choose(row, r.options, next[i].sequence->ids, static_cast<std::int64_t>(r.ids.size()), r.stream);
        chosen[i] = choice.id;
        logprobs[i] = choice.logprob;
      }
    }
    chosen.back() = static_cast<std::int32_t>(std::min(1e9, 1e3 * std::chrono::duration<double>(Clock::now() - start).count()));
    if (grid.replica().size() > 1) {
      grid.replica().broadcast(View(chosen.data(), Dims{static_cast<std::int64_t>(chosen.size())}), chooser, ctx_.stream);
      grid.replica().broadcast(View(logprobs.data(), Dims{static_cast<std::int64_t>(logprobs.size())}), chooser, ctx_.stream);
    }
    const double elapsed = chosen.back() * 1e-3;
    for (std::size_t i = 0; i < next.size(); ++i) {
      Sequence& s = *next[i].sequence;
      const Generation& g = requests[s.request].options;
      s.ids.push_back(chosen[i]);
      s.completion.ids.push_back(chosen[i]);
      if (g.logprobs) s.completion.logprobs.push_back(logprobs[i]);
      std::string& finish = s.completion.finish;
      if (std::find(g.eos.begin(), g.eos.end(), chosen[i]) != g.eos.end()) finish = "eos";
      else if (ends_in_stop(s, g, tokenizer_)) finish = "stop";
      else if (static_cast<std::int64_t>(s.completion.ids.size()) >= g.max_new_tokens) finish = "length";
      else if (g.max_time > 0 && elapsed >= g.max_time) finish = "time";
      if (finish.empty()) continue;
      done(s.request, s.completion);
      ++finished;
      slots[static_cast<std::size_t>(s.slot)].reset();
    }
  }
}

}  // namespace weft
