#include "cli/generation/replica.h"

#include <chrono>
#include <utility>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "infer/continuation.h"

namespace weft {
namespace {

// A line every ten seconds, for jobs that take longer.
class Progress {
 public:
  explicit Progress(std::size_t total) : total_(total) {}  // 0: says nothing
  void step() {
    const auto now = std::chrono::steady_clock::now();
    if (++done_ >= total_ || now - said_ < std::chrono::seconds(10)) return;
    said_ = now;
    log_info("{} of {} requests of rank 0 are done", done_, total_);
  }

 private:
  std::size_t total_, done_ = 0;
  std::chrono::steady_clock::time_point said_ = std::chrono::steady_clock::now();
};

}  // namespace

Replica::Replica(const GenerateOptions& o, const Session& session, std::vector<Job> jobs,
                 Rejects& rejects, JobLog& log, GenerationPage* page)
    : options_(o),
      session_(session),
      tokenizer_(session.need_tokenizer()),
      rejects_(rejects),
      log_(log),
      page_(page) {
  const auto dp = static_cast<std::size_t>(session.grid.shape().dp);
  for (auto i = static_cast<std::size_t>(session.grid.dp().rank()); i < jobs.size(); i += dp) {
    for (std::size_t item = jobs[i].first_item; page && item < jobs[i].end_item(); ++item)
      page->expect(item);
    requests_.push_back(jobs[i].request);  // job i belongs to replica i mod dp
    jobs_.push_back(std::move(jobs[i]));
  }
}

bool Replica::reject_too_large() {
  const Grid& grid = session_.grid;
  const std::size_t weights = Parameters::plan_bytes(
      session_.config, grid.shape(), grid.tp().rank(), grid.pp().rank(),
      session_.options.held_dtype(), ParameterUse::inference, session_.ctx.stream.device());
  const std::size_t probe = log_.on() ? ReadProbe::plan_bytes() : 0;
  const std::int64_t room = session_.memory.bytes - static_cast<std::int64_t>(weights + probe);
  Communicator& world = session_.grid.world();
  // Where the weights alone are too large, loading them says so.
  if (world.all_reduce_value(room, ReduceOp::min, session_.ctx.stream) <= 0) return true;
  reject_unfitting(limits_for(room));
  const auto left = static_cast<std::int64_t>(requests_.size());
  return world.all_reduce_value(left, ReduceOp::max, session_.ctx.stream) > 0;
}

std::optional<Failure> Replica::run(ResultWriter& results, std::size_t n_items) {
  const EngineWatch watch = log_.watch_engine();
  const EngineLimits limits = limits_for(session_.free_memory_bytes());
  reject_unfitting(limits);
  for (const Job& job : too_large_)
    for (std::size_t item = job.first_item; results.mine() && item < job.end_item(); ++item)
      results.put(item, "");
  if (!requests_.empty()) say_shape(limits);
  Progress progress(session_.first() ? requests_.size() : 0);
  Engine engine(session_.ctx, session_.config, *session_.parameters, &tokenizer_, limits, watch);
  log_.begin();
  return engine.try_run(requests_, [&](std::size_t r, std::int64_t sample, const Completion& c) {
    const auto timed = time_as(session_.ctx, TimeShare::data);
    if (sample == 0) progress.step();
    if (page_ && c.error.empty()) note_for_page(jobs_[r], sample, c);
    if (!results.mine()) return;
    put(results, jobs_[r], sample, c, n_items);
    log_.progress(results.work());
  });
}

EngineLimits Replica::limits_for(std::int64_t memory_bytes) const {
  return {.memory_bytes = memory_bytes,
          .weights = session_.options.held_dtype(),
          .kv = session_.cache_dtype(options_.kv_cache_dtype)};
}

// A request that memory cannot hold costs no other: the largest go until the others fit.
void Replica::reject_unfitting(const EngineLimits& limits) {
  while (!requests_.empty()) {
    const auto failure =
        failure_of([&] { plan_inference(session_.ctx, session_.config, requests_, limits); });
    if (!failure) return;
    if (failure->kind != FailureKind::user) rethrow(*failure);
    reject_largest(failure->text);
  }
}

void Replica::reject_largest(const std::string& why) {
  const auto size_of = [](const GenerationRequest& r) {
    return (static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens) * lanes_of(r);
  };
  std::int64_t largest = 0;
  for (const GenerationRequest& r : requests_) largest = std::max(largest, size_of(r));
  for (std::size_t i = requests_.size(); i-- > 0;) {
    if (size_of(requests_[i]) < largest) continue;
    const std::string reason = fmt::format("{}: {}", requests_[i].name, why);
    if (session_.grid.replica().rank() == 0) rejects_.add(*jobs_[i].document, reason);
    requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(i));
    too_large_.push_back(std::move(jobs_[i]));
    jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// What the run takes beside the weights.
void Replica::say_shape(const EngineLimits& limits) const {
  const InferenceShape shape = plan_inference(session_.ctx, session_.config, requests_, limits);
  if (!session_.first() || requests_.size() <= static_cast<std::size_t>(shape.slots)) return;
  log_info("{}", shape_sentence(session_, shape));
}

void Replica::put(ResultWriter& results, const Job& job, std::int64_t sample, const Completion& c,
                  std::size_t n_items) {
  const std::size_t item = job.first_item + static_cast<std::size_t>(sample);
  if (!c.error.empty()) return put_error(results, job, sample, c);
  const std::string continuation = continuation_text(tokenizer_, job.request.ids, c.ids);
  const JobWork done = {
      .prompt_tokens = sample == 0 ? static_cast<std::int64_t>(job.request.ids.size()) : 0,
      .new_tokens = static_cast<std::int64_t>(c.ids.size())};
  if (options_.json())
    return results.put(item, completion_line(job, sample, c, continuation, options_.keep_fields),
                       done);
  std::string text =
      (job.request.options.return_full_text ? job.document->text : "") + continuation + "\n";
  if (job.request.options.logprobs)
    for (std::size_t i = 0; i < c.ids.size(); ++i)
      text += fmt::format("  {:<20} {:.4f}\n", tokenizer_.token(c.ids[i]), c.logprobs[i]);
  results.put(item, n_items > 1 ? text + "\n" : text, done);
}

void Replica::note_for_page(const Job& job, std::int64_t sample, const Completion& c) {
  const std::size_t item = job.first_item + static_cast<std::size_t>(sample);
  page_->add(item, fmt::format("{}, sample {}", job.document->id, job.first_sample + sample),
             job.request.ids, c.ids);
}

// A text without a result is rejected; one that has some lacks the others.
void Replica::put_error(ResultWriter& results, const Job& job, std::int64_t sample,
                        const Completion& c) {
  if (sample > 0) {
    log_warning("{}", c.error);
    return results.put(job.first_item + static_cast<std::size_t>(sample), "");
  }
  rejects_.add(*job.document, c.error);
  for (std::size_t item = job.first_item; item < job.end_item(); ++item) results.put(item, "");
}

}  // namespace weft
