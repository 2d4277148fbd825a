// What a run that was killed had done past the checkpoint that is resumed, by its own log.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "io/json.h"

namespace weft {

struct LostWork {
  std::int64_t last_step = 0;  // that the log knows of
  std::int64_t tokens = 0;     // of the steps after the one resumed
  double seconds = 0;          // from that step's save to where the log ends
};

// `log`: run.jsonl as the runs before left it; lines that are none of ours are passed over. `step`:
// the one that is resumed (0: none, all is begun anew).
LostWork lost_work(std::string_view log, std::int64_t step);

// The start line's `resumed`: the checkpoint (empty: none was there), its step, and what of `log`
// is lost, which is warned of. Empty where neither is.
OrderedJson resumed_line(const std::filesystem::path& from, std::int64_t step,
                         const std::function<std::string()>& log);

}  // namespace weft
