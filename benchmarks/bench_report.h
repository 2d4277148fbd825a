// What `weft bench` prints of a measurement: JSON lines, lines of text, or a table with a row a
// grid.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "benchmarks/bench.h"

namespace weft {

class BenchReport {
 public:
  struct Origin {
    std::string bench, command, commit, device;
    int threads = 1, n_ranks = 1;
  };
  BenchReport(Origin origin, bool json) : origin_(std::move(origin)), json_(json) {}

  void print(const GridShape& shape, const Measurement& m);
  void print_end() const;  // what the columns of a table mean

 private:
  void print_line(const Measurement& m) const;
  void print_row(const GridShape& shape, const Measurement& m, double ratio);
  void print_json(const GridShape& shape, const Measurement& m, double ratio) const;

  Origin origin_;
  bool json_;
  std::map<std::string, double> first_;         // values of the first row of each name
  std::map<std::string, std::string> details_;  // of a table: the names by their first words
};

}  // namespace weft
