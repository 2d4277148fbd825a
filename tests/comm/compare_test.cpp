// What ranks must have been told and have read alike, and which host is named where one has not.
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/damaged.h"
#include "core/system/hardware.h"
#include "mpi_main.h"

namespace weft {
namespace {

struct Options {
  std::string data;
  std::int64_t seed = 0;
  double lr = 0.1;
  std::optional<double> dropout;
  bool deterministic = false;
  std::vector<std::string> stop;
  void visit(FieldVisitor& v) {
    v.field("data", data, "");
    v.field("seed", seed, kAnyInteger, "");
    v.field("lr", lr, Reals{0, 1}, "");
    v.field("dropout", dropout, Reals{0, 1}, "");
    v.field("deterministic", deterministic, "");
    v.field("stop_at", stop, "");
  }
  std::vector<Fact> facts() {
    return option_facts([&](FieldVisitor& v) { visit(v); }, {"data"});
  }
};

TEST(Compare, NamesTheOptionTheRankAndTheHost) {
  const auto world = test_mpi().world();
  Stream stream;
  const int odd = world->size() - 1;
  Options same;
  same.data = fmt::format("/local/of/rank{}", world->rank());  // may differ
  compare(
      *world, [&] { return same.facts(); }, stream);
  const std::pair<void (*)(Options&), const char*> changes[] = {
      {[](Options& o) { o.seed = 5; }, "--seed is 5 "},
      {[](Options& o) { o.lr = 0.1 + 1e-17 + 1e-16; }, "--lr is "},
      {[](Options& o) { o.dropout = 0; }, "--dropout is 0 "},
      {[](Options& o) { o.deterministic = true; }, "--deterministic is true "},
      {[](Options& o) { o.stop = {"\xff"}; }, "--stop-at is "},
  };
  for (const auto& [change, said] : changes) {
    Options mine = same;
    if (world->rank() == odd) change(mine);
    const auto failure = failure_of([&] {
      compare(
          *world, [&] { return mine.facts(); }, stream);
    });
    if (world->size() == 1) {
      EXPECT_FALSE(failure);
      continue;
    }
    ASSERT_TRUE(failure) << said;
    EXPECT_EQ(failure->kind, FailureKind::user);
    EXPECT_NE(failure->text.find(said), std::string::npos) << failure->text;
    EXPECT_NE(failure->text.find(" on host " + host_name()), std::string::npos) << failure->text;
    if (world->size() > 2) {  // most are right
      EXPECT_NE(failure->text.find(fmt::format("for rank {} ", odd)), std::string::npos)
          << failure->text;
    }
  }
}

TEST(Compare, AsksNothingOfOneRankAndFailsTogether) {
  const auto world = test_mpi().world();
  Stream stream;
  bool asked = false;
  const auto failure = failure_of([&] {
    compare(
        *world,
        [&] {
          asked = true;
          if (world->rank() == world->size() - 1) throw Error("unreadable");
          return std::vector<Fact>{};
        },
        stream);
  });
  EXPECT_EQ(asked, world->size() > 1);
  EXPECT_EQ(failure.has_value(), world->size() > 1);
}

// A file that one rank finds damaged and another cannot reach is out of reach: nobody skips it.
TEST(Compare, DamageGivesWayToWhatIsOutOfReach) {
  const auto world = test_mpi().world();
  Stream stream;
  const int last = world->size() - 1;
  const auto failure = failure_of([&] {
    read_together(*world, stream, [&] {
      if (world->rank() == last) throw Error("no lock");
      throw Damaged("checksum");
    });
  });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::program);
  EXPECT_EQ(failure->text, "no lock");
  EXPECT_THROW(read_together(*world, stream,
                             [&] {
                               if (world->rank() == last) throw Damaged("checksum");
                             }),
               Damaged);
  read_together(*world, stream, [] {});
}

}  // namespace
}  // namespace weft
