// The rate at which all ranks together read memory: the yardstick of decoding, which reads every
// weight for a token of each text. The best of samples before a job and, where one replica does all
// the work, between its passes now and then, which costs at most a hundredth of the time.
#pragma once

#include "comm/grid.h"
#include "kernels/peak.h"

namespace weft {

class ReadPeak {
 public:
  // The first samples. Holds 256 MiB. Collective over the grid.
  ReadPeak(const Grid& grid, Stream& stream);

  double bytes_per_s() const { return best_.rate(); }  // the same on every rank
  // Work that was faster than all samples (its weights fit a cache) raises the peak.
  double share(double bytes_per_s) { return best_.share(bytes_per_s); }
  void sample();  // collective over the grid
  // EngineWatch::after_pass. With several replicas nothing is measured here: they do not pause
  // together, and one that reads while another multiplies is no measure of both.
  void after_pass(double elapsed_s);

 private:
  const Grid& grid_;
  Stream& stream_;
  ReadProbe probe_;
  BestRate best_;
  double cost_s_ = 0, sampled_s_ = 0;  // of the last sample, on the slowest rank; when it was
};

}  // namespace weft
