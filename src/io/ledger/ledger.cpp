#include "io/ledger/ledger.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "io/files.h"
#include "io/result_file.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

std::string claim_name(std::size_t block) { return fmt::format("{:08}", block); }

bool file_is_there(const fs::path& file) { return size_if_there(file) >= 0; }

OrderedJson read_manifest(const fs::path& file, const std::string& what) {
  const auto text = read_if_there(file);
  CHECK_MACHINE(text, "{}: {} is gone; another process has ended or removed the job", what,
                file.string());
  const auto json = try_parse_json(*text);
  CHECK_USER(json && json->is_object(), "{}: is damaged; remove {} to begin anew", file.string(),
             file.parent_path().string());
  return OrderedJson(*json);
}

}  // namespace

JobPlaces::JobPlaces(const fs::path& to)
    : out(to),
      rejects(to.string() + ".rejects.jsonl"),
      folder(to.string() + ".job"),
      manifest(folder / "manifest.json"),
      done_manifest(to.string() + ".manifest.json"),
      blocks(folder / "blocks"),
      parts(folder / "parts"),
      runs(folder / "runs"),
      assembled(folder / "assembled"),
      texts(folder / "texts") {}

Ledger::Ledger(const fs::path& out, const std::string& what, const ReadOptions& how,
               const LockTimes& times)
    : places_(out),
      what_(what),
      how_(how),
      manifest_(read_manifest(places_.manifest, what)),
      input_(reading_json(places_.manifest.string(),
                          [&] { return InputBlocks(manifest_.at("input"), places_.texts); })),
      done_(input_.n_blocks(), false),
      worker_(places_.folder, what, times) {}

fs::path Ledger::done_file(std::size_t block) const { return places_.blocks / claim_name(block); }

fs::path Ledger::journal_file(std::size_t block) const {
  return places_.parts / fmt::format("{}.{}", claim_name(block), worker_.token());
}

std::vector<fs::path> Ledger::journals(std::size_t block) const {
  std::vector<fs::path> found;
  std::error_code error;
  const std::string begin = claim_name(block) + ".";
  for (fs::directory_iterator at(places_.parts, error), end; !error && at != end;
       at.increment(error))
    if (at->path().filename().string().starts_with(begin)) found.push_back(at->path());
  return found;
}

bool Ledger::is_done(std::size_t block) {
  if (!done_.at(block)) done_[block] = file_is_there(done_file(block));
  return done_[block];
}

bool Ledger::others_work(const std::vector<std::string>& workers) {
  for (std::size_t block = 0; block < done_.size(); ++block) {
    if (is_done(block)) continue;
    const auto claim = read_if_there(places_.folder / Worker::kClaims / claim_name(block));
    const auto has_it = [&](const std::string& w) { return claim->find(w) != std::string::npos; };
    if (!claim || std::none_of(workers.begin(), workers.end(), has_it)) return true;
  }
  return false;
}

void Ledger::sync(OpenBlock& block) { block.journal->sync(); }

void Ledger::empty(std::size_t block) { AppendedFile(done_file(block)).truncate(0); }

bool Ledger::is_there() const { return file_is_there(places_.manifest); }

BlockRecords Ledger::records(std::size_t block) const {
  BlockRecords records;
  const auto done = read_if_there(done_file(block));
  if (done) read_records(*done, records);
  if (done) return records;
  for (const fs::path& journal : journals(block))
    if (const auto text = read_if_there(journal)) read_records(*text, records);
  return records;
}

std::optional<OpenBlock> Ledger::claim() {
  for (std::size_t i = 0; i < done_.size(); ++i) {
    const std::size_t number = (next_ + i) % done_.size();
    if (is_done(number) || worker_.holds(claim_name(number)) || !worker_.claim(claim_name(number)))
      continue;
    if (is_done(number)) {  // between the look and the claim
      worker_.give_back(claim_name(number));
      continue;
    }
    OpenBlock block = {number, input_.read(number, how_), records(number), nullptr};
    // What others left of it is in this worker's journal, too: their files need not be kept.
    std::string begin;
    for (const auto& [place, record] : block.records) begin += record_line(place, record);
    block.journal = std::make_unique<AppendedFile>(journal_file(number));
    block.journal->truncate(0);
    block.journal->write(begin);
    next_ = number + 1;
    return block;
  }
  return std::nullopt;
}

void Ledger::put(OpenBlock& block, const RecordPlace& place, BlockRecord record) {
  block.journal->write(record_line(place, record));
  block.records.emplace(place, std::move(record));
}

void Ledger::close(OpenBlock& block) {
  block.journal->sync();
  block.journal.reset();
  if (!is_done(block.number)) link_file(journal_file(block.number), done_file(block.number));
  for (const fs::path& journal : journals(block.number)) remove_file(journal);
  worker_.give_back(claim_name(block.number));
  done_[block.number] = true;
}

namespace {

// The first difference of two identities: "--temperature is 0.7, now 0.2"; empty: none.
std::string difference(const OrderedJson& theirs, const OrderedJson& mine) {
  const auto text = [](const OrderedJson& all, const std::string& key) -> std::string {
    if (!all.is_object() || !all.contains(key)) return "unset";
    const std::string value =
        all[key].is_string() ? all[key].get<std::string>() : json_text(all[key]);
    return value.empty() ? "unset" : value;
  };
  for (const OrderedJson* all : {&mine, &theirs})
    for (const auto& [key, value] : all->items())
      if (text(theirs, key) != text(mine, key))
        return fmt::format("{} was {}, now it is {}", key, text(theirs, key), text(mine, key));
  return "";
}

// Whether OUT is what a finished job of these terms wrote.
bool is_finished(const JobPlaces& at, const JobTerms& terms) {
  const auto text = read_if_there(at.done_manifest);
  const auto json = text ? try_parse_json(*text) : std::nullopt;
  if (terms.job.empty() || !json || !json->is_object() || !json->contains("identity") ||
      !json->contains("out") || json->value("job", "") == terms.job ||
      !difference(OrderedJson(json->at("identity")), terms.identity).empty())
    return false;
  std::error_code error;
  if (!fs::is_regular_file(at.out, error)) return false;
  const FileBytes bytes = bytes_of_file(at.out);
  return json->at("out").value("bytes", std::int64_t{-1}) == bytes.n &&
         json->at("out").value("checksum", std::uint64_t{0}) == bytes.checksum;
}

bool has_results(const JobPlaces& at) {
  std::error_code error;
  for (const fs::path& folder : {at.blocks, at.parts})
    for (fs::directory_iterator file(folder, error), end; !error && file != end;
         file.increment(error))
      if (fs::file_size(file->path(), error) > 0) return true;
  return file_is_there(at.assembled) && fs::file_size(at.assembled, error) > 0;
}

// A job that cannot be joined gives way, unless that would lose what somebody wants.
void clear(const JobPlaces& at, const JobTerms& terms, const std::string& why) {
  CHECK_USER(!Worker::any_lives(at.folder),
             "{}: another process works on it, but {}; wait for it to end, or choose another file",
             terms.what, why);
  CHECK_USER(!file_is_there(at.out) || !has_results(at),
             "{}: {} holds results of another job, which is not finished: {}; remove that folder "
             "to begin anew, or choose another file",
             terms.what, at.folder.string(), why);
  if (has_results(at))
    log_warning("{}: is gone, and with it what stood in it; all texts are served anew", terms.what);
  for (const char* name :
       {"manifest.json", "assembled", "texts", "blocks", "parts", "claims", "workers", "runs"})
    remove_tree(at.folder / name);
}

}  // namespace

JobState begin_or_join(const JobTerms& terms) {
  const JobPlaces at(terms.out);
  check_place("--out", terms.out);
  // Others of the same job may be cutting its texts.
  const FolderLock lock(at.folder, terms.what, {.wait_s = 3600});
  if (file_is_there(at.manifest)) {
    const OrderedJson manifest = read_manifest(at.manifest, terms.what);
    std::string why = difference(manifest.value("identity", OrderedJson()), terms.identity);
    if (why.empty() && file_is_there(at.out)) return JobState::under_way;
    if (why.empty()) why = "it is gone";
    clear(at, terms, why);
  } else if (is_finished(at, terms)) {
    return JobState::done;
  }
  const InputBlocks input =
      InputBlocks::cut(terms.input, terms.how, terms.first, terms.draws, at.texts);
  CHECK_USER(input.n_texts() > 0, "there is no text: give --text or --in FILE that holds some");
  for (const fs::path& folder :
       {at.blocks, at.parts, at.runs, at.folder / Worker::kClaims, at.folder / Worker::kFolder})
    make_folder(folder);
  ResultFile(at.out.string()).close();  // empty, or an error that names it
  remove_file(at.rejects);
  remove_file(at.done_manifest);
  OrderedJson manifest = {{"version", 1}};
  if (terms.about.is_object()) manifest.update(terms.about);
  manifest["job"] = terms.job;
  manifest["identity"] = terms.identity;
  manifest["input"] = input.json();
  write_file_atomically(at.manifest, json_text(manifest) + "\n");
  return JobState::under_way;
}

}  // namespace weft
