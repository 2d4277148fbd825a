#include "io/ledger/assembly.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "io/files.h"

namespace weft {
namespace {

constexpr const char* kClaim = "assembly";
constexpr auto kSettleEvery = std::chrono::seconds(1);

OrderedJson line_of(std::size_t block, const AssembledTotals& t) {
  return {{"block", block},
          {"texts", t.texts},
          {"results", t.results},
          {"rejected", t.rejected},
          {"bytes", t.bytes},
          {"rejects_bytes", t.rejects_bytes},
          {"prompt_tokens", t.prompt_tokens},
          {"new_tokens", t.new_tokens}};
}

}  // namespace

Assembly::Assembly(Ledger& ledger, bool unordered)
    : ledger_(ledger),
      unordered_(unordered),
      n_blocks_(static_cast<std::int64_t>(ledger.input().n_blocks())),
      assembled_(ledger.input().n_blocks(), false) {}

Assembly::~Assembly() {
  if (!mine_) return;
  // Whoever writes on would write these blocks anew: nothing is lost where that fails.
  static_cast<void>(failure_of([&] {
    if (ledger_.is_there()) settle();
  }));
  ledger_.worker().give_back(kClaim);
}

// Reads what stands in OUT by those who wrote before.
void Assembly::look() {
  totals_ = {};
  std::fill(assembled_.begin(), assembled_.end(), false);
  const std::string journal = read_if_there(ledger_.places().assembled).value_or("");
  std::size_t whole = 0;
  for (std::size_t end; (end = journal.find('\n', whole)) != std::string::npos; whole = end + 1) {
    const auto json = try_parse_json(journal.substr(whole, end - whole));
    if (!json || !json->is_object()) break;
    const auto block = json->value("block", std::size_t{0});
    if (block >= assembled_.size() || assembled_[block]) break;
    assembled_[block] = true;
    ++totals_.blocks;
    totals_.texts = json->value("texts", std::int64_t{0});
    totals_.results = json->value("results", std::int64_t{0});
    totals_.rejected = json->value("rejected", std::int64_t{0});
    totals_.bytes = json->value("bytes", std::int64_t{0});
    totals_.rejects_bytes = json->value("rejects_bytes", std::int64_t{0});
    totals_.prompt_tokens = json->value("prompt_tokens", std::int64_t{0});
    totals_.new_tokens = json->value("new_tokens", std::int64_t{0});
  }
  if (mine_) {
    journal_.emplace(ledger_.places().assembled);
    journal_->truncate(static_cast<std::int64_t>(whole));
  }
  front_ = 0;
  streamed_ = 0;
  next_ = {0, 0};
}

// OUT as its journal knows it: what was written behind that is written again.
void Assembly::truncate() {
  out_->truncate(totals_.bytes);
  if (size_if_there(ledger_.places().rejects) >= 0) rejects().truncate(totals_.rejects_bytes);
  streamed_ = 0;
  next_ = {0, 0};
}

AppendedFile& Assembly::rejects() {
  if (!rejects_) rejects_.emplace(ledger_.places().rejects);
  return *rejects_;
}

bool Assembly::take() {
  if (mine_) {
    CHECK(ledger_.worker().holds(kClaim),
          "{}: another process took it for left and writes it now; nothing more is written here",
          ledger_.what());
    return true;
  }
  if (!ledger_.worker().claim(kClaim)) return false;
  mine_ = true;
  look();
  CHECK_MACHINE(size_if_there(ledger_.places().out) >= totals_.bytes,
                "{}: is shorter than what was written to it ({} bytes); remove it and {} to begin "
                "anew",
                ledger_.what(), totals_.bytes, ledger_.places().folder.string());
  out_.emplace(ledger_.places().out);
  truncate();
  return true;
}

void Assembly::append(std::size_t block) {
  const BlockRecords records = ledger_.records(block);
  const std::string lines = lines_of(records, RecordKind::result),
                    rejects = lines_of(records, RecordKind::reject);
  const std::int64_t begun = block == front_ && !unordered_ ? streamed_ : 0;
  out_->write(std::string_view(lines).substr(static_cast<std::size_t>(begun)));
  if (!rejects.empty()) this->rejects().write(rejects);
  for (const auto& [place, record] : records) totals_.add(record);
  totals_.texts += ledger_.input().n_texts(block);
  totals_.bytes += static_cast<std::int64_t>(lines.size());
  totals_.rejects_bytes += static_cast<std::int64_t>(rejects.size());
  ++totals_.blocks;
  assembled_[block] = true;
  unsettled_.push_back(block);
  unsettled_lines_ += json_text(line_of(block, totals_)) + "\n";
  streamed_ = 0;
  next_ = {0, 0};
}

// The disk has what the journal says before the journal says so, and the journal before what it
// stands for goes.
void Assembly::settle() {
  if (unsettled_.empty()) return;
  out_->sync();
  if (rejects_) rejects_->sync();
  journal_->write(unsettled_lines_);
  journal_->sync();
  for (const std::size_t block : unsettled_) ledger_.empty(block);
  unsettled_.clear();
  unsettled_lines_.clear();
}

// The results of the front block that follow what is written, as far as none is missing between.
void Assembly::stream(const Front& front) {
  std::string lines;
  const auto n_texts = static_cast<std::int64_t>(front.n_results->size());
  for (; next_.first < n_texts; next_ = {next_.first + 1, 0}) {
    const std::int64_t n = (*front.n_results)[static_cast<std::size_t>(next_.first)];
    for (; next_.second < n; ++next_.second) {
      const auto record = front.block->records.find(next_);
      if (record == front.block->records.end()) break;
      if (record->second.kind == RecordKind::result) lines += record->second.line + '\n';
    }
    if (n < 0 || next_.second < n) break;
  }
  if (lines.empty()) return;
  out_->write(lines);
  streamed_ += static_cast<std::int64_t>(lines.size());
}

bool Assembly::advance(const std::vector<Front>& open) {
  if (!take()) return false;
  const auto n = static_cast<std::size_t>(n_blocks_);
  for (; front_ < n && (assembled_[front_] || ledger_.is_done(front_)); ++front_)
    if (!assembled_[front_]) append(front_);
  for (std::size_t block = front_; unordered_ && block < n; ++block)
    if (!assembled_[block] && ledger_.is_done(block)) append(block);
  const auto now = std::chrono::steady_clock::now();
  if (now - settled_ > kSettleEvery || totals_.blocks == n_blocks_) {
    settle();
    settled_ = now;
  }
  for (const Front& front : open)
    if (!unordered_ && front.block->number == front_) stream(front);
  return true;
}

bool Assembly::has_results() {
  if (!mine_) look();
  AssembledTotals all = totals_;
  for (std::size_t block = 0; block < assembled_.size(); ++block) {
    if (assembled_[block]) continue;
    for (const auto& [place, record] : ledger_.records(block)) all.add(record);
  }
  return all.results > 0;
}

void Assembly::withdraw() {
  if (!mine_ || !ledger_.is_there()) return;
  const FolderLock lock(ledger_.places().folder, ledger_.what());
  mine_ = false;
  remove_file(ledger_.places().manifest);
  remove_tree(ledger_.places().folder);
}

AssembledTotals Assembly::write_rest() {
  if (!mine_) look();
  if (mine_ && take()) {
    settle();
    truncate();
  }
  AssembledTotals all = totals_;
  for (std::size_t block = 0; block < assembled_.size(); ++block) {
    if (assembled_[block]) continue;
    const BlockRecords records = ledger_.records(block);
    const std::string lines = lines_of(records, RecordKind::result),
                      rejects = lines_of(records, RecordKind::reject);
    for (const auto& [place, record] : records) all.add(record);
    if (!mine_) continue;
    out_->write(lines);
    if (!rejects.empty()) this->rejects().write(rejects);
  }
  if (mine_) out_->sync();
  return all;
}

void Assembly::finish(const std::string& job) {
  const JobPlaces& at = ledger_.places();
  CHECK(is_whole() && take(), "{}: is not whole", ledger_.what());
  const FileBytes bytes = bytes_of_file(at.out);
  CHECK_MACHINE(bytes.n == totals_.bytes, "{}: has {} bytes, but {} were written", ledger_.what(),
                bytes.n, totals_.bytes);
  const FolderLock lock(at.folder, ledger_.what(), {.wait_s = 600});  // nobody joins now
  OrderedJson manifest = ledger_.manifest();
  manifest.erase("input");
  manifest["job"] = job;
  manifest["texts"] = totals_.texts;
  manifest["results"] = totals_.results;
  manifest["rejected"] = totals_.rejected;
  manifest["prompt_tokens"] = totals_.prompt_tokens;
  manifest["new_tokens"] = totals_.new_tokens;
  manifest["out"] = {{"bytes", bytes.n}, {"checksum", bytes.checksum}};
  manifest["runs"] = OrderedJson::array();
  for (const std::string& run : texts_in_folder(at.runs))
    if (const auto json = try_parse_json(run)) manifest["runs"].push_back(OrderedJson(*json));
  if (totals_.results == 0) remove_file(at.out);
  write_file_atomically(at.done_manifest, json_text(manifest, 1) + "\n");
  remove_file(at.manifest);  // from here on the job is finished to everybody
  remove_tree(at.folder);
  mine_ = false;
  finished_ = true;
}

}  // namespace weft
