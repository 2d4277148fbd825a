// The grids of one table: every combination of the values that --tp, --pp and --dp list, in the
// order given (tp slowest), each once. A grid may take fewer ranks than there are: the first ones
// work, the others wait.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/grid.h"

namespace weft {

struct GridWords {                      // as given: each may hold several, parted by commas
  std::vector<std::string> tp, pp, dp;  // empty: 1, 1, and what tp and pp leave
};

bool is_list(const GridWords& words);  // an axis has several values

struct GridPlan {
  std::vector<GridShape> grids;       // one at least
  std::vector<std::string> left_out;  // "tp 4 x pp 1 x dp 1 needs 4 ranks"
};

// `objection`: why the model cannot be cut so, or nothing. One grid alone must fit the ranks and
// the model (UserErrors, as everywhere); of a list, what does not fit is left out, but not all.
GridPlan plan_grids(const GridWords& words, int n_ranks,
                    const std::function<std::string(const GridShape&)>& objection);

std::string grid_name(const GridShape& shape);  // "tp 2 x pp 1 x dp 2"

}  // namespace weft
