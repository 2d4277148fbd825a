#include "infer/page_pool.h"

#include <utility>

#include "core/check.h"

namespace weft {

PagePool::PagePool(std::int64_t n_pages)
    : pages_(static_cast<std::size_t>(n_pages)), n_free_(n_pages) {
  for (Page& page : pages_) page.known = known_.end();
  for (std::int64_t p = n_pages; p-- > 0;) forgotten_.push_back(static_cast<std::int32_t>(p));
}

std::size_t PagePool::index(std::int32_t page) const {
  CHECK(page >= 0 && page < n_pages(), "page {} of {}", page, n_pages());
  return static_cast<std::size_t>(page);
}

std::int64_t PagePool::holders(std::int32_t page) const { return pages_[index(page)].holders; }

std::int32_t PagePool::take() {
  CHECK(n_free_ > 0, "all {} pages of the cache are held", n_pages());
  std::int32_t page;
  if (!forgotten_.empty()) {
    page = forgotten_.back();
    forgotten_.pop_back();
  } else {
    page = kept_.front();
    kept_.pop_front();
    Page& p = pages_[index(page)];
    known_.erase(std::exchange(p.known, known_.end()));
  }
  pages_[index(page)].holders = 1;
  --n_free_;
  return page;
}

void PagePool::hold(std::int32_t page) {
  Page& p = pages_[index(page)];
  CHECK(p.holders > 0 || p.known != known_.end(), "page {} is free and to be shared", page);
  if (p.holders++ > 0) {
    ++n_shared_;
  } else {
    kept_.erase(p.kept);
    --n_free_;
  }
}

void PagePool::give_back(std::int32_t page) {
  Page& p = pages_[index(page)];
  CHECK(p.holders > 0, "page {} is free and given back", page);
  if (--p.holders > 0) {
    --n_shared_;
    return;
  }
  ++n_free_;
  if (p.known == known_.end())
    forgotten_.push_back(page);
  else
    p.kept = kept_.insert(kept_.end(), page);
}

std::optional<PagePool::Remembered> PagePool::find(PageChain before,
                                                   std::span<const std::int32_t> tokens) const {
  const auto known = known_.find({before, {tokens.begin(), tokens.end()}});
  if (known == known_.end()) return std::nullopt;
  return known->second;
}

PageChain PagePool::remember(PageChain before, std::span<const std::int32_t> tokens,
                             std::int32_t page) {
  Page& p = pages_[index(page)];
  CHECK(p.holders > 0, "page {} is free and to be remembered", page);
  const auto [known, is_new] =
      known_.try_emplace({before, {tokens.begin(), tokens.end()}}, Remembered{page, chains_ + 1});
  if (is_new) {
    CHECK(p.known == known_.end(), "page {} holds two texts", page);
    p.known = known;
    ++chains_;
  }
  return known->second.chain;
}

void PagePool::promise(std::int64_t n) {
  CHECK(n >= 0 && n <= n_unpromised(), "{} pages of {} free ones, {} of which are promised", n,
        n_free_, promised_);
  promised_ += n;
}

void PagePool::release(std::int64_t n) {
  CHECK(n >= 0 && n <= promised_, "{} pages of {} promised ones", n, promised_);
  promised_ -= n;
}

}  // namespace weft
