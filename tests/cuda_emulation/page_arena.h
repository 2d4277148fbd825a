// One reserved range of addresses for blocks of whole pages, so that one system call opens or
// closes all of them: a call a block is what emulated runs spent most of their time on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace weft::emulation {

class PageArena {
 public:
  explicit PageArena(std::size_t bytes);  // reserved, not taken
  void* allocate(std::size_t bytes);      // of whole pages, closed or open like all; null when full
  void free(void* block, std::size_t bytes);
  void open();
  void close();

 private:
  void protect(int protection);

  std::uintptr_t begin_ = 0;
  std::size_t bytes_;
  std::size_t reached_ = 0;  // what lies behind has never been given out
  int protection_;
  std::map<std::uintptr_t, std::size_t> gaps_;  // by begin; no two touch
};

}  // namespace weft::emulation
