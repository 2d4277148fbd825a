#include "infer/page_pool.h"

#include "core/check.h"

namespace weft {

PagePool::PagePool(std::int64_t n_pages) : holders_(static_cast<std::size_t>(n_pages), 0) {
  for (std::int64_t p = n_pages; p-- > 0;) free_.push_back(static_cast<std::int32_t>(p));
}

std::int64_t PagePool::holders(std::int32_t page) const {
  CHECK(page >= 0 && page < n_pages(), "page {} of {}", page, n_pages());
  return holders_[static_cast<std::size_t>(page)];
}

std::int32_t PagePool::take() {
  CHECK(!free_.empty(), "all {} pages of the cache are held", n_pages());
  const std::int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<std::size_t>(page)] = 1;
  return page;
}

void PagePool::hold(std::int32_t page) {
  CHECK(holders(page) > 0, "page {} is free and to be shared", page);
  ++holders_[static_cast<std::size_t>(page)];
  ++n_shared_;
}

void PagePool::give_back(std::int32_t page) {
  CHECK(holders(page) > 0, "page {} is free and given back", page);
  if (--holders_[static_cast<std::size_t>(page)] == 0)
    free_.push_back(page);
  else
    --n_shared_;
}

void PagePool::promise(std::int64_t n) {
  CHECK(n >= 0 && can_promise(n), "{} pages of {}, {} of which are promised", n, n_pages(),
        promised_);
  promised_ += n;
}

void PagePool::release(std::int64_t n) {
  CHECK(n >= 0 && n <= promised_, "{} pages of {} promised ones", n, promised_);
  promised_ -= n;
}

}  // namespace weft
