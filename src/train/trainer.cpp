#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/damaged.h"
#include "core/log.h"
#include "core/option_words.h"
#include "core/short_decimal.h"
#include "formats/checkpoint.h"
#include "formats/families/families.h"
#include "formats/hf_export.h"
#include "io/files.h"
#include "text/files/tokenizer_files.h"
#include "train/first_weights.h"
#include "train/predictions.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/run_identity.h"
#include "train/speed.h"
#include "train/start.h"
#include "train/stop_signal.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

TrainingStart resolve_on(const TrainOptions& options, Communicator& world, int n_threads) {
  Stream stream({}, n_threads);
  return resolve_together(options, world, stream);
}

class Trainer {
 public:
  Trainer(std::unique_ptr<Communicator> world, const TrainOptions& options,
          const TrainingEnvironment& environment)
      : options_(options),
        environment_(environment),
        start_(resolve_on(options, *world, environment.n_threads)),
        grid_(std::move(world), start_.shape),
        stream_({}, environment.n_threads),
        ctx_{
            .grid = grid_,
            .stream = stream_,
            .precision = dtype_of(options.dtype) == DType::bf16 ? Precision::bf16 : Precision::fp32,
            .clock = &clock_,
            .observer = {}},
        first_(grid_.world().rank() == 0),
        parameters_(start_.config, grid_, dtype_of(options.dtype).value_or(DType::f32),
                    ParameterUse::training),
        step_(ctx_, start_.config, parameters_, start_.step) {}

  void run() {
    check_memory();
    check_tokens();
    folder_.lock();
    load_start();
    read_carried();
    folder_.open(first_ ? environment_.recipe(resolved_options()) : "");
    speed_.emplace(ctx_, start_.config, start_.step.T, start_.step.recompute);
    log_start();
    const SampleSource source = [this](std::int64_t place, Sample& sample) {
      start_.data->train_sample(place, sample);
    };
    while (state_.step < options_.steps) {
      train_one(source);
      const bool last = state_.step == options_.steps, stop = stop_requested();
      if (stop && !last) end_by_signal();
      if (last)
        save_surely();
      else if (due(options_.save_every) || unsaved_)
        save();
      if (!stop && (due(options_.eval_every) || last)) evaluate();
    }
    save_surely();  // what was resumed from another folder, when no step was left to do
    export_model();
    log_end("done");
    if (first_) folder_.log.finish();
  }

 private:
  std::size_t planned_bytes() const { return parameters_.bytes() + step_.activation_bytes(); }

  void check_memory() {
    const auto planned = static_cast<std::int64_t>(planned_bytes());
    throw_together(grid_.world(), failure_of([&] {
                     CHECK_MACHINE(
                         planned <= environment_.memory.bytes,
                         "weights, gradients, moments and activations take {:.2f} GB on a rank, "
                         "but {:.2f} GB is {}; choose a smaller --micro-batch-size or model, or "
                         "more ranks",
                         static_cast<double>(planned) / 1e9,
                         static_cast<double>(environment_.memory.bytes) / 1e9,
                         environment_.memory.bound);
                   }),
                   stream_);
  }

  // Files of other tools may hold ids that the vocabulary lacks; said before the first step. Each
  // rank reads its share.
  void check_tokens() {
    const Communicator& world = grid_.world();
    throw_together(grid_.world(), failure_of([&] {
                     start_.data->check_tokens(split_range(start_.data->file().info().n_tokens,
                                                           world.size(), world.rank()));
                   }),
                   stream_);
  }

  bool due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }

  // What was left to the program to choose, as far as it does not depend on the ranks at hand: a
  // recipe serves any grid.
  TrainOptions resolved_options() const {
    TrainOptions o = options_;
    const ModelConfig& c = start_.config;
    o.min_lr = start_.step.optimizer.lr.min_lr;
    o.context = start_.context;
    const bool head = !c.has_label_head() || c.dropout_head == c.dropout_residual;
    if (head && c.dropout_embedding == c.dropout_attention &&
        c.dropout_attention == c.dropout_residual)
      o.dropout = short_decimal(c.dropout_residual);
    if (o.device.empty()) o.device = "cpu";
    return o;
  }

  void load_start() {
    if (!resume()) state_ = begin_run(ctx_, options_, start_, parameters_);
    state_.identity = start_.identity;
    folder_.set_aside_after(state_.step);
  }

  // What the exported folder will hold besides parameters; now, since the first folder may be gone
  // by then.
  void read_carried() {
    if (family(start_.config.family).carried.empty()) return;
    std::unique_ptr<WeightSource> source;
    const auto lost = failure_of([&] {  // a resumed run needs the folder for nothing else
      CHECK_USER(!start_.without_model, "{}: no such file or folder", options_.model);
      if (start_.model) source = start_.model->weights();
    });
    if (lost && first_)
      log_warning("the exported model goes without what only its first folder held: {}",
                  lost->text);
    const std::int32_t there = source != nullptr;
    if (!grid_.world().all_reduce_value(there, ReduceOp::min, stream_))
      source.reset();  // every rank writes the same list
    throw_together(grid_.world(), failure_of([&] {
                     carried_ = source ? source->carried(start_.config)
                                       : carried_tensors(start_.config, nullptr);
                   }),
                   stream_);
  }

  // From the newest checkpoint that is whole; with --resume auto, damaged ones are skipped and
  // named. Whatever else keeps one from being read ends the run: it is there, and not begun anew.
  // False where there is none.
  bool resume() {
    const std::vector<fs::path> files = folder_.candidates(options_);
    for (const fs::path& file : files) {
      try {
        CheckpointHeader header;
        read_together(grid_.world(), stream_, [&] { header = read_checkpoint_header(file); });
        resume_from(file, header);
        return true;
      } catch (const Damaged& error) {  // on all ranks alike
        if (options_.resume != "auto") throw;
        if (first_) log_warning("skipped a checkpoint: {}", error.what());
      }
    }
    CHECK_MACHINE(files.empty(),
                  "{}: none of the {} checkpoints is whole; nothing was changed; --resume none "
                  "begins anew and sets them aside",
                  folder_.checkpoints().string(), files.size());
    return false;
  }

  void resume_from(const fs::path& file, const CheckpointHeader& header) {
    compare(
        grid_.world(),
        [&] {
          return std::vector<Fact>{
              {file.string() + " (its checksum)", fmt::format("{:016x}", header.checksum)}};
        },
        stream_);
    const IdentityChanges changes = check_same_run(file, header);
    load_checkpoint(ctx_, file, parameters_, start_.config);
    state_ = header.state;
    std::error_code none;
    if (fs::equivalent(file, folder_.checkpoint(state_.step), none)) saved_ = state_.step;
    if (!first_) return;
    log_info("resuming from {} at step {}", file.string(), state_.step);
    if (start_.without_model)
      log_info("--model {} is not there; the checkpoint has what it held", options_.model);
    if (header.state.identity.is_null())
      log_warning("{} does not say which data and settings it was trained with", file.string());
    if (!changes.settings.empty())
      log_warning("the run goes on with other settings than {}: {}", file.filename().string(),
                  fmt::join(changes.settings, "; "));
    if (state_.step >= options_.steps)
      log_info("{} has done {} steps already; --steps is {}", file.string(), state_.step,
               options_.steps);
  }

  // UserError where the checkpoint is of another run; what else has changed.
  IdentityChanges check_same_run(const fs::path& file, const CheckpointHeader& header) const {
    IdentityChanges changes = identity_changes(header.state.identity, start_.identity);
    const std::string ours = start_.tokenizer ? start_.tokenizer->hash() : "";
    if (header.state.identity.is_null() && !header.state.tokenizer.empty() && !ours.empty() &&
        tokenizer_from_json(header.state.tokenizer, file.string()).hash() != ours)
      changes.another_run.push_back("the tokenizer is another");
    CHECK_USER(changes.another_run.empty(),
               "{}: is a checkpoint of another run: {}; choose another --out, or --resume none to "
               "begin anew, or --model {} to begin with its weights",
               file.string(), fmt::join(changes.another_run, "; "), file.string());
    const std::string difference = first_difference(header.config, start_.config);
    CHECK_USER(difference.empty(),
               "{}: is a checkpoint of another model: {}; choose another --out, or --resume none",
               file.string(), difference);
    CHECK_USER(header.state.seed == options_.seed,
               "{}: was started with --seed {}, not {}; choose another --out, or --resume none",
               file.string(), header.state.seed, options_.seed);
    return changes;
  }

  void log_start() {
    const ModelConfig& c = start_.config;
    const auto most = grid_.world().all_reduce_value<std::int64_t>(
        static_cast<std::int64_t>(planned_bytes()), ReduceOp::max, stream_);
    if (!first_) return;
    OrderedJson line = {{"event", "start"}};
    line.update(environment_.build);
    line["hosts"] = environment_.hosts;
    line["grid"] = {{"tp", start_.shape.tp}, {"pp", start_.shape.pp}, {"dp", start_.shape.dp}};
    line["model"] =
        shown_fields(c, {"family", "layers", "width", "heads", "kv_heads", "ffn", "vocab"});
    line["model"]["context"] = start_.step.T;
    line["task"] = options_.task;
    line["parameters"] = count_parameters(c);
    line["threads"] = environment_.n_threads;
    line["dtype"] = options_.dtype;
    line["peaks"] = {{"matmul_flops", speed_->peak_flops()}, {"matmul_library", matmul_library()}};
    line["bytes_per_rank"] = most;
    line["step"] = state_.step;
    line["steps"] = options_.steps;
    line["run"] = start_.identity;
    folder_.log.write(line);
    log_info(
        "{} parameters, {} training samples of {} tokens{}, grid tp {} x pp {} x dp {}, {} threads "
        "a rank, {:.0f} MB a rank",
        count_parameters(c), start_.data->n_train(), start_.step.T,
        options_.task == "clm" ? "" : " at most", start_.shape.tp, start_.shape.pp, start_.shape.dp,
        environment_.n_threads, static_cast<double>(most) / 1e6);
    log_info("measured peak of {} in {}: {:.1f} GFLOP/s over all ranks", matmul_library(),
             options_.dtype, speed_->peak_flops() / 1e9);
  }

  void train_one(const SampleSource& source) {
    clock_.start();
    StepReport report;
    report.step = state_.step + 1;
    report.lr = start_.step.optimizer.lr.at(report.step);
    report.result = step_.train(source, state_.cursor, report.step);
    state_.step = report.step;
    state_.cursor += options_.batch_size;
    const std::array<double, kTimeShares> seconds = clock_.stop();

    // Shares are averaged over the ranks: each rank's sum to its own step time, so the averages sum
    // to 1 too.
    std::array<double, kTimeShares + 2> sums{};
    double total = 0;
    for (double s : seconds) total += s;
    for (std::size_t i = 0; i < kTimeShares; ++i) sums[i] = seconds[i] / total;
    sums[kTimeShares] = total;
    sums[kTimeShares + 1] = speed_->due();
    grid_.world().all_reduce(View(sums.data(), Dims{kTimeShares + 2}), ReduceOp::sum, stream_);
    const auto ranks = static_cast<double>(start_.shape.ranks());
    double share_sum = 0;
    for (std::size_t i = 0; i < kTimeShares; ++i) share_sum += sums[i];
    for (std::size_t i = 0; i < kTimeShares; ++i) report.shares[i] = sums[i] / share_sum;
    report.seconds = sums[kTimeShares] / ranks;
    report.steps = options_.steps;
    report.tokens =
        start_.data->count_tokens(state_.cursor - options_.batch_size, options_.batch_size);
    const double peak = speed_->peak_flops();
    report.speed = speed_->shares(TrainStep::computed_sequences(start_.step, start_.shape),
                                  report.tokens, report.seconds);
    note_risen_peak(peak);
    if (report.step % options_.log_every == 0 || report.step == options_.steps)
      folder_.log.write(to_json(report));
    progress_.show(report);
    if (sums[kTimeShares + 1] == 0) return;
    const double before = speed_->peak_flops();
    speed_->sample();
    note_risen_peak(before);
  }

  // A step's shares are of the best peak that was measured until then.
  void note_risen_peak(double before) {
    if (speed_->peak_flops() > before)
      risen_peaks_.push_back({{"step", state_.step}, {"matmul_flops", speed_->peak_flops()}});
  }

  // With the peaks that rose above the start line's, and from which step on.
  void log_end(const char* reason) {
    OrderedJson line = {{"event", "end"}, {"step", state_.step}, {"reason", reason}};
    if (!risen_peaks_.empty()) line["risen_peaks"] = risen_peaks_;
    folder_.log.write(line);
  }

  bool stop_requested() {
    return grid_.world().all_reduce_value<std::int32_t>(stop_.received() ? 1 : 0, ReduceOp::max,
                                                        stream_) != 0;
  }

  // In pieces of some steps' time, so that a signal need not wait for the end.
  void evaluate() {
    std::int64_t n = start_.data->n_val();
    if (n == 0) return;
    if (options_.eval_samples > 0) n = std::min(n, options_.eval_samples);
    const SampleSource source = [this](std::int64_t i, Sample& sample) {
      start_.data->val_sample(i, sample);
    };
    Predictions predictions(start_.config, n);
    double sum = 0;
    std::int64_t n_labels = 0;
    const std::int64_t piece = 4 * options_.batch_size;
    for (std::int64_t at = 0; at < n; at += piece) {
      if (at > 0 && stop_requested()) {
        if (state_.step < options_.steps) end_by_signal();
        return;  // everything is saved; what is left is the export
      }
      const auto part = step_.evaluate(source, at, std::min(piece, n - at), predictions.taker());
      sum += part.loss * static_cast<double>(part.n_labels);
      n_labels += part.n_labels;
    }
    const double loss = sum / static_cast<double>(n_labels);
    OrderedJson line = {{"event", "eval"}, {"step", state_.step}, {"loss", loss}};
    std::string said = fmt::format("loss {:.4f}", loss);
    const auto add = [&](const std::string& name, double value) {
      line[name] = std::isfinite(value) ? OrderedJson(value) : OrderedJson();
      said += fmt::format(", {} {:.4f}", name, value);
    };
    if (start_.config.has_lm_head()) add("perplexity", std::exp(loss));
    for (const auto& [name, value] : predictions.metrics(grid_.world(), source, stream_))
      add(name, value);
    line["samples"] = n;
    folder_.log.write(line);
    progress_.break_line();
    if (first_) log_info("step {}: validation {}, over {} samples", state_.step, said, n);
  }

  // A save that fails is tried again after the next step: memory still holds the state.
  void save() {
    if (saved_ == state_.step) return;
    const bool failed_before = unsaved_.has_value();
    unsaved_ = folder_.save(parameters_, start_.config, state_);
    if (unsaved_.has_value() != failed_before && first_) {  // once, not at every step
      progress_.break_line();
      if (unsaved_)
        log_warning("{}; it is tried again after every step", unsaved_->text);
      else
        log_info("step {} is saved: what was in the way is gone", state_.step);
    }
    if (unsaved_) return;
    saved_ = state_.step;
    folder_.keep_newest(options_.keep);
  }

  // Where no step comes after this one, time does not help for long.
  void save_surely() {
    for (const int wait_s : {0, 1, 4}) {
      std::this_thread::sleep_for(std::chrono::seconds(wait_s));
      save();
      if (!unsaved_) return;
    }
    unsaved_->text += fmt::format("; step {} is lost", state_.step);
    rethrow(*unsaved_);
  }

  [[noreturn]] void end_by_signal() {
    save_surely();
    log_end("signal");
    progress_.break_line();
    throw Interrupted(fmt::format(
        "stopped by a signal after step {} of {}; saved {}; run the same command again to go on",
        state_.step, options_.steps, folder_.checkpoint(state_.step).string()));
  }

  void export_model() {
    const fs::path place = start_.out / "model";
    std::optional<FolderBeside> beside;  // rank 0's
    on_first_rank(grid_.world(), stream_, [&] { beside.emplace(place); });
    save_hf_weights(parameters_, start_.config, grid_, beside ? beside->path() : place, DType::f32,
                    kMaxShardBytes, stream_, carried_);
    on_first_rank(grid_.world(), stream_, [&] {
      if (start_.tokenizer) save_tokenizer(*start_.tokenizer, beside->path());
      if (!state_.generation.empty())
        write_file_atomically(beside->path() / "generation_config.json", state_.generation);
      beside->put_in_place();
    });
    if (first_)
      log_info("saved {} and {}", folder_.checkpoint(state_.step).string(), place.string());
  }

  const TrainOptions& options_;
  const TrainingEnvironment& environment_;
  StopSignal stop_;  // first: a signal while reading the model counts too
  TrainingStart start_;
  Grid grid_;
  Stream stream_;
  ShareClock clock_;
  Context ctx_;
  bool first_;
  Parameters parameters_;
  TrainStep step_;
  RunFolder folder_{ctx_, start_.out};
  ProgressLine progress_{first_};
  RunState state_;
  std::vector<CarriedTensor> carried_;
  std::optional<Speed> speed_;
  OrderedJson risen_peaks_ = OrderedJson::array();
  std::int64_t saved_ = -1;
  std::optional<Failure> unsaved_;  // why the last save failed
};

}  // namespace

void train(std::unique_ptr<Communicator> world, const TrainOptions& options,
           const TrainingEnvironment& environment) {
  Trainer(std::move(world), options, environment).run();
}

}  // namespace weft
