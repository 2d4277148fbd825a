#include "cli/generation/generation_job.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "cli/served_model.h"
#include "core/check.h"
#include "core/log.h"
#include "infer/continuation.h"
#include "infer/likely.h"
#include "infer/text_pass.h"

namespace weft {
namespace {

constexpr std::int64_t kMostPrompts = 8;  // of the first blocks
// Prompts that are ready when a place of the batch becomes free: few, so that what a slow replica
// has claimed keeps nobody waiting in the end.
constexpr std::size_t kReady = 8;

std::int64_t length_of(const GenerationRequest& r) {
  return static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
}

}  // namespace

GenerationJob::GenerationJob(const GenerateOptions& o, Session& session, TextJob& job)
    : options_(o),
      session_(session),
      job_(job),
      maker_(o, session, session.grid.replica().rank() == 0) {
  limits_.weights = session.options.held_dtype();
  limits_.kv = session.cache_dtype(o.kv_cache_dtype);
  if (!o.reads_openai()) return;
  served_.emplace(served_model(session, session.options.model));
  served_->any_name = true;
}

// What a document asks for and has no result yet.
void GenerationJob::take_document(const std::shared_ptr<JobBlock>& block, std::size_t d) {
  if (block->is_rejected(d)) return;
  const auto mistake = failure_of([&] {
    std::vector<Asked> asked = served_ ? asked_of_line(block, d) : asked_of(block, d);
    std::move(asked.begin(), asked.end(), std::back_inserter(waiting_));
  });
  if (mistake && mistake->kind != FailureKind::user) rethrow(*mistake);
  if (mistake) job_.reject(*block, d, mistake->text);
}

std::vector<GenerationJob::Asked> GenerationJob::asked_of(const std::shared_ptr<JobBlock>& block,
                                                          std::size_t d) {
  maker_.add(block->documents()[d]);
  std::vector<Asked> asked;
  std::vector<Job> jobs = maker_.take();
  job_.expect(*block, d, jobs.front().request.options.num_return_sequences);
  for (Job& job : jobs) {
    bool whole = true;
    for (std::int64_t s = 0; s < job.n_results(); ++s)
      whole = whole && block->has(d, job.first_sample + s);
    if (!whole) asked.push_back({block, d, std::move(job)});
  }
  return asked;
}

std::vector<GenerationJob::Asked> GenerationJob::asked_of_line(
    const std::shared_ptr<JobBlock>& block, std::size_t d) {
  const Document& document = block->documents()[d];
  const auto line = std::make_shared<OpenAiLine>(
      document, *served_, fmt::format("{}: line {}", options_.texts.in, document.line));
  job_.expect(*block, d, 1);
  if (block->has(d, 0)) return {};
  std::vector<Asked> asked;
  if (!line->reads_prompts()) asked = asked_of_line({block, d, line});
  if (asked.empty()) unread_.push_back({block, d, line});
  return asked;
}

std::vector<GenerationJob::Asked> GenerationJob::asked_of_line(const Line& l) {
  std::vector<Asked> asked;
  for (GenerationRequest& request : l.line->requests()) {
    Job job = {.request = std::move(request),
               .document = &l.block->documents()[l.document],
               .first_sample = 0};
    asked.push_back({l.block, l.document, std::move(job), l.line, asked.size()});
  }
  return asked;
}

// What lines ask about their prompts; what else they ask for then waits. Whether there were any.
bool GenerationJob::read_lines() {
  const bool any = !unread_.empty();
  for (; !unread_.empty(); unread_.pop_front()) {
    const Line& l = unread_.front();
    const auto failure =
        l.line->read_prompts({session_.ctx, session_.config, *session_.parameters});
    if (failure && failure->kind != FailureKind::user) rethrow(*failure);
    if (failure) {
      job_.reject(*l.block, l.document, failure->text);
      continue;
    }
    std::vector<Asked> asked = asked_of_line(l);
    if (asked.empty()) {
      put_line(l);
      if (session_.grid.replica().rank() == 0) log_->progress(job_.work());
    }
    std::move(asked.begin(), asked.end(), std::back_inserter(waiting_));
  }
  return any;
}

// Whether a block was there to take.
bool GenerationJob::take_block(bool wait) {
  const std::shared_ptr<JobBlock> block = job_.next(wait);
  none_left_ = !block;
  for (std::size_t d = 0; block && d < block->documents().size(); ++d) take_document(block, d);
  return block != nullptr;
}

bool GenerationJob::begin() {
  while (waiting_.empty() && unread_.empty() && take_block(false)) {
  }
  return !waiting_.empty() || !unread_.empty();
}

// A prompt that memory cannot hold costs no other: the largest go until the others fit.
void GenerationJob::reject_unfitting() {
  while (!waiting_.empty()) {
    std::vector<GenerationRequest> requests;
    for (const Asked& a : waiting_) requests.push_back(a.job.request);
    const auto failure =
        failure_of([&] { plan_inference(session_.ctx, session_.config, requests, limits_); });
    if (!failure) return;
    if (failure->kind != FailureKind::user) rethrow(*failure);
    reject_largest(failure->text);
  }
}

void GenerationJob::reject_largest(const std::string& why) {
  const auto size_of = [](const Asked& a) {
    return length_of(a.job.request) * lanes_of(a.job.request);
  };
  std::int64_t largest = 0;
  for (const Asked& a : waiting_) largest = std::max(largest, size_of(a));
  std::deque<Asked> left;
  for (Asked& a : waiting_) {
    if (size_of(a) < largest)
      left.push_back(std::move(a));
    else
      job_.reject(*a.block, a.document, fmt::format("{}: {}", a.job.request.name, why));
  }
  waiting_ = std::move(left);
}

// For the prompts that wait, with room for others that are somewhat longer; nothing where none is
// left that fits.
std::optional<InferenceShape> GenerationJob::plan() {
  reject_unfitting();
  if (waiting_.empty()) return std::nullopt;
  std::vector<GenerationRequest> requests, longer;
  std::int64_t longest = 1;
  for (const Asked& a : waiting_) longest = std::max(longest, length_of(a.job.request));
  const auto most = std::min<std::int64_t>(
      session_.config.context,
      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(longest))));
  for (const Asked& a : waiting_) {
    requests.push_back(a.job.request);
    GenerationRequest& r = longer.emplace_back(a.job.request);
    const std::int64_t n = length_of(r);
    r.options.max_new_tokens +=
        std::max<std::int64_t>(n == longest ? most - n : std::min(most, 2 * n) - n, 0);
  }
  InferenceShape shape = plan_inference(session_.ctx, session_.config, requests, limits_);
  if (job_.is_alone() && none_left_) return shape;
  const auto failure = failure_of([&] {
    const InferenceShape roomy = plan_inference(session_.ctx, session_.config, longer, limits_);
    if (roomy.slots >= shape.slots) shape = roomy;
  });
  if (failure && failure->kind != FailureKind::user) rethrow(*failure);
  return shape;
}

// What the run takes beside the weights.
void GenerationJob::say_shape(const InferenceShape& shape) const {
  if (!session_.first() || job_.n_texts() <= shape.slots) return;
  log_info("{}", shape_sentence(session_, shape));
}

EngineOrders GenerationJob::feed(const InferenceShape& shape, bool idle) {
  EngineOrders orders;
  const std::size_t wanted = static_cast<std::size_t>(shape.slots) + kReady;
  while (running_.size() + waiting_.size() < wanted) {
    const bool nothing = running_.empty() && waiting_.empty();
    // What others have may come back to this replica: once nothing else is left to do.
    if ((none_left_ && !nothing) || !take_block(nothing)) break;
    if (read_lines() && !running_.empty()) break;  // those who write wait for no more
  }
  while (!waiting_.empty() && running_.size() < wanted &&
         fits(session_.config, shape, waiting_.front().job.request)) {
    orders.begin.push_back(waiting_.front().job.request);
    running_.emplace(n_fed_++, std::move(waiting_.front()));
    waiting_.pop_front();
  }
  orders.end = idle && orders.begin.empty();
  return orders;
}

void GenerationJob::take_completion(std::size_t request, std::int64_t sample, const Completion& c) {
  const auto timed = time_as(session_.ctx, TimeShare::data);
  const auto found = running_.find(request);
  if (found == running_.end()) return;  // of a search without results, all but the first
  const Asked& asked = found->second;
  const bool rejects = !c.error.empty() && (asked.line || asked.job.first_sample + sample == 0);
  if (rejects)
    job_.reject(*asked.block, asked.document, c.error);
  else if (asked.line)
    put_line(asked, c);
  else
    put(asked, sample, c);
  if (session_.grid.replica().rank() == 0) log_->progress(job_.work());
  if (rejects || sample + 1 == asked.job.n_results()) running_.erase(found);
}

void GenerationJob::put(const Asked& asked, std::int64_t sample, const Completion& c) {
  const Job& job = asked.job;
  const bool leads = session_.grid.replica().rank() == 0;
  std::string line;
  JobWork work;
  if (!c.error.empty() && leads) log_warning("{}", c.error);
  if (c.error.empty()) {
    work.prompt_tokens = sample == 0 ? static_cast<std::int64_t>(job.request.ids.size()) : 0;
    work.new_tokens = static_cast<std::int64_t>(c.ids.size());
    if (leads)
      line = completion_line(job, sample, c,
                             continuation_text(session_.need_tokenizer(), job.request.ids, c.ids),
                             options_.keep_fields);
  }
  job_.put(*asked.block, asked.document, job.first_sample + sample, line, work);
}

void GenerationJob::put_line(const Asked& asked, const Completion& c) {
  if (asked.line->take_end(asked.choice, c)) put_line({asked.block, asked.document, asked.line});
}

void GenerationJob::put_line(const Line& l) {
  const AnswerUsage usage = l.line->usage();
  const bool leads = session_.grid.replica().rank() == 0;
  job_.put(*l.block, l.document, 0, leads ? l.line->answer() : "",
           {.prompt_tokens = usage.prompt_tokens, .new_tokens = usage.completion_tokens});
}

std::optional<Failure> GenerationJob::run(std::int64_t memory_bytes, JobLog& log) {
  limits_.memory_bytes = memory_bytes;
  if (served_)  // any line may ask about its prompts
    limits_.memory_bytes =
        std::max<std::int64_t>(memory_bytes - static_cast<std::int64_t>(score_with_likely_bytes(
                                                  session_.ctx, session_.config, limits_.weights)),
                               1);
  log_ = &log;
  const EngineWatch watch = log.watch_engine();
  Engine engine(session_.ctx, session_.config, *session_.parameters, &session_.need_tokenizer(),
                limits_, watch);
  log.begin();
  std::optional<Failure> ended;
  const auto thrown = caught_together([&] {
    while (!ended) {
      const auto wanted = static_cast<std::size_t>(limits_.max_batch) + kReady;
      while (waiting_.size() + unread_.size() < wanted &&
             take_block(waiting_.empty() && unread_.empty())) {
      }
      read_lines();
      const auto shape = plan();
      if (!shape && none_left_) return;
      if (!shape) continue;
      if (!std::exchange(said_, true)) say_shape(*shape);
      n_fed_ = 0;
      ended = engine.serve(
          *shape, [&](bool idle) { return feed(*shape, idle); },
          [&](std::size_t r, std::int64_t s, const Completion& c) { take_completion(r, s, c); },
          [&](std::size_t r, const ChosenToken& token) {
            const Asked& asked = running_.at(r);
            if (asked.line) asked.line->take_token(asked.choice, token);
          });
    }
  });
  return ended ? ended : thrown;
}

void generate_as_job(const Invocation& invocation, const GenerateOptions& o, Session& session,
                     const VisitFields& fields) {
  session.need_tokenizer();
  TextJobRules rules;
  rules.wants = wants_of(o, session);
  rules.most = kMostPrompts;
  rules.least = 1;
  rules.unordered = o.unordered;
  if (o.reads_openai()) rules.reading = openai_lines;
  TextJob job(session, invocation, "generate", fields, o.texts, rules);
  session.watch_time(true);
  JobLog log =
      session.open_log(invocation, "generate", fields, static_cast<std::size_t>(job.n_results()));
  GenerationJob generation(o, session, job);
  const std::int64_t any = session.grid.world().all_reduce_value<std::int64_t>(
      generation.begin(), ReduceOp::max, session.stream);
  std::optional<Failure> ended;
  if (any != 0) {
    session.load_weights();
    ended = generation.run(session.free_memory_bytes(), log);
  } else {
    log.begin();
  }
  job.finish(ended, log);
}

}  // namespace weft
