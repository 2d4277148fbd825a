#include "cli/results.h"

#include <utility>

#include "comm/agreement.h"
#include "core/check.h"

namespace weft {
namespace {

constexpr std::uint64_t kNoMore = ~std::uint64_t{0};
constexpr int kHeaderTag = 11, kTextTag = 12;

View bytes_of(void* data, std::size_t n) {
  return View(data, DType::u8, {static_cast<std::int64_t>(n)});
}

}  // namespace

std::string end_reason(const Failure& failure) {
  if (failure.kind != FailureKind::interrupted) return "failed";
  return failure.text.starts_with("stopped by the walltime") ? "walltime" : "signal";
}

ResultWriter::ResultWriter(const Session& session, const std::string& out, std::size_t n_items)
    : session_(session), items_(n_items) {
  on_first_rank(session.grid.world(), stream_, [&] { file_.emplace(out); });
  write_ = [this](std::size_t, const std::string& text) { file_->write(text); };
  find_sources();
}

ResultWriter::ResultWriter(const Session& session, Write write, std::size_t n_items)
    : session_(session), items_(n_items), write_(std::move(write)) {
  find_sources();
}

void ResultWriter::find_sources() {
  const GridShape& grid = session_.grid.shape();
  for (int d = 1; session_.first() && d < grid.dp; ++d)
    sources_.emplace_back().rank = d * grid.tp * grid.pp;
}

bool ResultWriter::mine() const { return session_.grid.replica().rank() == 0; }

void ResultWriter::put(std::size_t item, std::string text, const JobWork& done) {
  work_.add(done);
  if (!text.empty()) ++work_.items;
  if (!session_.first()) return send(item, std::move(text));
  items_[item] = std::move(text);
  for (Source& s : sources_) receive(s, false);
  flush();
}

void ResultWriter::send(std::uint64_t item, std::string text) {
  while (!outgoing_.empty() && outgoing_.front().sends[0]->test() &&
         outgoing_.front().sends[1]->test())
    outgoing_.pop_front();
  Outgoing& o = outgoing_.emplace_back();
  o.header = {item, text.size(), work_};
  o.text = std::move(text);
  o.sends[0] = session_.grid.world().start_send(bytes_of(&o.header, sizeof o.header), 0, kHeaderTag,
                                                stream_);
  o.sends[1] = session_.grid.world().start_send(bytes_of(o.text.data(), o.text.size()), 0, kTextTag,
                                                stream_);
}

// Takes what has arrived; with `wait`, everything up to the end.
void ResultWriter::receive(Source& s, bool wait) {
  Communicator& world = session_.grid.world();
  while (!s.ended) {
    if (!s.transfer)
      s.transfer =
          world.start_recv(bytes_of(&s.header, sizeof s.header), s.rank, kHeaderTag, stream_);
    if (wait)
      s.transfer->wait();
    else if (!s.transfer->test())
      return;
    if (!s.has_header) {
      s.has_header = true;
      s.work = s.header.work;
      s.text.resize(s.header.size);
      s.transfer =
          world.start_recv(bytes_of(s.text.data(), s.text.size()), s.rank, kTextTag, stream_);
      continue;
    }
    s.ended = s.header.item == kNoMore;
    if (!s.ended) items_[s.header.item] = std::move(s.text);
    s.has_header = false;
    s.transfer.reset();
    if (wait) flush_quietly();
  }
}

JobWork ResultWriter::work() const {
  JobWork all = work_;
  for (const Source& s : sources_) all.add(s.work);
  return all;
}

void ResultWriter::flush() {
  while (printed_ < items_.size() && items_[printed_]) {
    write_(printed_, *items_[printed_]);
    n_done_ += !items_[printed_]->empty();
    std::string().swap(*items_[printed_++]);
  }
}

void ResultWriter::flush_rest() {
  for (std::size_t i = printed_; file_ && i < items_.size(); ++i) {
    if (!items_[i]) continue;
    write_(i, *items_[i]);
    n_done_ += !items_[i]->empty();
  }
}

// The others wait until their results are taken: they are, and the failure is said when all have
// come together.
void ResultWriter::flush_quietly() {
  if (!failure_) failure_ = failure_of([&] { flush(); });
}

std::optional<Failure> ResultWriter::finish(const std::optional<Failure>& ended, JobLog& log) {
  log.stop();
  auto failure = failure_of([&] { take_all(ended); });
  log.end(failure ? end_reason(*failure) : "done", work());
  return failure;
}

void ResultWriter::take_all(const std::optional<Failure>& ended) {
  if (mine() && !session_.first()) {
    send(kNoMore, "");
    for (Outgoing& o : outgoing_)
      for (auto& transfer : o.sends) transfer->wait();
  }
  for (Source& s : sources_) receive(s, true);
  if (session_.first()) flush_quietly();
  Communicator& world = session_.grid.world();
  std::optional<Failure> mine = failure_ ? failure_ : ended;
  const bool interrupted = mine && mine->kind == FailureKind::interrupted;
  const auto worst = world.all_reduce_value<std::int32_t>(!mine         ? 0
                                                          : interrupted ? 1
                                                                        : 2,
                                                          ReduceOp::max, stream_);
  if (worst == 1 && session_.first()) failure_ = failure_of([&] { flush_rest(); });
  if (session_.first() && file_ && !failure_) failure_ = failure_of([&] { file_->close(); });
  if (failure_) mine = failure_;
  if (worst == 1) {
    const std::int64_t done = world.all_reduce_value(n_done_, ReduceOp::max, stream_);
    if (interrupted && !failure_)
      mine->text += fmt::format(
          ": {} of {} results are done and written; the same command makes all of them anew", done,
          items_.size());
  } else if (interrupted) {
    mine.reset();  // what failed elsewhere is the reason
  }
  throw_together(world, mine, stream_);
}

}  // namespace weft
