#include "cli/results.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "comm/agreement.h"
#include "core/check.h"
#include "io/json.h"

namespace weft {
namespace {

constexpr std::uint64_t kNoMore = ~std::uint64_t{0};
constexpr int kHeaderTag = 11, kTextTag = 12;

View bytes_of(void* data, std::size_t n) {
  return View(data, DType::u8, {static_cast<std::int64_t>(n)});
}

}  // namespace

ResultWriter::ResultWriter(const Session& session, const std::string& out, std::size_t n_items)
    : session_(session), items_(n_items), out_(out) {
  on_first_rank(session.grid.world(), stream_, [&] {
    std::error_code error;
    CHECK_USER(!std::filesystem::is_directory(out, error), "--out {}: is a folder, not a file",
               out);
    file_ = out.empty() ? stdout : std::fopen((out + ".tmp").c_str(), "w");
    CHECK_USER(file_, "--out {}: cannot be written ({})", out, std::strerror(errno));
  });
  find_sources();
}

ResultWriter::ResultWriter(const Session& session, Collect collect, std::size_t n_items)
    : session_(session), items_(n_items), collect_(std::move(collect)) {
  find_sources();
}

void ResultWriter::find_sources() {
  const GridShape& grid = session_.grid.shape();
  for (int d = 1; session_.first() && d < grid.dp; ++d)
    sources_.emplace_back().rank = d * grid.tp * grid.pp;
}

ResultWriter::~ResultWriter() {
  if (!file_ || file_ == stdout) return;
  std::fclose(file_);
  std::remove((out_ + ".tmp").c_str());
}

bool ResultWriter::mine() const { return session_.grid.replica().rank() == 0; }

void ResultWriter::put(std::size_t item, std::string text) {
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
  o.header = {item, text.size()};
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
      s.text.resize(s.header.size);
      s.transfer =
          world.start_recv(bytes_of(s.text.data(), s.text.size()), s.rank, kTextTag, stream_);
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
  if (collect_) return;
  const std::size_t before = printed_;
  while (printed_ < items_.size() && items_[printed_]) {
    std::string& text = *items_[printed_++];
    if (failure_.empty() && std::fwrite(text.data(), 1, text.size(), file_) != text.size())
      failure_ = std::strerror(errno);
    std::string().swap(text);
  }
  // The other ranks are at work: a full disk is said when all come together again.
  if (printed_ != before && failure_.empty() && std::fflush(file_) != 0)
    failure_ = std::strerror(errno);
}

void ResultWriter::finish() {
  if (mine() && !session_.first()) {
    send(kNoMore, "");
    for (Outgoing& o : outgoing_)
      for (auto& transfer : o.sends) transfer->wait();
  }
  for (Source& s : sources_) receive(s, true);
  on_first_rank(session_.grid.world(), stream_, [&] {
    if (collect_) {
      std::vector<std::string> all;
      for (std::optional<std::string>& item : items_) all.push_back(std::move(item.value()));
      return collect_(std::move(all));
    }
    flush();
    CHECK_MACHINE(failure_.empty(), "{} cannot be written ({})",
                  out_.empty() ? "stdout" : "--out " + out_, failure_);
    if (out_.empty()) return;
    const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
    CHECK_MACHINE(closed, "--out {} cannot be written ({})", out_, std::strerror(errno));
    put_in_place(out_ + ".tmp", out_);
  });
}

}  // namespace weft
