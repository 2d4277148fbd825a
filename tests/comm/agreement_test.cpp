// What one rank failed of, all ranks throw: the same kind, the same sentence.
#include "comm/agreement.h"

#include <gtest/gtest.h>

#include "mpi_main.h"

namespace weft {
namespace {

TEST(Agreement, CarriesKindAndText) {
  const auto world = test_mpi().world();
  Stream stream;
  const int last = world->size() - 1;
  throw_together(*world, std::nullopt, stream);
  for (const FailureKind kind :
       {FailureKind::user, FailureKind::program, FailureKind::interrupted}) {
    const auto mine =
        world->rank() == last ? std::optional<Failure>({kind, "a disk of the last"}) : std::nullopt;
    const auto all = failure_of([&] { throw_together(*world, mine, stream); });
    ASSERT_TRUE(all);
    EXPECT_EQ(all->kind, kind);
    EXPECT_EQ(all->text, "a disk of the last");
  }
}

TEST(Agreement, TakesTheFirstRanks) {
  const auto world = test_mpi().world();
  Stream stream;
  const auto all = failure_of([&] {
    throw_together(*world, Failure{FailureKind::user, "rank " + std::to_string(world->rank())},
                   stream);
  });
  EXPECT_EQ(all.value().text, "rank 0");
  const auto first =
      failure_of([&] { on_first_rank(*world, stream, [] { machine_error("full"); }); });
  EXPECT_EQ(first.value().kind, FailureKind::program);
  EXPECT_EQ(first.value().text, "full");
}

TEST(Agreement, AnExceptionWithoutTextIsStillOne) {
  const auto world = test_mpi().world();
  Stream stream;
  const auto all = failure_of([&] {
    throw_together(*world,
                   world->rank() == 0 ? failure_of([] { throw UserError(""); }) : std::nullopt,
                   stream);
  });
  EXPECT_TRUE(all);
}

}  // namespace
}  // namespace weft
