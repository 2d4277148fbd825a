#include "infer/batch.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "comm/pass_limit.h"
#include "kernels/scratch.h"
#include "model/rope.h"
#include "model/sizes.h"

namespace weft {
namespace {

constexpr const char* kNothingLeft =
    "no token is left to continue with: --bad-words, --suppress-tokens, --no-repeat-ngram-size and "
    "--min-new-tokens forbid them all";

// Ranks ask one another whether to stop, which small passes must not wait for each time.
constexpr double kAskEvery_s = 0.05;
constexpr double kNever_s = -std::numeric_limits<double>::infinity();

// Of a piece of a long prompt nothing is wanted, which a row alone comes next to.
std::span<const std::int64_t> wanted_of(const Pass& pass) {
  static constexpr std::int64_t kFirst[] = {0};
  return pass.last.empty() ? std::span<const std::int64_t>(kFirst) : pass.last;
}

}  // namespace

std::int64_t ActiveRequest::waiting() const {
  std::int64_t n = 0;
  for (std::size_t l = 0; l < lanes.size(); ++l) n += waiting(l);
  return n;
}

Batch::Batch(const EngineModel& model, const InferenceShape& shape,
             std::span<const GenerationRequest> requests, const BatchListeners& listeners,
             Engine::Feed feed)
    : model_(model),
      shape_(shape),
      requests_(requests),
      feed_(std::move(feed)),
      tell_(listeners),
      statistics_(listeners.watch.statistics),
      inference_(model.ctx, model.config, model.parameters, shape),
      host_stream_({}, model.ctx.stream.n_threads()),
      sampler_(host_stream_),
      pool_(shape.pages) {
  const Grid& grid = model.ctx.grid;
  if (grid.is_last_stage() && grid.tp().rank() == 0) {
    logits_.reserve(model.ctx.stream.device(),
                    static_cast<std::size_t>(shape.max_logit_rows * model.config.vocab) * 4);
    host_stream_.scratch(
        sample_scratch_bytes(1, model.config.vocab, {{}, host_stream_.n_threads()}));
  }
  if (!statistics_) return;
  const DType dtype = matrix_dtype(model.parameters);
  body_bytes_ = decode_weight_bytes(model.config, dtype, false);
  all_weight_bytes_ = decode_weight_bytes(model.config, dtype);
}

std::optional<Failure> Batch::run() {
  PassLimit* limit = model_.ctx.limit;
  if (limit) limit->begin();
  double asked_s = kNever_s;
  while (begin_pass()) {
    if (limit && now_s_ - asked_s >= kAskEvery_s) {
      const auto timed = time_as(model_.ctx, TimeShare::comm);
      if (auto ended = limit->ended(model_.ctx.grid.replica(), model_.ctx.stream)) return ended;
      asked_s = now_s_;
    }
    const Pass pass = fill();
    const ConstView hidden = [&] {
      const auto timed = time_as(model_.ctx, TimeShare::forward);
      return inference_.hidden({.ids = pass.ids,
                                .types = {},
                                .slices = pass.slices,
                                .text_lengths = pass.lengths,
                                .pages = pass.pages,
                                .wanted = wanted_of(pass)});
    }();
    ++passes_;
    if (statistics_) count(pass);
    if (pass.ready.empty()) {  // a long prompt's: nobody's clock was shared
      asked_s = kNever_s;
      continue;
    }
    Choices choices = choose(pass, hidden);
    share(choices);
    if (choices.failure) return choices.failure;
    now_s_ = choices.elapsed_s;
    advance(pass, choices);
    release();
    if (tell_.watch.after_pass) tell_.watch.after_pass(choices.elapsed_s);
  }
  return std::nullopt;
}

double Batch::elapsed_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

// Before finished requests give their pages back. What beams share is in the cache once.
void Batch::count(const Pass& pass) {
  GenerationCounts& c = statistics_->counts;
  ++c.passes;
  c.rows += static_cast<std::int64_t>(pass.ids.size());
  c.slots += shape_.slots;
  c.slots_used += slots_used_;
  c.cache_rows += shape_.pages * kPageTokens;
  c.cached -= pool_.n_shared() * kPageTokens;
  c.most_pages = std::max(c.most_pages, pool_.n_pages() - pool_.n_free());
  c.shared_rows += pool_.n_shared() * kPageTokens;
  for (const ActiveRequest& w : works_)
    for (const CachedText& lane : w.lanes) c.cached += lane.cached;
  const GraphCounts& graphs = inference_.graphs();
  c.graph_launches += graphs.launches - graphs_counted_.launches;
  c.graph_captures += graphs.captures - graphs_counted_.captures;
  graphs_counted_ = graphs;
  c.streamed_bytes += pass.ready.empty() ? body_bytes_ : all_weight_bytes_;
  for (const CacheSlice& s : pass.slices)
    c.streamed_bytes += decode_cache_bytes(model_.config, shape_.act, s.n_cached + s.n_rows - 1);
}

void Batch::count_choice(ActiveRequest& w, double now_s) {
  if (w.token_s < 0)
    statistics_->first_token.add(now_s - w.admitted_s);
  else
    statistics_->inter_token.add(now_s - w.token_s);
  w.token_s = now_s;
}

// False where the text had to be put off.
bool Batch::add_rows(Pass& pass, ActiveRequest& w, std::size_t l, std::int64_t n) {
  CachedText& lane = w.lanes[l];
  const std::int64_t n_new =
      pages_of(lane.cached + n) - static_cast<std::int64_t>(lane.pages.size());
  if (!w.reserves() && !make_room(w, n_new)) return false;
  const auto slice = static_cast<std::int64_t>(pass.slices.size());
  pass.slices.push_back({static_cast<std::int64_t>(pass.ids.size()), n, lane.cached, slice});
  pass.lengths.push_back(w.length(l));
  const auto from = w.ids(l).begin() + lane.cached;
  pass.ids.insert(pass.ids.end(), from, from + n);
  lane.cached += n;
  for (std::int64_t i = 0; i < n_new; ++i) lane.pages.push_back(pool_.take());
  for (std::int64_t m = pass.slices.back().n_cached / kPageTokens; m < pages_of(lane.cached); ++m)
    CHECK(pool_.holders(lane.pages[static_cast<std::size_t>(m)]) == 1,
          "page {} of a text is written and shared", m);
  pass.pages.insert(pass.pages.end(), lane.pages.begin(), lane.pages.end());
  pass.pages.resize(static_cast<std::size_t>((slice + 1) * pages_of(shape_.S)));
  return true;
}

// One row each for those that are writing; what is left of the pass goes to texts that are still
// read. All lanes of a work end in the same pass, since their logits are wanted together: until
// they can, the last token of each waits. Where a model reads in both directions its prompt comes
// in one piece: all of it sees all of it, and what follows sees what came before, as transformers
// does with a BERT that is no decoder.
Pass Batch::fill() {
  Pass pass;
  PagesBeingRead read;
  std::int64_t room = shape_.max_rows;
  for (ActiveRequest& w : works_) {
    forget_outgrown(w);
    remember_pages(w);
    if (w.writes()) room -= w.waiting();
  }
  for (ActiveRequest& w : works_) {
    const bool writes = w.writes();
    if (w.put_off) continue;
    if (!writes) {
      const std::int64_t shared = share_pages(w);
      if (statistics_) statistics_->counts.shared_tokens += shared;
      if (waits_for_another(w, read)) continue;
    }
    const bool ready = writes || w.waiting() <= room;
    for (std::size_t l = 0; l < w.lanes.size() && !w.put_off; ++l) {
      const std::int64_t waiting = w.waiting(l);
      const std::int64_t n = ready                  ? waiting
                             : model_.config.causal ? std::min(waiting - 1, room)
                                                    : 0;
      if (n > 0 && !add_rows(pass, w, l, n)) break;
      if (!writes) room -= n;
      if (ready) pass.last.push_back(static_cast<std::int64_t>(pass.ids.size()) - 1);
    }
    keep_promise(w);
    if (ready && !w.put_off) pass.ready.push_back(&w);
  }
  put_off();
  CHECK(!pass.ids.empty(), "a pass of {} texts has no rows", works_.size());
  return pass;
}

// On the last stage's first rank; what fails there is everyone's by share().
Choices Batch::choose(const Pass& pass, ConstView hidden) {
  Choices choices;
  std::int64_t n = 0;
  for (const ActiveRequest* w : pass.ready) n += w->n_choices();
  choices.candidates.resize(static_cast<std::size_t>(n));
  std::int64_t n_all_likely = 0;
  for (const ActiveRequest* w : pass.ready) n_all_likely += n_likely(*w);
  choices.likely.resize(static_cast<std::size_t>(n_all_likely));
  const Grid& grid = model_.ctx.grid;
  if (!grid.is_last_stage()) return choices;
  const ConstView logits = [&] {
    const auto timed = time_as(model_.ctx, TimeShare::forward);
    return inference_.logits(hidden, pass.last);
  }();
  if (grid.tp().rank() != 0) return choices;
  const auto V = static_cast<std::size_t>(model_.config.vocab);
  const float* row = logits_.floats(logits, model_.ctx.stream).as<float>();
  std::span<BeamCandidate> left = choices.candidates;
  std::span<LikelyToken> left_likely = choices.likely;
  for (const ActiveRequest* w : pass.ready) {
    std::vector<std::span<const float>> rows;
    for (std::size_t l = 0; l < w->lanes.size(); ++l, row += V) rows.emplace_back(row, V);
    const auto own = left.first(static_cast<std::size_t>(w->n_choices()));
    left = left.subspan(own.size());
    const auto likely = left_likely.first(static_cast<std::size_t>(n_likely(*w)));
    left_likely = left_likely.subspan(likely.size());
    choices.failure = failure_of([&] { choose_for(*w, rows, own, likely); });
    if (!choices.failure) continue;
    choices.failure->text =
        fmt::format("{}, new token {}: {}", name_of(*w),
                    w->ids(0).size() - request_of(*w).ids.size() + 1, choices.failure->text);
    break;
  }
  choices.elapsed_s = elapsed_s();
  return choices;
}

void Batch::choose_for(const ActiveRequest& w, std::span<const std::span<const float>> logits,
                       std::span<BeamCandidate> choices, std::span<LikelyToken> likely) {
  const GenerationRequest& r = request_of(w);
  if (w.beams) {
    const std::vector<BeamCandidate> best = w.beams->choose(sampler_, logits, r.stream);
    std::copy(best.begin(), best.end(), choices.begin());
    return;
  }
  const NextLogits next = {logits[0], w.guidance.empty() ? std::span<const float>() : logits[1]};
  const auto c = sampler_.choose(next, r.options, w.text.ids,
                                 static_cast<std::int64_t>(r.ids.size()), r.stream);
  if (c) choices[0] = {.score = 0, .beam = 0, .id = c->id, .logprob = c->logprob};
  if (likely.empty()) return;
  const std::vector<LikelyToken> best =
      likely_tokens(logits[0], log_sum_exp(logits[0]), static_cast<std::int64_t>(likely.size()));
  std::copy(best.begin(), best.end(), likely.begin());
}

// What one rank chose, its clock and what it met are the whole replica's.
void Batch::share(Choices& choices) {
  const Grid& grid = model_.ctx.grid;
  Communicator& replica = grid.replica();
  if (replica.size() == 1) return;
  // Stages before the last wait for it here.
  const auto timed =
      time_as(model_.ctx, grid.is_last_stage() ? TimeShare::comm : TimeShare::bubble);
  const int chooser = (grid.shape().pp - 1) * grid.shape().tp;
  Stream& stream = model_.ctx.stream;
  const auto bytes = [&](void* data, std::size_t n) {
    replica.broadcast(View(data, DType::u8, {static_cast<std::int64_t>(n)}), chooser, stream);
  };
  struct {
    double elapsed_s;
    std::int64_t kind, size;  // of a failure; size -1: none
  } head = {choices.elapsed_s, 0, -1};
  if (choices.failure)
    head = {choices.elapsed_s, static_cast<std::int64_t>(choices.failure->kind),
            static_cast<std::int64_t>(choices.failure->text.size())};
  bytes(&head, sizeof head);
  choices.elapsed_s = head.elapsed_s;
  if (head.size < 0) {
    bytes(choices.candidates.data(), choices.candidates.size() * sizeof(BeamCandidate));
    if (!choices.likely.empty())
      bytes(choices.likely.data(), choices.likely.size() * sizeof(LikelyToken));
    return;
  }
  if (!choices.failure) choices.failure.emplace();
  choices.failure->kind = static_cast<FailureKind>(head.kind);
  choices.failure->text.resize(static_cast<std::size_t>(head.size));
  bytes(choices.failure->text.data(), choices.failure->text.size());
}

void Batch::advance(const Pass& pass, const Choices& choices) {
  std::span<const BeamCandidate> left = choices.candidates;
  std::span<const LikelyToken> left_likely = choices.likely;
  const double now_s = statistics_ ? elapsed_s() : 0;
  for (ActiveRequest* w : pass.ready) {
    if (statistics_) count_choice(*w, now_s);
    const auto own = left.first(static_cast<std::size_t>(w->n_choices()));
    left = left.subspan(own.size());
    const auto likely = left_likely.first(static_cast<std::size_t>(n_likely(*w)));
    left_likely = left_likely.subspan(likely.size());
    const auto none =
        std::find_if(own.begin(), own.end(), [](const BeamCandidate& c) { return c.beam < 0; });
    const std::span<const BeamCandidate> found(own.begin(), none);
    if (w->beams)
      advance_beams(*w, found, choices.elapsed_s - w->begun_s);
    else
      advance_text(*w, found, likely, choices.elapsed_s - w->begun_s);
  }
}

void Batch::advance_text(ActiveRequest& w, std::span<const BeamCandidate> candidates,
                         std::span<const LikelyToken> likely, double elapsed_s) {
  const GenerationRequest& r = request_of(w);
  w.over = candidates.empty();
  if (w.over) return report_error(w, 0, kNothingLeft);
  const BeamCandidate& c = candidates[0];
  const std::string finish =
      append_token(w.text, c.id, c.logprob, r.options, static_cast<std::int64_t>(r.ids.size()),
                   model_.tokenizer, elapsed_s);
  if (!w.guidance.empty()) w.guidance.push_back(c.id);
  if (statistics_) ++statistics_->counts.new_tokens;
  if (tell_.token) tell_.token(w.request, {.id = c.id, .logprob = c.logprob, .likely = likely});
  w.over = !finish.empty();
  if (w.over) report(w, 0, {.text = w.text, .score = 0, .finish = finish});
}

void Batch::advance_beams(ActiveRequest& w, std::span<const BeamCandidate> candidates,
                          double elapsed_s) {
  const GenerationRequest& r = request_of(w);
  const auto append = [&](Continuation& text, const BeamCandidate& c) {
    return append_token(text, c.id, c.logprob, r.options, static_cast<std::int64_t>(r.ids.size()),
                        model_.tokenizer, elapsed_s);
  };
  const std::vector<std::int32_t> parents = w.beams->advance(candidates, append);
  w.over = parents.empty();
  if (w.over) return report_beams(w);
  move_beams(w, parents);
}

// A beam goes on in its parent's pages where it is the first to do so; the others share those that
// are full. What beams hold that nobody continues goes first.
void Batch::move_beams(ActiveRequest& w, std::span<const std::int32_t> parents) {
  for (std::size_t l = 0; l < w.lanes.size(); ++l)
    if (std::find(parents.begin(), parents.end(), static_cast<std::int32_t>(l)) == parents.end())
      drop_pages(w.lanes[l]);
  std::vector<bool> taken(w.lanes.size(), false);
  std::vector<CachedText> lanes;
  for (const std::int32_t parent : parents) {
    const auto from = static_cast<std::size_t>(parent);
    lanes.push_back(taken[from] ? fork(w.lanes[from]) : w.lanes[from]);
    taken[from] = true;
  }
  w.lanes = std::move(lanes);
  keep_promise(w);
}

void Batch::report_beams(const ActiveRequest& w) {
  const std::span<const BeamSearch::Beam> found = w.beams->finished();
  if (found.empty()) return report_error(w, 0, kNothingLeft);
  const std::int64_t wanted = request_of(w).options.num_return_sequences;
  for (std::int64_t s = 0; s < wanted; ++s)
    if (s < static_cast<std::int64_t>(found.size()))
      report(w, s, found[static_cast<std::size_t>(s)]);
    else
      report_error(w, s,
                   fmt::format("{} of {} results exist: what is forbidden and what ends a text "
                               "leave no others",
                               found.size(), wanted));
}

void Batch::report(const ActiveRequest& w, std::int64_t sample, const BeamSearch::Beam& beam) {
  const auto n_prompt = static_cast<std::ptrdiff_t>(request_of(w).ids.size());
  if (statistics_ && w.beams)
    statistics_->counts.new_tokens += static_cast<std::int64_t>(beam.text.ids.size()) - n_prompt;
  tell_.done(w.request, sample,
             {.ids = {beam.text.ids.begin() + n_prompt, beam.text.ids.end()},
              .logprobs = beam.text.logprobs,
              .finish = beam.finish,
              .score = beam.score,
              .error = ""});
}

void Batch::report_error(const ActiveRequest& w, std::int64_t sample, const std::string& sentence) {
  Completion none;
  none.error = fmt::format("{}: {}", name_of(w), sentence);
  tell_.done(w.request, sample, none);
}

void Batch::release() {
  works_.remove_if([&](ActiveRequest& w) {
    if (!w.over) return false;
    if (statistics_) ++statistics_->counts.requests;
    for (CachedText& lane : w.lanes) drop_pages(lane);
    pool_.release(w.promised);
    slots_used_ -= lanes_of(request_of(w));
    if (feed_) fed_.erase(w.request);
    return true;
  });
}

std::string Batch::name_of(const ActiveRequest& w) const {
  const std::string& name = request_of(w).name;
  return name.empty() ? fmt::format("request {}", w.request) : name;
}

}  // namespace weft
