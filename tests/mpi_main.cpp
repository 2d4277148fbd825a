// main of the tests that run on several ranks: starts MPI, lets rank 0 print, fails where any rank
// fails.
#include <gtest/gtest.h>

#include "mpi_main.h"

namespace {
weft::Mpi* started = nullptr;
}
weft::Mpi& test_mpi() { return *started; }

int main(int argc, char** argv) {
  weft::Mpi mpi(&argc, &argv);
  started = &mpi;
  testing::InitGoogleTest(&argc, argv);
  auto world = mpi.world();
  if (world->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
  }
  const int failed = RUN_ALL_TESTS();
  weft::Stream stream;
  const int any = world->all_reduce_value<std::int32_t>(failed, weft::ReduceOp::max, stream);
  if (world->rank() == 0 && any && !failed) std::fprintf(stderr, "another rank failed\n");
  return any;
}
