#include "train/pending_steps.h"

#include "comm/grid_span.h"

namespace weft {

void PendingSteps::start_clock() {
  ctx_.clock->start();
  sent_before_ = sent_bytes(ctx_.grid);
}

void PendingSteps::begin(const SampleSource& source, std::int64_t cursor, std::int64_t step) {
  if (begun_.empty()) start_clock();
  check_.before(step);
  step_.begin(source, cursor, step);
  begun_.push_back({step, cursor});
}

FinishedStep PendingSteps::finish(bool flag) {
  CHECK(!begun_.empty(), "no step is under way");
  FinishedStep done;
  StepReport& report = done.report;
  report.step = begun_.front().step;
  done.cursor = begun_.front().cursor;
  begun_.pop_front();
  report.lr = settings_.optimizer.lr.at(report.step);
  report.result = step_.result();
  done.warning = check_.after(report.step, report.result);
  const RankSpan mine = {.seconds = ctx_.clock->stop(),
                         .sent_bytes = sent_bytes(ctx_.grid) - sent_before_,
                         .flag = flag};
  if (!begun_.empty()) start_clock();
  const GridSpan span = over_ranks(ctx_.grid.world(), mine, ctx_.stream);
  report.shares = span.shares;
  report.seconds = span.seconds;
  report.comm_bytes = span.sent_bytes;
  done.flags = span.flags;
  return done;
}

}  // namespace weft
