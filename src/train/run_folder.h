// A run's --out: its lock, its log, its checkpoints. Every function is collective.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "formats/checkpoint_file.h"
#include "formats/checkpoint_folder.h"
#include "io/lock.h"
#include "io/run_log.h"
#include "model/context.h"
#include "train/options.h"

namespace weft {

class RunFolder {
 public:
  RunFolder(const Context& ctx, const std::filesystem::path& out) : ctx_(ctx), out_(out) {}

  // The folder is this run's from here to its end. UserError: another run has it, or it is another
  // folder for another rank that writes there.
  void lock();
  // What kills left is swept up; the recipe is written, the log opened. After all that may refuse:
  // a run that exists keeps its recipe.
  void open(const std::string& recipe);

  // What the log held before this run wrote to it, on rank 0.
  std::string old_log() const;
  std::filesystem::path checkpoints() const { return out_ / "checkpoints"; }
  std::filesystem::path checkpoint(std::int64_t step) const {
    return checkpoint_name(checkpoints(), step);
  }
  // Rank 0's list, the same on all: best first, by --resume.
  std::vector<std::filesystem::path> candidates(const TrainOptions& options);
  // Checkpoints of a later step are damaged or of another course of the run. Under their names they
  // would be resumed next time, and count among the newest that --keep keeps.
  void set_aside_after(std::int64_t step);

  // Nothing where it was saved; else why not, and the state is worth another try.
  std::optional<Failure> save(const Parameters& parameters, const ModelConfig& config,
                              const RunState& state);
  // All but the newest; one that cannot be removed is warned of.
  void keep_newest(std::int64_t n);

  double save_s() const { return save_s_; }  // that the last save took

  RunLog log;  // rank 0's; the others' writes nothing

 private:
  bool first() const { return ctx_.grid.world().rank() == 0; }
  void check_same_folder();

  const Context& ctx_;
  std::filesystem::path out_;
  std::optional<FolderLock> lock_;  // rank 0's
  double save_s_ = 0;
};

}  // namespace weft
