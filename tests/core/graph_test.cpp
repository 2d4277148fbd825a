#include "core/graph.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

TEST(Graph, IsNotForTheCpu) {
  Stream stream;
  Graph graph;
  EXPECT_FALSE(Graph::available(stream.device()));
  int ran = 0;
  graph.capture(stream, [&] { ++ran; });
  EXPECT_EQ(ran, 0);  // it would have happened at once
  EXPECT_TRUE(graph.empty());
  EXPECT_THROW(graph.launch(stream), Error);
}

}  // namespace
}  // namespace weft
