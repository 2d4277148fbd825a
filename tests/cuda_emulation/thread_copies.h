// The cp.async copies that an emulated thread has begun and not waited for.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

namespace weft::emulation {

struct ThreadCopies {
  struct Copy {
    void* shared;
    std::byte bytes[16];
  };
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

ThreadCopies& thread_copies();  // of the running thread

}  // namespace weft::emulation
