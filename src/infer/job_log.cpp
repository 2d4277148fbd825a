#include "infer/job_log.h"

#include <algorithm>

#include "comm/agreement.h"
#include "core/system/process.h"

namespace weft {
namespace {

OrderedJson quantiles(const TimeHistogram& times) {
  return {
      {"p50", times.quantile(0.5)}, {"p95", times.quantile(0.95)}, {"p99", times.quantile(0.99)}};
}

OrderedJson json_of(const JobWork& work) {
  return {{"items", work.items},
          {"prompt_tokens", work.prompt_tokens},
          {"new_tokens", work.new_tokens}};
}

}  // namespace

JobLog::JobLog(const Context& ctx, ShareClock& clock, const std::filesystem::path& file,
               const OrderedJson& start)
    : ctx_(&ctx), clock_(&clock) {
  on_first_rank(ctx.grid.world(), ctx.stream, [&] {
    log_ = RunLog(file);
    OrderedJson line = {{"event", "start"}};
    line.update(start);
    log_.write(line);
  });
}

EngineWatch JobLog::watch_engine() {
  if (!on()) return {};
  statistics_.emplace();
  reads_.emplace(ctx_->grid, ctx_->stream);
  return {.statistics = &*statistics_, .after_pass = [this](double elapsed_s) {
            const auto timed = time_as(*ctx_, TimeShare::other);
            reads_->after_pass(elapsed_s);
          }};
}

void JobLog::begin() {
  if (!on()) return;
  ctx_->grid.world().barrier();
  sent_before_ = sent_bytes(ctx_->grid);
  begun_s_ = said_s_ = process_elapsed_s();
  clock_->start();
}

void JobLog::progress(const JobWork& work) {
  if (!on() || ctx_->grid.world().rank() != 0) return;
  const double now = process_elapsed_s();
  if (now - said_s_ < std::max(1.0, 0.01 * (now - begun_s_))) return;
  said_s_ = now;
  OrderedJson line = {{"event", "progress"}, {"elapsed_s", now}};
  line.update(json_of(work));
  log_.write(line);
}

void JobLog::stop() {
  if (!on()) return;
  const Grid& grid = ctx_->grid;
  {
    const auto timed = time_as(*ctx_, TimeShare::bubble);
    grid.world().barrier();
  }
  const RankSpan mine = {.seconds = clock_->stop(), .sent_bytes = sent_bytes(grid) - sent_before_};
  span_ = over_ranks(grid.world(), mine, ctx_->stream);
  if (statistics_) statistics_ = over_replicas(grid, std::move(*statistics_), ctx_->stream);
  if (reads_) reads_->sample();
}

void JobLog::end(const std::string& reason, const JobWork& work) {
  if (!on() || ctx_->grid.world().rank() != 0) return;
  const double seconds = std::max(span_.seconds, 1e-9);
  const auto rate = [&](std::int64_t n) { return static_cast<double>(n) / seconds; };
  OrderedJson line = {{"event", "end"}, {"reason", reason}, {"elapsed_s", process_elapsed_s()}};
  line.update(json_of(work));
  line["job_s"] = span_.seconds;
  line["prompt_tokens_per_s"] = rate(work.prompt_tokens);
  line["new_tokens_per_s"] = rate(work.new_tokens);
  line["tokens_per_s"] = rate(work.prompt_tokens + work.new_tokens);
  if (statistics_) {
    const GenerationCounts& c = statistics_->counts;
    line["ttft_s"] = quantiles(statistics_->first_token);
    line["queue_s"] = quantiles(statistics_->queue);
    line["inter_token_s"] = quantiles(statistics_->inter_token);
    line["passes"] = c.passes;
    line["rows"] = c.rows;
    line["graph_launches"] = c.graph_launches;
    line["batch_occupancy"] = statistics_->occupancy();
    line["cache_use"] = statistics_->cache_use();
    line["cache_shared"] = statistics_->cache_shared();
    line["most_pages"] = c.most_pages;
    line["shared_tokens"] = c.shared_tokens;
    line["preemptions"] = c.preemptions;
    const double streamed = rate(c.streamed_bytes);
    line["streamed_bytes"] = c.streamed_bytes;
    line["streamed_bytes_per_s"] = streamed;
    line["peak_share"] = reads_->share(streamed);
    line["read_peak_bytes_per_s"] = reads_->bytes_per_s();
  }
  for (std::size_t i = 0; i < kTimeShares; ++i)
    line["shares"][std::string(kTimeShareNames[i])] = span_.shares[i];
  line["comm_share"] = line["shares"]["comm"];
  line["comm_bytes"] = span_.sent_bytes;
  log_.write(line);
  log_.finish();
}

}  // namespace weft
