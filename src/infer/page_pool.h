// Pages of a KV cache: which are free, how many texts hold each of the others, and what the full
// ones hold, so that texts which begin alike share them. A text that goes on from another shares
// its full pages and copies the last one; what is shared is never written.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace weft {

// Names the full pages from a text's beginning on, by what they hold; 0: none yet. Another cache
// has other names.
using PageChain = std::int64_t;

class PagePool {
 public:
  explicit PagePool(std::int64_t n_pages);

  std::int64_t n_pages() const { return static_cast<std::int64_t>(pages_.size()); }
  std::int64_t n_free() const { return n_free_; }  // that nobody holds
  // Of holders beyond each page's first: pages that sharing saves.
  std::int64_t n_shared() const { return n_shared_; }
  std::int64_t holders(std::int32_t page) const;

  // A free page, held once: one whose tokens nobody remembers, else the one that has been free for
  // longest, which is forgotten. An Error where there is none.
  std::int32_t take();
  // Once more, or for the first time: a page that somebody holds, or a remembered one.
  void hold(std::int32_t page);
  void give_back(std::int32_t page);  // once less; free when nobody holds it

  struct Remembered {
    std::int32_t page;
    PageChain chain;  // that ends in it
  };
  // The page that holds the tokens behind those of the chain, held or free.
  std::optional<Remembered> find(PageChain before, std::span<const std::int32_t> tokens) const;
  // A held page holds the tokens behind the chain's: texts that begin so find it until it is taken
  // for others. The chain that ends in it, or in the page that holds the same already.
  PageChain remember(PageChain before, std::span<const std::int32_t> tokens, std::int32_t page);

  // Free pages that are kept for those who were promised them, each until it is taken and
  // released.
  std::int64_t n_unpromised() const { return n_free_ - promised_; }
  void promise(std::int64_t n);
  void release(std::int64_t n);

 private:
  // A chain's last page: what is before it, and its tokens.
  using Key = std::pair<PageChain, std::vector<std::int32_t>>;
  using Known = std::map<Key, Remembered>;
  struct Page {
    std::int64_t holders = 0;
    Known::iterator known;                   // known_.end(): its tokens are not remembered
    std::list<std::int32_t>::iterator kept;  // of a free page that is
  };
  std::size_t index(std::int32_t page) const;

  std::vector<Page> pages_;
  std::vector<std::int32_t> forgotten_;  // free, the next to be taken last
  std::list<std::int32_t> kept_;         // free and remembered, the next to be taken first
  Known known_;
  PageChain chains_ = 0;  // named so far
  std::int64_t n_free_ = 0, promised_ = 0, n_shared_ = 0;
};

}  // namespace weft
