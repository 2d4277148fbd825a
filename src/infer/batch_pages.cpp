// The pages of a Batch's texts: who is admitted, what texts share, and who gives way where pages
// run out.
#include <algorithm>

#include "infer/batch.h"
#include "model/rope.h"

namespace weft {
namespace {

// Of the texts under way, so many for each page that is kept free for what they write.
constexpr std::int64_t kTextsASparePage = 8;

// What the n-th page of a text holds when it is full.
std::span<const std::int32_t> page_tokens(const std::vector<std::int32_t>& ids, std::int64_t n) {
  return std::span(ids).subspan(static_cast<std::size_t>(n * kPageTokens), kPageTokens);
}

}  // namespace

ActiveRequest Batch::begin(const Coming& coming) const {
  const GenerationRequest& r = *coming.asked;
  ActiveRequest w;
  w.request = coming.number;
  w.asked = coming.asked;
  w.came_s = coming.came_s;
  w.text = begin_continuation(r.ids, r.options, model_.tokenizer);
  if (r.options.num_beams > 1) w.beams.emplace(w.text, r.options, model_.config.vocab);
  // What others have read is this text's too where tokens look at earlier ones alone, and always at
  // the same angles.
  const std::int64_t most = static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
  w.guidance = guidance_text(r);
  w.shares = model_.config.causal && w.guidance.empty() && rope_regime(model_.config, most) == 0;
  w.lanes.resize(w.guidance.empty() ? 1 : 2);
  return w;
}

// Pages that texts will take before they write.
std::int64_t Batch::still_to_read() const {
  std::int64_t n = 0;
  for (const ActiveRequest& w : works_)
    if (!w.reserves())
      n += pages_of(w.length(0)) - static_cast<std::int64_t>(w.lanes[0].pages.size());
  return n;
}

// Whether there is room: for a text as it is, beside what the others still read and some for what
// they write; for several texts of a request for all that they may grow to.
bool Batch::admits(ActiveRequest& w) {
  const GenerationRequest& r = request_of(w);
  if (slots_used_ + lanes_of(r) > shape_.slots) return false;
  const std::int64_t shared = share_pages(w),
                     held = static_cast<std::int64_t>(w.lanes[0].pages.size()),
                     needed =
                         (w.reserves() ? most_pages(model_.config, r) : pages_of(w.length(0))) -
                         held,
                     spare = static_cast<std::int64_t>(works_.size()) / kTextsASparePage;
  if (needed + still_to_read() + spare > pool_.n_unpromised()) {
    drop_pages(w.lanes[0]);
    return false;
  }
  keep_promise(w);
  slots_used_ += lanes_of(r);
  if (w.begun_s < 0) w.begun_s = now_s_;
  if (!statistics_) return true;
  statistics_->counts.shared_tokens += shared;
  if (w.admitted_s >= 0) return true;
  w.admitted_s = elapsed_s();
  statistics_->queue.add(w.admitted_s - w.came_s);
  statistics_->counts.prompt_tokens += static_cast<std::int64_t>(r.ids.size());
  return true;
}

// Requests begin in order; those that were put off come before new ones.
void Batch::admit() {
  while (true) {
    if (const Coming next = coming(); waiting_.empty() && next.asked) {
      waiting_.push_back(begin(next));
      begun_ = next.number + 1;
    }
    if (waiting_.empty()) return;
    if (!admits(waiting_.front())) {
      CHECK(!works_.empty(), "{} finds no room in an empty cache", name_of(waiting_.front()));
      return;
    }
    works_.splice(works_.end(), waiting_, waiting_.begin());
  }
}

// Gives a text that is read the pages of its beginning that others have read, whether they still
// hold them or not: how many tokens. One at least is left to it, whose logits are wanted.
std::int64_t Batch::share_pages(ActiveRequest& w) {
  std::int64_t tokens = 0;
  if (!w.shares || w.lanes.size() > 1) return tokens;
  CachedText& lane = w.lanes[0];
  while (lane.cached == lane.n_remembered * kPageTokens &&
         lane.cached + kPageTokens < w.length(0)) {
    const auto found = pool_.find(lane.chain, page_tokens(w.ids(0), lane.n_remembered));
    if (!found || (pool_.holders(found->page) == 0 && pool_.n_unpromised() == 0)) break;
    pool_.hold(found->page);
    lane.pages.push_back(found->page);
    lane.chain = found->chain;
    ++lane.n_remembered;
    lane.cached += kPageTokens;
    tokens += kPageTokens;
  }
  return tokens;
}

// Others find what the last pass has read. Of beams only the prompt: what they write is theirs.
void Batch::remember_pages(ActiveRequest& w) {
  if (!w.shares || w.lanes.size() > 1) return;
  CachedText& lane = w.lanes[0];
  const auto n_prompt = static_cast<std::int64_t>(request_of(w).ids.size());
  const std::int64_t full = (w.beams ? std::min(lane.cached, n_prompt) : lane.cached) / kPageTokens;
  for (; lane.n_remembered < full; ++lane.n_remembered)
    lane.chain = pool_.remember(lane.chain, page_tokens(w.ids(0), lane.n_remembered),
                                lane.pages[static_cast<std::size_t>(lane.n_remembered)]);
}

// Whether another text of this pass is about to read the same page: then it is shared in the next.
bool Batch::waits_for_another(const ActiveRequest& w, PagesBeingRead& read) const {
  if (!w.shares || w.lanes.size() > 1) return false;
  const CachedText& lane = w.lanes[0];
  const std::int64_t end = (lane.n_remembered + 1) * kPageTokens;
  if (end > w.length(0)) return false;
  const std::span<const std::int32_t> tokens = page_tokens(w.ids(0), lane.n_remembered);
  const bool is_first = read.emplace(lane.chain, std::vector(tokens.begin(), tokens.end())).second;
  return !is_first && lane.cached == end - kPageTokens && end < w.length(0);
}

// What a request of several texts may still take is kept for it.
void Batch::keep_promise(ActiveRequest& w) {
  if (!w.reserves()) return;
  std::set<std::int32_t> held;
  for (const CachedText& lane : w.lanes) held.insert(lane.pages.begin(), lane.pages.end());
  const std::int64_t left =
      most_pages(model_.config, request_of(w)) - static_cast<std::int64_t>(held.size());
  if (left < w.promised) pool_.release(w.promised - left);
  if (left > w.promised) pool_.promise(left - w.promised);
  w.promised = left;
}

// Free pages for a text, if need be those of the youngest, which begins again when there are some.
// False: that is this one.
bool Batch::make_room(const ActiveRequest& w, std::int64_t n_pages) {
  while (pool_.n_unpromised() < n_pages) {
    const auto youngest = std::find_if(
        works_.rbegin(), works_.rend(),
        [](const ActiveRequest& other) { return !other.reserves() && !other.put_off; });
    youngest->put_off = true;
    drop_pages(youngest->lanes[0]);
    if (statistics_) ++statistics_->counts.preemptions;
    if (&*youngest == &w) return false;
  }
  return true;
}

void Batch::put_off() {
  for (auto w = works_.end(); w != works_.begin();) {
    const auto last = std::prev(w);
    if (!last->put_off) {
      w = last;
      continue;
    }
    last->put_off = false;
    slots_used_ -= lanes_of(request_of(*last));
    waiting_.splice(waiting_.begin(), works_, last);
  }
}

// A text whose earlier tokens look different now that it is longer is read again from its start,
// into pages of its own.
void Batch::forget_outgrown(ActiveRequest& w) {
  for (std::size_t l = 0; l < w.lanes.size(); ++l) {
    CachedText& lane = w.lanes[l];
    const int regime = rope_regime(model_.config, w.length(l));
    if (lane.regime != regime) drop_pages(lane);
    lane.regime = regime;
  }
  keep_promise(w);
}

CachedText Batch::fork(const CachedText& text) {
  CachedText other = text;
  const std::int64_t full = text.cached / kPageTokens, rest = text.cached % kPageTokens;
  other.pages.resize(static_cast<std::size_t>(full));
  for (const std::int32_t page : other.pages) pool_.hold(page);
  if (rest == 0) return other;
  other.pages.push_back(pool_.take());
  inference_.copy_page(text.pages[static_cast<std::size_t>(full)], other.pages.back(), rest);
  return other;
}

// The last first: of what others may find, a text's beginning is forgotten last.
void Batch::drop_pages(CachedText& text) {
  for (std::size_t i = text.pages.size(); i-- > 0;) pool_.give_back(text.pages[i]);
  text = {.pages = {}, .cached = 0, .regime = text.regime, .chain = 0, .n_remembered = 0};
}

}  // namespace weft
