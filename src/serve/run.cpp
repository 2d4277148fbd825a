#include "serve/run.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/system/process.h"
#include "serve/prompt_reading.h"

namespace weft {
namespace {

constexpr double kIdle_s = 0.1;      // between two looks at signals and the time
constexpr double kGrace_s = 5;       // for what is under way when the server stops
constexpr double kBeforeEnd_s = 10;  // it stops so long before the walltime, or a twentieth of it
constexpr std::size_t kMostCopies = 1'000'000;  // prompts that are told apart

HttpError failed(const std::string& sentence) {
  return {.status = 500, .message = sentence, .type = "server_error"};
}

WorkEvent failure_event(HttpError error) {
  WorkEvent event;
  event.kind = WorkEvent::Kind::failed;
  event.error = std::move(error);
  return event;
}

HttpError stopping() {
  return {.status = 503,
          .message = "the server is stopping",
          .type = "service_unavailable_error",
          .code = "stopping"};
}

double seconds_of(const ServedWork& work) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - work.came).count();
}

}  // namespace

ServeRun::ServeRun(const Context& ctx, const ServedModel& model, const Parameters& parameters,
                   const EngineLimits& limits, const Deadline& deadline, ServeRoom room,
                   const EngineWatch& watch)
    : ctx_(ctx),
      model_(model),
      parameters_(parameters),
      limits_(limits),
      deadline_(deadline),
      room_(room),
      statistics_(watch.statistics ? watch.statistics : &own_statistics_),
      wire_(ctx.grid.world(), ctx.stream),
      engine_(ctx, model.config, parameters, &model.tokenizer, limits,
              {statistics_, watch.after_pass}) {}

ServeRun::~ServeRun() {
  for (const WorkPtr& w : room_.queue.close()) w->give(failure_event(stopping()));
  fail_all(stopping());
}

Failure ServeRun::run() {
  const InferenceShape shape = engine_.serving_shape();
  for (;;) {
    next_number_ = 0;
    const std::optional<Failure> failure = engine_.serve(
        shape, [&](bool idle) { return next(idle); },
        [&](std::size_t r, std::int64_t, const Completion& c) { note_done(r, c); },
        [&](std::size_t r, const ChosenToken& token) { note_token(r, token); });
    // One request's logits that are not finite end the pass of all: they are told, others served.
    if (!failure) break;
    if (failure->kind != FailureKind::program) rethrow(*failure);
    if (ctx_.grid.world().rank() == 0) log_warning("requests failed: {}", failure->text);
    fail_all(failed(failure->text));
  }
  wire_.close();
  return stopped_.value_or(Failure{FailureKind::interrupted, "stopped"});
}

EngineOrders ServeRun::next(bool idle) {
  const bool first = ctx_.grid.world().rank() == 0;
  if (first) gauge();
  const ServeOrders orders = wire_.share(first ? compose(idle) : ServeOrders(), idle);
  EngineOrders told;
  told.drop = orders.drop;
  told.end = orders.end;
  for (std::size_t i = 0; i < orders.begin.size(); ++i)
    add_requests(orders.begin[i], first ? beginning_[i] : nullptr, told);
  beginning_.clear();
  return told;
}

void ServeRun::gauge() {
  const GenerationCounts& c = statistics_->counts;
  const std::int64_t rows = c.cache_rows - counted_.cache_rows;
  const double used = static_cast<double>(c.cached - counted_.cached);
  room_.metrics.engine({.passes = c.passes,
                        .running = static_cast<std::int64_t>(asked_.size()),
                        .cache_use = rows > 0 ? used / static_cast<double>(rows) : 0});
  counted_ = c;
}

// Rank 0's. While nothing is under way it waits here until there is something to say.
ServeOrders ServeRun::compose(bool idle) {
  ServeOrders orders;
  for (;;) {
    orders.end = stop_now();
    drop_left(orders);
    if (!orders.end) begin_all(orders);
    if (!idle || !orders.empty()) return orders;
    room_.queue.wait(kIdle_s);
  }
}

bool ServeRun::stop_now() {
  const double now = process_elapsed_s();
  if (!stopped_) {
    const double margin = std::min(kBeforeEnd_s, 0.05 * deadline_.total_s());
    if (wire_.stop_asked())
      stopped_ = Failure{FailureKind::interrupted, "stopped by a signal"};
    else if (deadline_.is_known() && deadline_.left_s() <= margin)
      stopped_ = Failure{
          FailureKind::interrupted,
          fmt::format("stopped by the walltime, {} before its end ({})",
                      duration_text(std::max(0.0, deadline_.left_s())), deadline_.source())};
    if (!stopped_) return false;
    stop_at_s_ = now + std::min(kGrace_s, std::max(0.0, 0.5 * deadline_.left_s()));
    for (const WorkPtr& w : room_.queue.close()) w->give(failure_event(stopping()));
    if (!asked_.empty()) log_info("stopping: {} continuations are under way", asked_.size());
  }
  if (!asked_.empty() && now < stop_at_s_) return false;
  fail_all(stopping());
  return true;
}

// As many as there is room for in a pass; what is read beside the engine one at a time, so that
// those who write do not wait for more.
void ServeRun::begin_all(ServeOrders& orders) {
  std::int64_t under_way = static_cast<std::int64_t>(asked_.size());
  for (bool reads = false; !reads;) {
    WorkPtr work = room_.queue.take(under_way < limits_.max_batch);
    if (!work) return;
    room_.metrics.began(seconds_of(*work));
    const ServedRequest& r = work->request;
    reads = r.reads_prompts();
    if (r.generates) under_way += static_cast<std::int64_t>(r.n_choices());
    orders.begin.push_back(begun(*work));
    beginning_.push_back(std::move(work));
  }
}

void ServeRun::drop_left(ServeOrders& orders) {
  std::erase_if(asked_, [&](const auto& entry) {
    if (!entry.second.work->left()) return false;
    orders.drop.push_back(entry.first);
    return true;
  });
}

// A prompt that comes again gets another draw, unless its client chose the seed.
BegunRequest ServeRun::begun(const ServedWork& work) {
  const ServedRequest& r = work.request;
  BegunRequest b = {.route = static_cast<int>(r.route), .body = work.body, .ids = {}, .copies = {}};
  std::unordered_map<std::uint64_t, std::int64_t> own;
  if (copies_.size() > kMostCopies) copies_.clear();
  for (const ServedPrompt& p : r.prompts) {
    std::int64_t& copies = (r.seeded ? own : copies_)[draw_stream(p.ids, 0)];
    b.ids.push_back(p.ids);
    b.copies.push_back(copies);
    if (r.generates) copies += r.n;
  }
  return b;
}

// On every rank; `work` is rank 0's.
void ServeRun::add_requests(const BegunRequest& b, const WorkPtr& work, EngineOrders& orders) {
  const auto route = static_cast<ServedRoute>(b.route);
  const ServedRequest read = work ? ServedRequest() : read_request(route, b.body, model_, &b.ids);
  const ServedRequest& r = work ? work->request : read;
  if (r.reads_prompts()) read_prompts(r, work);
  if (!r.generates) return;
  if (work && !warned_ && r.options[0].greedy_by_temperature) {
    warned_ = true;
    log_warning("a request has a temperature of 0, which is greedy: nothing is drawn for it");
  }
  for (std::size_t p = 0; p < r.prompts.size(); ++p)
    for (std::int64_t s = 0; s < r.n; ++s) {
      orders.begin.push_back({.ids = b.ids[p],
                              .options = r.options[p],
                              .stream = draw_stream(b.ids[p], b.copies[p] + s),
                              .name = fmt::format("prompt {}", p),
                              .n_likely = std::max<std::int64_t>(r.n_logprobs, 0)});
      if (work)
        asked_[next_number_] = {
            .work = work,
            .choice = p * static_cast<std::size_t>(r.n) + static_cast<std::size_t>(s)};
      ++next_number_;
    }
}

// On every rank, beside the engine.
void ServeRun::read_prompts(const ServedRequest& r, const WorkPtr& work) {
  const auto failure = read_prompts_of(r, {ctx_, model_.config, parameters_}, [&](WorkEvent event) {
    if (work) work->give(std::move(event));
  });
  if (work && failure) work->give(failure_event(failed(failure->text)));
}

void ServeRun::fail_all(const HttpError& error) {
  for (auto& [number, asked] : asked_) asked.work->give(failure_event(error));
  asked_.clear();
}

void ServeRun::note_token(std::size_t number, const ChosenToken& token) {
  const auto found = asked_.find(number);
  if (found == asked_.end()) return;
  WorkEvent event;
  event.kind = WorkEvent::Kind::token;
  event.index = found->second.choice;
  event.token.id = token.id;
  event.token.logprob = token.logprob;
  for (const LikelyToken& t : token.likely) event.token.top.emplace_back(t.id, t.logprob);
  if (!std::exchange(found->second.writes, true))
    room_.metrics.first_token(seconds_of(*found->second.work));
  found->second.work->give(std::move(event));
}

void ServeRun::note_done(std::size_t number, const Completion& c) {
  const auto found = asked_.find(number);
  if (found == asked_.end()) return;
  WorkEvent event;
  event.kind = WorkEvent::Kind::done;
  event.index = found->second.choice;
  event.finish = c.finish;
  if (!c.error.empty()) event = failure_event({.status = 400, .message = c.error});
  found->second.work->give(std::move(event));
  asked_.erase(found);
}

}  // namespace weft
