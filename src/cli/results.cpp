#include "cli/results.h"

#include <cstring>

#include "comm/agreement.h"
#include "core/check.h"

namespace weft {
namespace {

constexpr std::uint64_t kNoMore = ~std::uint64_t{0};
constexpr int kHeaderTag = 11, kTextTag = 12;

View bytes_of(void* data, std::size_t n) { return View(data, DType::u8, {static_cast<std::int64_t>(n)}); }

}  // namespace

ResultWriter::ResultWriter(const Session& session, const std::string& out, std::size_t n_items) : session_(session), items_(n_items) {
  on_first_rank(session.grid.world(), stream_, [&] {
    file_ = out.empty() ? stdout : std::fopen(out.c_str(), "w");
    CHECK_USER(file_, "--out {}: cannot be written ({})", out, std::strerror(errno));
  });
  const GridShape& grid = session.grid.shape();
  for (int d = 1; session.first() && d < grid.dp; ++d) sources_.emplace_back().rank = d * grid.tp * grid.pp;
}

ResultWriter::~ResultWriter() {
  if (file_ && file_ != stdout) std::fclose(file_);
}

bool ResultWriter::mine() const { return session_.grid.replica().rank() == 0; }

void ResultWriter::put(std::size_t item, std::string text) {
  if (!session_.first()) return send(item, std::move(text));
  items_[item] = std::move(text);
  for (Source& s : sources_) receive(s, false);
  flush();
}

void ResultWriter::send(std::uint64_t item, std::string text) {
  while (!outgoing_.empty() && outgoing_.front().sends[0]->test() && outgoing_.front().sends[1]->test()) outgoing_.pop_front();
  Outgoing& o = outgoing_.emplace_back();
  o.header = {item, text.size()};
  o.text = std::move(text);
  o.sends[0] = session_.grid.world().start_send(bytes_of(&o.header, sizeof o.header), 0, kHeaderTag, stream_);
  o.sends[1] = session_.grid.world().start_send(bytes_of(o.text.data(), o.text.size()), 0, kTextTag, stream_);
}

// Takes what has arrived; with `wait`, everything up to the end.
void ResultWriter::receive(Source& s, bool wait) {
  Communicator& world = session_.grid.world();
  while (!s.ended) {
    if (!s.transfer) s.transfer = world.start_recv(bytes_of(&s.header, sizeof s.header), s.rank, kHeaderTag, stream_);
    if (wait) s.transfer->wait();
    else if (!s.transfer->test()) return;
    if (!s.has_header) {
      s.has_header = true;
      s.text.resize(s.header.size);
      s.transfer = world.start_recv(bytes_of(s.text.data(), s.text.size()), s.rank, kTextTag, stream_);
      continue;
    }
    s.ended = s.header.item == kNoMore;
    if (!s.ended) items_[s.header.item] = std::move(s.text);
    s.has_header = false;
    s.transfer.reset();
    if (wait) flush();
  }
}

void ResultWriter::flush() {
  const std::size_t before = printed_;
  while (printed_ < items_.size() && items_[printed_]) {
    std::string& text = *items_[printed_++];
    CHECK_USER(std::fwrite(text.data(), 1, text.size(), file_) == text.size(), "the results cannot be written ({})", std::strerror(errno));
    std::string().swap(text);
  }
  if (printed_ != before) CHECK_USER(std::fflush(file_) == 0, "the results cannot be written ({})", std::strerror(errno));
}

void ResultWriter::finish() {
  if (mine() && !session_.first()) {
    send(kNoMore, "");
    for (Outgoing& o : outgoing_)
      for (auto& transfer : o.sends) transfer->wait();
  }
  for (Source& s : sources_) receive(s, true);
  if (session_.first()) flush();
}

}  // namespace weft
