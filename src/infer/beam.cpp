#include "infer/beam.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace weft {
namespace {

// What remove_invalid_values makes of forbidden tokens is no candidate either.
constexpr double kForbidden = -1e30;

}  // namespace

// Transformers starts num_beams copies of the prompt, all but one with a score that keeps them out,
// and keeps ended texts among the running ones in the same way where others are too few. Here only
// what can be a result runs.
BeamSearch::BeamSearch(Continuation prompt, const Generation& g, std::int64_t vocab)
    : g_(&g),
      vocab_(vocab),
      n_prompt_(static_cast<std::int64_t>(prompt.ids.size())),
      n_candidates_(std::min<std::int64_t>(
          std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(g.eos.size())) * g.num_beams,
          g.num_beams * vocab)) {
  running_.push_back({.text = std::move(prompt), .score = 0, .finish = ""});
}

std::vector<BeamCandidate> BeamSearch::choose(Sampler& sampler,
                                              std::span<const std::span<const float>> logits,
                                              std::uint64_t stream) const {
  // A heap of the best so far, by score or by a key that makes the best of a draw without
  // replacement (Gumbel's trick); its front is the worst.
  struct Entry {
    double key = 0;
    BeamCandidate c;
  };
  const auto better = [](const Entry& a, const Entry& b) {
    if (a.key != b.key) return a.key > b.key;
    return a.c.beam != b.c.beam ? a.c.beam < b.c.beam : a.c.id < b.c.id;
  };
  std::vector<Entry> heap;
  for (std::size_t b = 0; b < running_.size(); ++b) {
    const Beam& beam = running_[b];
    const std::span<const float> scores = sampler.process(logits[b], *g_, beam.text.ids, n_prompt_);
    for (std::int64_t id = 0; id < vocab_; ++id) {
      Entry e;
      e.c.score = beam.score + scores[static_cast<std::size_t>(id)];
      e.c.beam = static_cast<std::int32_t>(b);
      e.c.id = static_cast<std::int32_t>(id);
      if (!(e.c.score > kForbidden)) continue;
      e.key = e.c.score;
      if (g_->do_sample) {
        const auto which = static_cast<std::uint32_t>(static_cast<std::int64_t>(b) * vocab_ + id);
        const double u =
            draw(g_->seed, stream, static_cast<std::int64_t>(beam.text.ids.size()), which);
        e.key -= std::log(-std::log(u + 0x1p-54));
      }
      const bool full = static_cast<std::int64_t>(heap.size()) == n_candidates_;
      if (full && !better(e, heap.front())) continue;
      if (full) {
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back(e);
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::vector<BeamCandidate> best;
  for (const Entry& e : heap) best.push_back(e.c);
  std::sort(best.begin(), best.end(), [](const BeamCandidate& a, const BeamCandidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.id < b.id;
  });
  if (g_->logprobs)
    for (BeamCandidate& c : best)
      c.logprob = log_probability(logits[static_cast<std::size_t>(c.beam)], c.id);
  return best;
}

std::vector<std::int32_t> BeamSearch::advance(std::span<const BeamCandidate> candidates,
                                              const Append& append) {
  if (candidates.empty()) return {};
  const auto width = static_cast<std::size_t>(g_->num_beams);
  std::vector<Beam> next;
  for (const BeamCandidate& c : candidates) {
    next.push_back(
        {.text = running_[static_cast<std::size_t>(c.beam)].text, .score = c.score, .finish = ""});
    next.back().finish = append(next.back().text, c);
  }
  const double length =
      static_cast<double>(next[0].text.ids.size()) - static_cast<double>(n_prompt_);
  const double penalty = std::pow(length, g_->length_penalty);

  // Only the best num_beams candidates may be results; the others are there so that as many go on.
  for (std::size_t i = 0; i < std::min(width, next.size()); ++i) {
    if (next[i].finish.empty()) continue;
    Beam ended = next[i];
    ended.score /= penalty;
    const auto at = std::find_if(finished_.begin(), finished_.end(),
                                 [&](const Beam& b) { return b.score < ended.score; });
    finished_.insert(at, std::move(ended));
    if (finished_.size() > width) finished_.pop_back();
  }

  std::vector<std::int32_t> parents;
  running_.clear();
  for (std::size_t i = 0; i < next.size() && running_.size() < width; ++i) {
    if (!next[i].finish.empty()) continue;
    running_.push_back(std::move(next[i]));
    parents.push_back(candidates[i].beam);
  }
  if (running_.empty()) return {};
  const bool full = finished_.size() == width;
  if (full && g_->early_stopping == EarlyStopping::yes) return {};
  const double longest = g_->early_stopping == EarlyStopping::never && g_->length_penalty > 0
                             ? static_cast<double>(g_->max_new_tokens)
                             : length;
  if (full && running_[0].score / std::pow(longest, g_->length_penalty) <= finished_.back().score)
    return {};
  return parents;
}

}  // namespace weft
