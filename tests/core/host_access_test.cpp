// Nothing above kernels/ touches a tensor's memory by itself: filling, copying and summing are ops,
// and what the host knows goes through core/staging.h and core/host_copy.h. Reading a GPU's tensor
// by View::as is an Error at run time (tensor_test.cpp); this reads the sources for what has no
// type.
#include <gtest/gtest.h>

#include <regex>

#include "tests/core/sources.h"

namespace {

TEST(HostAccess, RoomsAboveTheKernelsMoveNoBytes) {
  static const std::regex moves(R"(\bmem(set|cpy|move)\()");
  int read = 0;
  for (const weft::test::Source& source : weft::test::sources()) {
    if (source.room != "model" && source.room != "train" && source.room != "infer") continue;
    ++read;
    for (const std::string& line : source.lines)
      EXPECT_FALSE(std::regex_search(line, moves)) << source.path << ": " << line;
  }
  EXPECT_GE(read, 60);
}

}  // namespace
