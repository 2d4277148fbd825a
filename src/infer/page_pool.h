// Pages of a KV cache: which are free, and how many texts hold each of the others. A text that goes
// on from another shares its full pages and copies the last one; what is shared is never written.
#pragma once

#include <cstdint>
#include <vector>

namespace weft {

class PagePool {
 public:
  explicit PagePool(std::int64_t n_pages);

  std::int64_t n_pages() const { return static_cast<std::int64_t>(holders_.size()); }
  std::int64_t n_free() const { return static_cast<std::int64_t>(free_.size()); }
  // Of holders beyond each page's first: pages that sharing saves.
  std::int64_t n_shared() const { return n_shared_; }
  std::int64_t holders(std::int32_t page) const;

  std::int32_t take();                // a free page, held once; an Error where there is none
  void hold(std::int32_t page);       // once more
  void give_back(std::int32_t page);  // once less; free when nobody holds it

  // Pages promised to texts under way, which take them as they grow: those of all together are at
  // most n_pages.
  bool can_promise(std::int64_t n) const { return promised_ + n <= n_pages(); }
  void promise(std::int64_t n);
  void release(std::int64_t n);

 private:
  std::vector<std::int32_t> free_;     // the next to be taken last
  std::vector<std::int64_t> holders_;  // of each page
  std::int64_t promised_ = 0, n_shared_ = 0;
};

}  // namespace weft
