#include "infer/engine.h"

#include <algorithm>
#include <chrono>
#include <list>
#include <optional>

#include "infer/beam.h"
#include "model/rope.h"

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;

// A text in a slot of the cache; `text` belongs to its Work.
struct Lane {
  std::int64_t slot = 0;
  std::int64_t cached = 0;  // tokens of the text in the cache
};

// A request under way: one lane, or one a beam (a single one until the prompt is read).
struct Work {
  std::size_t request = 0;
  std::vector<Lane> lanes;
  std::vector<std::int64_t> spare;  // slots held for beams to come
  Continuation text;                // without beams
  std::optional<BeamSearch> beams;

  const std::vector<std::int32_t>& ids(std::size_t lane) const {
    return beams ? beams->running()[lane].text.ids : text.ids;
  }
  std::int64_t waiting(std::size_t lane) const {
    return static_cast<std::int64_t>(ids(lane).size()) - lanes[lane].cached;
  }
};

// What the choosing rank tells the others after a pass.
struct Choices {
  double elapsed_s = 0;
  std::vector<BeamCandidate> candidates;  // n_candidates of each work in turn; beam -1: none
};

struct Rows {
  std::vector<std::int32_t> ids;
  std::vector<CacheSlice> slices;
  std::vector<std::int64_t> lengths;  // of each slice's text
  std::vector<std::int64_t>
      last;                  // rows that end a text: those whose logits are wanted, work by work
  std::vector<Work*> ready;  // works all of whose lanes have such a row
};

// One row each for those that are writing; what is left of the pass goes to prompts. A text whose
// earlier tokens look different now that it is longer is read again. Where a model reads in both
// directions its prompt comes in one piece: all of it sees all of it, and what follows sees what
// came before, as transformers does with a BERT that is no decoder.
Rows fill_pass(const ModelConfig& config, std::list<Work>& works, std::int64_t max_rows) {
  for (Work& w : works)
    for (std::size_t l = 0; l < w.lanes.size(); ++l)
      if (rope_restarts(config, w.lanes[l].cached, static_cast<std::int64_t>(w.ids(l).size())))
        w.lanes[l].cached = 0;
  Rows rows;
  std::int64_t room = max_rows;
  for (const Work& w : works)
    for (std::size_t l = 0; l < w.lanes.size(); ++l) room -= w.waiting(l) == 1;
  for (Work& w : works) {
    bool ready = true;
    for (std::size_t l = 0; l < w.lanes.size(); ++l) {
      Lane& lane = w.lanes[l];
      const std::int64_t waiting = w.waiting(l), n = waiting == 1 ? 1
                                                     : config.causal || waiting <= room
                                                         ? std::min(waiting, room)
                                                         : 0;
      ready = ready && n == waiting;
      if (n == 0) continue;
      if (waiting > 1) room -= n;
      rows.slices.push_back(
          {static_cast<std::int64_t>(rows.ids.size()), n, lane.cached, lane.slot});
      const auto& ids = w.ids(l);
      rows.lengths.push_back(static_cast<std::int64_t>(ids.size()));
      for (std::int64_t i = 0; i < n; ++i)
        rows.ids.push_back(ids[static_cast<std::size_t>(lane.cached + i)]);
      lane.cached += n;
      if (n == waiting) rows.last.push_back(static_cast<std::int64_t>(rows.ids.size()) - 1);
    }
    if (ready) rows.ready.push_back(&w);
  }
  return rows;
}

std::int64_t choices_of(const Work& w) { return w.beams ? w.beams->n_candidates() : 1; }

std::int64_t slots_of(const GenerationRequest& r) { return r.options.num_beams; }

// A beam keeps its parent's slot where it is the first to want it; the others copy it into slots
// that nobody wants any more.
void move_beams(Work& w, std::span<const std::int32_t> parents, Decoder& decoder) {
  std::vector<std::int64_t> free = std::move(w.spare);
  std::vector<bool> taken(w.lanes.size(), false);
  for (std::size_t l = 0; l < w.lanes.size(); ++l)
    if (std::find(parents.begin(), parents.end(), static_cast<std::int32_t>(l)) == parents.end())
      free.push_back(w.lanes[l].slot);
  std::vector<Lane> lanes;
  for (std::int32_t parent : parents) {
    const auto from = static_cast<std::size_t>(parent);
    Lane lane = w.lanes[from];
    if (taken[from]) {
      lane.slot = free.back();
      free.pop_back();
      decoder.copy_slot(w.lanes[from].slot, lane.slot, lane.cached);
    }
    taken[from] = true;
    lanes.push_back(lane);
  }
  w.lanes = std::move(lanes);
  w.spare = std::move(free);
}

}  // namespace

DecoderShape plan_decoder(const Context& ctx, const ModelConfig& config,
                          std::span<const GenerationRequest> requests, const EngineLimits& limits) {
  DecoderShape shape;
  std::int64_t wanted = 0, widest = 1, prompt_rows = 0;
  for (const GenerationRequest& r : requests) {
    const auto length = static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
    CHECK(!r.ids.empty() && length <= config.context, "a request of {} tokens for a context of {}",
          length, config.context);
    shape.S = std::max(shape.S, length);
    prompt_rows += static_cast<std::int64_t>(r.ids.size());
    wanted += slots_of(r);
    widest = std::max(widest, slots_of(r));
  }
  Communicator& replica = ctx.grid.replica();
  for (std::int64_t slots = std::max(widest, std::min(limits.max_batch, wanted));;
       slots = std::max(widest, slots / 2)) {
    shape.slots = shape.max_logit_rows = slots;
    shape.max_rows = std::clamp(prompt_rows, slots, std::max(limits.max_rows, slots));
    if (!config.causal) shape.max_rows = std::max(shape.max_rows, shape.S);
    const std::size_t bytes = Decoder::plan_bytes(config, ctx.grid, shape);
    const std::int32_t fits =
        limits.memory_bytes == 0 || bytes <= static_cast<std::size_t>(limits.memory_bytes);
    if (replica.all_reduce_value(fits, ReduceOp::min, ctx.stream)) return shape;
    const std::int64_t most =
        replica.all_reduce_value(static_cast<std::int64_t>(bytes), ReduceOp::max, ctx.stream);
    CHECK_USER(slots > widest,
               "{} of up to {} tokens need{} {:.2f} GB of keys, values and activations on a rank, "
               "more than is free on its host; ask for fewer "
               "tokens (--max-new-tokens) or give more hosts (--tp, --pp)",
               widest == 1 ? "one continuation" : fmt::format("{} beams", widest), shape.S,
               widest == 1 ? "s" : "", static_cast<double>(most) * 1e-9);
  }
}

Engine::Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               const Tokenizer* tokenizer, EngineLimits limits)
    : ctx_(ctx), config_(config), parameters_(parameters), tokenizer_(tokenizer), limits_(limits) {}

void Engine::run(std::span<const GenerationRequest> requests, const Done& done,
                 const Token& token) {
  if (requests.empty()) return;
  const Grid& grid = ctx_.grid;
  const DecoderShape shape = plan_decoder(ctx_, config_, requests, limits_);
  Decoder decoder(ctx_, config_, parameters_, shape);
  Sampler sampler;
  const bool chooses = grid.is_last_stage() && grid.tp().rank() == 0;
  const int chooser = (grid.shape().pp - 1) * grid.shape().tp;  // its rank in the replica
  const Clock::time_point start = Clock::now();

  std::list<Work> works;
  std::vector<std::int64_t> free_slots;
  for (std::int64_t s = shape.slots; s-- > 0;) free_slots.push_back(s);

  // Adds a request where its slots are free; requests begin in order.
  std::size_t admitted = 0;
  const auto admit = [&] {
    while (admitted < requests.size() &&
           slots_of(requests[admitted]) <= static_cast<std::int64_t>(free_slots.size())) {
      const GenerationRequest& r = requests[admitted];
      Work w;
      w.request = admitted++;
      w.text = begin_continuation(r.ids, r.options, tokenizer_);
      if (r.options.num_beams > 1) w.beams.emplace(w.text, r.options, config_.vocab);
      w.spare.assign(free_slots.end() - slots_of(r), free_slots.end());
      free_slots.resize(free_slots.size() - w.spare.size());
      w.lanes.push_back({.slot = w.spare.back(), .cached = 0});
      w.spare.pop_back();
      works.push_back(std::move(w));
    }
  };

  const auto choose = [&](const Rows& rows, ConstView hidden, Choices& choices) {
    const ConstView logits = decoder.logits(hidden, rows.last);
    if (!chooses) return;
    std::size_t row = 0, at = 0;
    for (const Work* w : rows.ready) {
      const GenerationRequest& r = requests[w->request];
      std::vector<std::span<const float>> own;
      for (std::size_t l = 0; l < w->lanes.size(); ++l, ++row)
        own.emplace_back(logits.as<float>() + static_cast<std::int64_t>(row) * config_.vocab,
                         static_cast<std::size_t>(config_.vocab));
      if (w->beams) {
        const std::vector<BeamCandidate> best = w->beams->choose(sampler, own, r.stream);
        std::copy(best.begin(), best.end(),
                  choices.candidates.begin() + static_cast<std::ptrdiff_t>(at));
      } else {
        const Sampler::Choice c = sampler.choose(own[0], r.options, w->text.ids,
                                                 static_cast<std::int64_t>(r.ids.size()), r.stream);
        choices.candidates[at] = {.score = 0, .beam = 0, .id = c.id, .logprob = c.logprob};
      }
      at += static_cast<std::size_t>(choices_of(*w));
    }
    choices.elapsed_s = std::chrono::duration<double>(Clock::now() - start).count();
  };

  // What one rank chose, and its clock, are everyone's.
  const auto share = [&](Choices& choices) {
    if (grid.replica().size() == 1) return;
    grid.replica().broadcast(View(&choices.elapsed_s, Dims{1}), chooser, ctx_.stream);
    const auto bytes = static_cast<std::int64_t>(choices.candidates.size() * sizeof(BeamCandidate));
    grid.replica().broadcast(
        View(static_cast<void*>(choices.candidates.data()), DType::u8, {bytes}), chooser,
        ctx_.stream);
  };

  const auto report = [&](const Work& w, std::int64_t sample, const Continuation& text,
                          const std::string& finish, double score) {
    const auto n_prompt = static_cast<std::ptrdiff_t>(requests[w.request].ids.size());
    done(w.request, sample,
         {.ids = {text.ids.begin() + n_prompt, text.ids.end()},
          .logprobs = text.logprobs,
          .finish = finish,
          .score = score});
  };

  // Whether the work is done.
  const auto advance = [&](Work& w, std::span<const BeamCandidate> candidates, double elapsed_s) {
    const GenerationRequest& r = requests[w.request];
    const auto n_prompt = static_cast<std::int64_t>(r.ids.size());
    const auto append = [&](Continuation& text, const BeamCandidate& c) {
      return append_token(text, c.id, c.logprob, r.options, n_prompt, tokenizer_, elapsed_s);
    };
    if (!w.beams) {
      const std::string finish = append(w.text, candidates[0]);
      if (token) token(w.request, candidates[0].id);
      if (!finish.empty()) report(w, 0, w.text, finish, 0);
      return !finish.empty();
    }
    const auto none = std::find_if(candidates.begin(), candidates.end(),
                                   [](const BeamCandidate& c) { return c.beam < 0; });
    const std::vector<std::int32_t> parents = w.beams->advance({candidates.begin(), none}, append);
    if (!parents.empty()) {
      // Before the first step the one lane is every beam.
      std::vector<std::int32_t> lanes = parents;
      for (std::int32_t& p : lanes) p = std::min(p, static_cast<std::int32_t>(w.lanes.size()) - 1);
      move_beams(w, lanes, decoder);
      return false;
    }
    for (std::int64_t s = 0; s < r.options.num_return_sequences; ++s) {
      const BeamSearch::Beam& b =
          w.beams
              ->finished()[std::min(static_cast<std::size_t>(s), w.beams->finished().size() - 1)];
      report(w, s, b.text, b.finish, b.score);
    }
    return true;
  };

  for (admit(); !works.empty(); admit()) {
    const Rows rows = fill_pass(config_, works, shape.max_rows);
    const ConstView hidden = decoder.hidden(
        {.ids = rows.ids, .types = {}, .slices = rows.slices, .text_lengths = rows.lengths});
    if (rows.ready.empty()) continue;
    Choices choices;
    for (const Work* w : rows.ready)
      choices.candidates.resize(choices.candidates.size() +
                                static_cast<std::size_t>(choices_of(*w)));
    if (grid.is_last_stage()) choose(rows, hidden, choices);
    share(choices);
    std::size_t at = 0;
    std::vector<const Work*> over;
    for (Work* w : rows.ready) {
      const auto n = static_cast<std::size_t>(choices_of(*w));
      if (advance(*w, std::span<const BeamCandidate>(choices.candidates).subspan(at, n),
                  choices.elapsed_s))
        over.push_back(w);
      at += n;
    }
    works.remove_if([&](const Work& w) {
      if (std::find(over.begin(), over.end(), &w) == over.end()) return false;
      for (const Lane& lane : w.lanes) free_slots.push_back(lane.slot);
      free_slots.insert(free_slots.end(), w.spare.begin(), w.spare.end());
      return true;
    });
  }
}

}  // namespace weft
