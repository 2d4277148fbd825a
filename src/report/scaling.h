// Runs beside each other: repeats of one configuration, and speed over numbers of ranks.
#pragma once

#include <string>
#include <vector>

#include "report/run.h"

namespace weft::report {

// Mean and standard deviation (of a sample; NaN of one value).
struct MeanSd {
  double mean = kUnknown, sd = kUnknown;
};
MeanSd mean_sd(const std::vector<double>& values);

// Runs of one configuration: same work, grid and place.
struct Configuration {
  std::vector<const Run*> repeats;
  MeanSd tokens_per_s;  // of all ranks
  const Run& run() const { return *repeats.front(); }
  std::string grid() const;  // "tp 2 × pp 1 × dp 4"
};

// All runs that have a speed, those of one configuration together, in the order of their firsts.
std::vector<Configuration> configurations(const std::vector<Run>& runs);

struct ScalingPoint {
  const Configuration* configuration = nullptr;
  MeanSd speed_up;    // of the base's mean tokens/s
  MeanSd efficiency;  // speed-up / (ranks / the base's ranks)
};

// The same model and settings on at least two numbers of ranks. Strong: the same batch. Weak: the
// same batch a rank. Of a text job the batch is its items.
struct ScalingStudy {
  bool weak = false;
  std::vector<ScalingPoint> points;  // by ranks, then grid; the first is the base
  const Run& base() const { return points.front().configuration->run(); }
};

// The points refer to the configurations.
std::vector<ScalingStudy> scaling_studies(const std::vector<Configuration>& configurations);

// What a study keeps or divides: sequences a step, or items.
double work_of(const Run& run);

}  // namespace weft::report
