#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/damaged.h"
#include "core/log.h"
#include "core/option_words.h"
#include "core/short_decimal.h"
#include "core/system/process.h"
#include "formats/checkpoint.h"
#include "formats/families/families.h"
#include "formats/hf_export.h"
#include "io/files.h"
#include "io/tensorboard_events.h"
#include "text/files/tokenizer_files.h"
#include "train/first_weights.h"
#include "train/log_lines.h"
#include "train/lost_work.h"
#include "train/pending_steps.h"
#include "train/predictions.h"
#include "train/run_folder.h"
#include "train/run_identity.h"
#include "train/speed.h"
#include "train/start.h"
#include "train/time_budget.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

class Trainer {
 public:
  Trainer(std::unique_ptr<Communicator> world, const TrainOptions& options, TrainingStart start,
          const TrainingEnvironment& environment)
      : options_(options),
        environment_(environment),
        start_(std::move(start)),
        grid_(std::move(world), start_.shape, environment.device, options.comm_timeout),
        stream_(environment.device, environment.n_threads),
        ctx_{
            .grid = grid_,
            .stream = stream_,
            .precision = dtype_of(options.dtype) == DType::bf16 ? Precision::bf16 : Precision::fp32,
            .act =
                activation_dtype(environment.device, dtype_of(options.dtype).value_or(DType::f32)),
            .clock = &clock_,
            .observer = {}},
        first_(grid_.world().rank() == 0),
        room_(memory_room(environment.device, environment.ranks_on_host)),
        planned_(checked_plan()),
        parameters_(start_.config, grid_, dtype_of(options.dtype).value_or(DType::f32),
                    ParameterUse::training, 1, environment.device),
        step_(ctx_, start_.config, parameters_, start_.step) {}

  void run() {
    sampler_ = make_text_sampler(environment_.sampler, start_, options_, ctx_, parameters_);
    check_memory(planned_bytes(), room_, grid_.world(), stream_);
    check_tokens();
    folder_.lock();
    load_start();
    read_carried();
    folder_.open(first_ ? environment_.recipe(resolved_options()) : "");
    budget_.emplace(environment_.time.deadline.total_s(), checkpoint_bytes(start_.config, state_));
    speed_.emplace(ctx_, start_.config, start_.step.T, start_.step.recompute);
    log_start();
    open_metrics();
    if (state_.step < options_.steps && wanted_stop() == Stop::signal) end_unbegun();
    const SampleSource source = [this](std::int64_t place, Sample& sample) {
      start_.data->train_sample(place, sample);
    };
    while (state_.step < options_.steps) {
      train_one(source);
      const bool last = state_.step == options_.steps;
      Stop stop = wanted_stop();
      if (last || stop != Stop::no || due(options_.save_every) || unsaved_ ||
          due(options_.eval_every) || sample_is_due_)
        settle();
      if (!last) stop = ended_by(stop);
      if (last)
        save_surely();
      else if (due(options_.save_every) || unsaved_)
        save();
      if (stop == Stop::no && (due(options_.eval_every) || last)) evaluate();
    }
    save_surely();  // what was resumed from another folder, when no step was left to do
    export_model();
    log_end("done");
    if (first_) folder_.log.finish();
  }

 private:
  // Why the run is to stop, the later the more pressing.
  enum class Stop : std::int32_t { no, walltime, signal };

  // Before any of it is taken. Collective.
  std::size_t checked_plan() {
    const std::size_t planned = plan_training(ctx_, start_, dtype_of(options_.dtype));
    check_memory(planned, room_, grid_.world(), stream_);
    return planned;
  }

  std::size_t planned_bytes() const { return planned_ + sampler_.bytes; }

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
    o.device = environment_.device.type == DeviceType::cuda ? "cuda" : "cpu";
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
    const IdentityChanges changes = check_same_run(file, header, start_, options_.seed);
    load_checkpoint(ctx_, file, parameters_, start_.config);
    state_ = header.state;
    resumed_ = file;
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

  void log_start() {
    const ModelConfig& c = start_.config;
    const auto most = grid_.world().all_reduce_value<std::int64_t>(
        static_cast<std::int64_t>(planned_bytes()), ReduceOp::max, stream_);
    if (!first_) return;
    const TrainOptions resolved = resolved_options();
    OrderedJson line = start_line({.environment = environment_.facts,
                                   .options = options_,
                                   .resolved = resolved,
                                   .start = start_,
                                   .device = environment_.device,
                                   .n_threads = environment_.n_threads,
                                   .bytes_per_rank = most,
                                   .peak_flops = speed_->peak_flops(),
                                   .step = state_.step});
    // The log in --out is of what is resumed, or of a run that had saved nothing.
    const bool own = resumed_.empty() ? options_.resume == "auto" : saved_ == state_.step;
    const auto old_log = [&] { return own ? folder_.old_log() : std::string(); };
    if (const OrderedJson resumed = resumed_line(resumed_, state_.step, old_log); !resumed.empty())
      line["resumed"] = resumed;
    folder_.log.write(line);
    log_info("{} rank{} on {} host{}: {}", start_.shape.ranks(),
             start_.shape.ranks() == 1 ? "" : "s", environment_.hosts.size(),
             environment_.hosts.size() == 1 ? "" : "s", fmt::join(environment_.hosts, ", "));
    log_info(
        "{} parameters, {} training samples of {} tokens{}, grid tp {} x pp {} x dp {}, {} threads "
        "a rank, {:.0f} MB a rank",
        count_parameters(c), start_.data->n_train(), start_.step.T,
        options_.task == "clm" ? "" : " at most", start_.shape.tp, start_.shape.pp, start_.shape.dp,
        environment_.n_threads, static_cast<double>(most) / 1e6);
    log_info("measured peak of {} in {}: {:.1f} GFLOP/s over all ranks",
             matmul_library(stream_.device()), options_.dtype, speed_->peak_flops() / 1e9);
  }

  // A step or an evaluation, for the run log and for TensorBoard.
  void write_line(const OrderedJson& line, std::int64_t step) {
    folder_.log.write(line);
    if (events_) events_->write(step, scalars_of(line));
  }

  void open_metrics() {
    if (!first_ || options_.metrics.empty()) return;
    if (const auto failure =
            failure_of([&] { events_.emplace(start_.out / "tensorboard", state_.step + 1); }))
      log_warning("--metrics {}: {}; the run goes on without", options_.metrics, failure->text);
  }

  // Begins a step. Where the next may be begun before this one's report, that is left for later.
  void train_one(const SampleSource& source) {
    const std::int64_t step = state_.step + 1;
    const bool alone = steps_.stands_alone(step);
    if (alone) settle();
    if (steps_.count() == 0) reported_s_ = process_elapsed_s();
    steps_.begin(source, state_.cursor, step);
    state_.step = step;
    state_.cursor += options_.batch_size;
    if (alone) return settle();
    if (steps_.full()) report_step();
  }

  // Every step that was begun is over and reported: only now is what memory holds a good state.
  void settle() {
    while (steps_.count() > 0) report_step();
  }

  void report_step() {
    FinishedStep done = steps_.finish(speed_->due());
    StepReport& report = done.report;
    report.elapsed_s = process_elapsed_s();
    report.steps = options_.steps;
    report.tokens = start_.data->count_tokens(done.cursor, options_.batch_size);
    const double peak = speed_->peak_flops();
    report.speed = speed_->shares(TrainStep::computed_sequences(start_.step, start_.shape),
                                  report.tokens, report.seconds);
    note_risen_peak(peak, report.step);
    if (report.step % options_.log_every == 0 || report.step == options_.steps)
      write_line(step_line(report), report.step);
    progress_.show(report);
    if (!done.warning.empty() && first_) {
      progress_.break_line();
      log_warning("{}", done.warning);
      folder_.log.write(warning_line(report.step, done.warning));
    }
    sample_is_due_ = sample_is_due_ || done.flags > 0;
    if (sample_is_due_ && steps_.count() == 0) {  // what a step is under way beside is no peak
      sample_is_due_ = false;
      const double before = speed_->peak_flops();
      speed_->sample();
      note_risen_peak(before, report.step);
    }
    budget_->step_took(process_elapsed_s() - reported_s_);
    reported_s_ = process_elapsed_s();
  }

  // A step's shares are of the best peak that was measured until then.
  void note_risen_peak(double before, std::int64_t step) {
    if (speed_->peak_flops() > before)
      risen_peaks_.push_back({{"step", step}, {"matmul_flops", speed_->peak_flops()}});
  }

  void log_end(const char* reason) {
    folder_.log.write(end_line(state_.step, reason, risen_peaks_));
  }

  // Of any rank's signal and rank 0's clock. Collective.
  Stop wanted_stop() {
    Stop mine = Stop::no;
    if (first_ && budget_->is_over(environment_.time.deadline.left_s(), steps_.count()))
      mine = Stop::walltime;
    if (environment_.stop && environment_.stop->received()) mine = Stop::signal;
    return static_cast<Stop>(
        grid_.world().all_reduce_value(static_cast<std::int32_t>(mine), ReduceOp::max, stream_));
  }

  // Saves and ends the run, where steps are left; back with `no` where the first save was quicker
  // than was thought, so that there is time after all.
  Stop ended_by(Stop stop) {
    if (stop == Stop::no) return stop;
    save_surely();
    if (stop == Stop::walltime) stop = wanted_stop();
    if (stop == Stop::no) return stop;
    log_end(stop == Stop::signal ? "signal" : "walltime");
    progress_.break_line();
    const double left = std::max(0.0, environment_.time.deadline.left_s());
    throw Interrupted(fmt::format(
        "stopped by {} after step {} of {}; saved {}; run the same command again to go on",
        stop == Stop::signal
            ? "a signal"
            : fmt::format("the walltime, {} before its end ({}),", duration_text(left),
                          environment_.time.deadline.source()),
        state_.step, options_.steps, folder_.checkpoint(state_.step).string()));
  }

  [[noreturn]] void end_unbegun() {
    log_end("signal");
    throw Interrupted(
        fmt::format("stopped by a signal before step {} of {}; nothing is lost; run the same "
                    "command again to go on",
                    state_.step + 1, options_.steps));
  }

  // Rank 0 decides. Collective.
  bool has_time_to_evaluate(std::int64_t n) {
    const Deadline& deadline = environment_.time.deadline;
    if (!deadline.is_known()) return true;
    const double batches = static_cast<double>(n) / static_cast<double>(options_.batch_size);
    const std::int32_t fits = first_ && budget_->holds_evaluation(deadline.left_s(), batches);
    if (grid_.world().all_reduce_value(fits, ReduceOp::max, stream_) != 0) return true;
    progress_.break_line();
    if (first_ && !std::exchange(warned_of_evaluation_, true))
      log_warning("step {}: no time for an evaluation, {} are left ({})", state_.step,
                  duration_text(deadline.left_s()), deadline.source());
    return false;
  }

  // In pieces of some steps' time, so that a signal need not wait for the end.
  void evaluate() {
    std::int64_t n = start_.data->n_val();
    if (n == 0) return;
    if (options_.eval_samples > 0) n = std::min(n, options_.eval_samples);
    if (!has_time_to_evaluate(n)) return;
    const double begin_s = process_elapsed_s();
    const SampleSource source = [this](std::int64_t i, Sample& sample) {
      start_.data->val_sample(i, sample);
    };
    Predictions predictions(start_.config, n);
    double sum = 0;
    std::int64_t n_labels = 0;
    const std::int64_t piece = 4 * options_.batch_size;
    for (std::int64_t at = 0; at < n; at += piece) {
      const Stop stop = at > 0 ? wanted_stop() : Stop::no;
      // At the end everything is saved; what is left is the export.
      if (stop != Stop::no && state_.step == options_.steps) return;
      ended_by(stop);
      const auto part = step_.evaluate(source, at, std::min(piece, n - at), predictions.taker());
      sum += part.loss * static_cast<double>(part.n_labels);
      n_labels += part.n_labels;
    }
    EvalReport report = {.step = state_.step,
                         .n_samples = n,
                         .loss = sum / static_cast<double>(n_labels),
                         .metrics = {},
                         .texts = write_samples(sampler_, ctx_)};
    if (start_.config.has_lm_head()) report.metrics = {{"perplexity", std::exp(report.loss)}};
    for (auto& metric : predictions.metrics(grid_.world(), source, stream_))
      report.metrics.push_back(std::move(metric));
    write_line(eval_line(report), report.step);
    budget_->evaluation_took(process_elapsed_s() - begin_s);
    progress_.break_line();
    if (!first_) return;
    log_info("{}", eval_text(report));
    for (const TextSample& t : report.texts)
      log_info("step {}: sample: {}", state_.step, one_line(t.prompt + t.text));
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
    budget_->save_took(folder_.save_s());
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
  TrainingStart start_;
  Grid grid_;
  Stream stream_;
  ShareClock clock_;
  Context ctx_;
  bool first_;
  MemoryRoom room_;  // for this rank, before the arenas take theirs
  std::size_t planned_;
  Parameters parameters_;
  TrainStep step_;
  LearningCheck check_{ctx_, parameters_, start_.step};
  PendingSteps steps_{ctx_, step_, check_, start_.step};
  double reported_s_ = 0;  // when the last step was, or the one under way was begun
  bool sample_is_due_ = false;
  TextSampler sampler_;  // by --sample
  RunFolder folder_{ctx_, start_.out};
  ProgressLine progress_{first_};
  RunState state_;
  std::vector<CarriedTensor> carried_;
  std::optional<Speed> speed_;
  std::optional<TensorboardEvents> events_;  // rank 0's, by --metrics
  OrderedJson risen_peaks_ = OrderedJson::array();
  std::optional<TimeBudget> budget_;
  bool warned_of_evaluation_ = false;
  fs::path resumed_;  // the checkpoint; empty: none
  std::int64_t saved_ = -1;
  std::optional<Failure> unsaved_;  // why the last save failed
};

}  // namespace

void train(std::unique_ptr<Communicator> world, const TrainOptions& options, TrainingStart start,
           const TrainingEnvironment& environment) {
  Trainer(std::move(world), options, std::move(start), environment).run();
}

}  // namespace weft
