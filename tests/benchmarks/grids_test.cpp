#include "benchmarks/grids.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

std::string nothing_against(const GridShape&) { return ""; }

std::vector<GridShape> grids(const GridWords& words, int ranks) {
  return plan_grids(words, ranks, nothing_against).grids;
}

std::string refusal(const GridWords& words, int ranks) {
  try {
    plan_grids(words, ranks, nothing_against);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Grids, OneGridMustFitTheRanks) {
  EXPECT_EQ(grids({}, 4), (std::vector<GridShape>{{1, 1, 4}}));
  EXPECT_EQ(grids({{"2"}, {}, {}}, 4), (std::vector<GridShape>{{2, 1, 2}}));
  EXPECT_FALSE(is_list({{"2"}, {}, {"4"}}));
  EXPECT_NE(refusal({{"2"}, {}, {"1"}}, 4).find("needs 2 ranks, but 4 were started"),
            std::string::npos);
}

TEST(Grids, AListIsEveryCombinationThatFitsInItsOrder) {
  EXPECT_TRUE(is_list({{"1,2,4"}, {}, {}}));
  EXPECT_TRUE(is_list({{}, {"1", "2"}, {}}));  // as a TOML file gives it
  EXPECT_EQ(grids({{"4,1,2"}, {}, {}}, 4),
            (std::vector<GridShape>{{4, 1, 1}, {1, 1, 4}, {2, 1, 2}}));
  // Fewer ranks than there are: the others wait.
  EXPECT_EQ(grids({{"1,2,4"}, {}, {"1"}}, 4),
            (std::vector<GridShape>{{1, 1, 1}, {2, 1, 1}, {4, 1, 1}}));
  EXPECT_EQ(grids({{"1,2"}, {"1,2"}, {"0"}}, 4),
            (std::vector<GridShape>{{1, 1, 4}, {1, 2, 2}, {2, 1, 2}, {2, 2, 1}}));
  EXPECT_EQ(grids({{"1,1,2"}, {}, {"2"}}, 4), (std::vector<GridShape>{{1, 1, 2}, {2, 1, 2}}));
}

TEST(Grids, WhatDoesNotFitIsLeftOutWithAReason) {
  const GridPlan plan = plan_grids({{"1,3,8"}, {}, {"0,4"}}, 4, nothing_against);
  EXPECT_EQ(plan.grids, (std::vector<GridShape>{{1, 1, 4}}));
  EXPECT_EQ(plan.left_out,
            (std::vector<std::string>{
                "tp 3 x pp 1 does not divide 4 ranks", "tp 3 x pp 1 x dp 4 needs 12 ranks",
                "tp 8 x pp 1 does not divide 4 ranks", "tp 8 x pp 1 x dp 4 needs 32 ranks"}));
  const GridPlan cut = plan_grids({{"1,2"}, {}, {}}, 2, [](const GridShape& shape) {
    return shape.tp > 1 ? std::string("one head") : "";
  });
  EXPECT_EQ(cut.grids, (std::vector<GridShape>{{1, 1, 2}}));
  EXPECT_EQ(cut.left_out, std::vector<std::string>{"one head"});
}

TEST(Grids, RefusesWhatIsNoGrid) {
  EXPECT_NE(refusal({{"1,x"}, {}, {}}, 4).find("--tp is '1,x'"), std::string::npos);
  EXPECT_NE(refusal({{"1,"}, {}, {}}, 4).find("--tp is '1,'"), std::string::npos);
  EXPECT_NE(refusal({{}, {"0"}, {}}, 4).find("--pp is 0; allowed: 1 to"), std::string::npos);
  EXPECT_NE(refusal({{}, {}, {"1,-1"}}, 4).find("--dp is -1"), std::string::npos);
  EXPECT_NE(refusal({{"3,8"}, {}, {}}, 4).find("none of the grids fits 4 ranks: tp 3"),
            std::string::npos);
}

}  // namespace
}  // namespace weft
