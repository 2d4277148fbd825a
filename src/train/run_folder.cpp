#include "train/run_folder.h"

#include <chrono>
#include <thread>

#include "comm/agreement.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "core/system/process.h"
#include "formats/checkpoint.h"
#include "io/files.h"
#include "train/replica_check.h"
#include "train/start.h"

namespace weft {

namespace fs = std::filesystem;

void RunFolder::lock() {
  on_first_rank(ctx_.grid.world(), ctx_.stream,
                [&] { lock_.emplace(out_, fmt::format("--out {}", out_.string())); });
  check_same_folder();
}

// The ranks that write checkpoints must see the lock that rank 0 made. A network's file system may
// take a moment to show it.
void RunFolder::check_same_folder() {
  constexpr int kTries = 50;
  Communicator& world = ctx_.grid.world();
  const std::string token = gather_texts(world, lock_ ? lock_->token() : "", ctx_.stream)[0];
  bool seen = ctx_.grid.dp().rank() != 0;
  for (int i = 0; !seen && i < kTries; ++i) {
    seen = FolderLock::is_held(out_, token);
    if (!seen) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  throw_together(
      world, failure_of([&] {
        CHECK_USER(seen,
                   "--out {}: is another folder for rank {} on host {} than for rank 0; name one "
                   "that all hosts share",
                   out_.string(), world.rank(), host_name());
      }),
      ctx_.stream);
}

void RunFolder::open(const std::string& recipe) {
  on_first_rank(ctx_.grid.world(), ctx_.stream, [&] {
    make_folder(checkpoints());
    for (const fs::path& folder : {out_, checkpoints()}) remove_left_beside(folder);
    write_file_atomically(out_ / "recipe.toml", recipe);
    log = RunLog(out_ / "run.jsonl");
  });
}

std::string RunFolder::old_log() const { return first() ? read_text_file(out_ / "run.jsonl") : ""; }

std::vector<fs::path> RunFolder::candidates(const TrainOptions& options) {
  Communicator& world = ctx_.grid.world();
  std::string mine;
  on_first_rank(world, ctx_.stream, [&] {
    for (const fs::path& file : resume_candidates(options)) mine += file.string() + '\0';
  });
  const std::string all = gather_texts(world, mine, ctx_.stream)[0];
  std::vector<fs::path> files;
  for (std::size_t at = 0; at < all.size(); at += files.back().string().size() + 1)
    files.emplace_back(all.c_str() + at);
  return files;
}

void RunFolder::set_aside_after(std::int64_t step) {
  on_first_rank(ctx_.grid.world(), ctx_.stream, [&] {
    for (const fs::path& file : list_checkpoints(checkpoints())) {
      if (checkpoint_step(file) <= step) break;
      log_warning("{} is of a later step than this run starts at; it is now {}", file.string(),
                  set_aside(file).filename().string());
    }
  });
}

std::optional<Failure> RunFolder::save(const Parameters& parameters, const ModelConfig& config,
                                       const RunState& state) {
  const double begin = process_elapsed_s();
  check_replicas(ctx_, parameters);
  on_first_rank(ctx_.grid.world(), ctx_.stream, [&] { lock_->check(); });
  const fs::path file = checkpoint(state.step);
  if (const auto failure =
          failure_of([&] { save_checkpoint(ctx_, file, parameters, config, state); }))
    return failure;  // the same on all ranks
  const double now = process_elapsed_s();
  save_s_ = now - begin;
  OrderedJson line = {{"event", "save"}, {"step", state.step}, {"file", file.string()}};
  line["seconds"] = save_s_;
  std::error_code unknown;
  if (const auto bytes = fs::file_size(file, unknown); !unknown) line["bytes"] = bytes;
  line["elapsed_s"] = now;
  log.write(line);
  return std::nullopt;
}

void RunFolder::keep_newest(std::int64_t n) {
  if (n <= 0 || !first()) return;
  std::vector<fs::path> all;
  if (const auto failure = failure_of([&] { all = list_checkpoints(checkpoints()); }))
    log_warning("{}", failure->text);
  for (auto i = static_cast<std::size_t>(n); i < all.size(); ++i)
    if (const auto failure = failure_of([&] { remove_file(all[i]); }))
      log_warning("{}", failure->text);
}

}  // namespace weft
