// The grid of ranks: axes tp (fastest), pp, dp.  rank = tp_rank + tp·(pp_rank + pp·dp_rank)
#pragma once

#include <array>
#include <memory>

#include "comm/collective_watch.h"
#include "comm/communicator.h"
#include "core/option_words.h"

namespace weft {

struct GridShape {
  int tp = 1, pp = 1, dp = 1;
  int ranks() const { return tp * pp * dp; }
  friend bool operator==(const GridShape&, const GridShape&) = default;
};

// Fills in dp where it is 0 (ranks / (tp·pp)); a UserError names tp, pp, dp and the number of ranks
// where they do not fit.
GridShape resolve_grid(std::int64_t tp, std::int64_t pp, std::int64_t dp, int n_ranks);

// Its groups of ranks.
enum class GridGroup : std::uint8_t { tp, pp, dp, replica, tied_ends, world };
constexpr int kGridGroups = 6;
constexpr std::array<const char*, kGridGroups> kGridGroupNames = {"tp",      "pp",        "dp",
                                                                  "replica", "tied ends", "world"};

class Grid {
 public:
  // Collective over `world`, which has shape.ranks() ranks (else an Error); so is its end. The
  // groups are good as long as the grid. Those of its axes, but not `world`, move the memory of
  // `device` too; a peer that is not heard of there for so long ends the run.
  Grid(std::unique_ptr<Communicator> world, GridShape shape, Device device = {},
       std::int64_t comm_timeout_s = kCommTimeout_s);

  const GridShape& shape() const { return shape_; }
  Communicator& world() const { return *world_; }
  Communicator& tp() const { return *tp_; }
  Communicator& pp() const { return *pp_; }  // ranks that differ in pipeline stage only
  Communicator& dp() const { return *dp_; }
  // First and last stage of this pipeline, for a tied embedding; size 1 where pp is 1 or this stage
  // is neither.
  Communicator& tied_ends() const { return *ends_; }
  // All ranks that hold the same data-parallel replica: tp × pp.
  Communicator& replica() const { return *replica_; }

  // Of its groups of devices, for others beside them; null where the axes' are the host's alone.
  const std::shared_ptr<CollectiveWatch>& watch() const { return watch_; }

  const Communicator& group(GridGroup which) const;

  bool is_first_stage() const { return pp().rank() == 0; }
  bool is_last_stage() const { return pp().rank() == shape_.pp - 1; }

 private:
  void link_devices(Device device, std::int64_t comm_timeout_s);

  GridShape shape_;
  std::shared_ptr<CollectiveWatch> watch_;
  std::unique_ptr<Communicator> world_, tp_, pp_, dp_, ends_, replica_;
};

}  // namespace weft
