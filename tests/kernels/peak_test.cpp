// Peaks: the best of samples, so that no share of one is above 1.
#include "kernels/peak.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Peak, IsTheBestSampleAndRisesToWhatTheWorkReached) {
  BestRate peak;
  EXPECT_EQ(peak.share(0), 0);
  for (double rate : {138e9, 461e9, 300e9}) peak.sample(rate);
  EXPECT_EQ(peak.rate(), 461e9);
  EXPECT_DOUBLE_EQ(peak.share(230.5e9), 0.5);
  EXPECT_EQ(peak.share(700e9), 1);  // faster than all samples: the peak was not known yet
  EXPECT_EQ(peak.rate(), 700e9);
  EXPECT_DOUBLE_EQ(peak.share(350e9), 0.5);
}

TEST(Peak, ProbesMeasureSomethingThatAMachineCanDo) {
  Stream stream;
  for (Precision precision : {Precision::fp32, Precision::bf16}) {
    MatmulProbe probe(precision, stream);
    const double rate = probe.sample();
    EXPECT_GT(rate, 1e7);
    EXPECT_LT(rate, 1e16);
  }
  const double read = ReadProbe(stream).sample();
  EXPECT_GT(read, 1e7);
  EXPECT_LT(read, 1e14);
}

}  // namespace
}  // namespace weft
