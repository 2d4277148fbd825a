#include "cli/texts/text_job.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include "cli/rejects.h"
#include "cli/results.h"
#include "cli/run_facts.h"
#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "io/files.h"
#include "io/result_arrays.h"
#include "train/start.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kWriteEvery = std::chrono::milliseconds(50);
constexpr auto kLookEvery = std::chrono::milliseconds(200);

// The first rank's text on all ranks. Collective.
void share(Communicator& group, std::string& text, Stream& stream) {
  if (group.size() == 1) return;
  if (group.rank() != 0) text.clear();
  text.resize(static_cast<std::size_t>(
      group.all_reduce_value(static_cast<std::int64_t>(text.size()), ReduceOp::max, stream)));
  if (text.empty()) return;
  group.broadcast(
      View(static_cast<void*>(text.data()), DType::u8, {static_cast<std::int64_t>(text.size())}), 0,
      stream);
}

// Where what is done of a block was done: for the ranks that have no journal.
std::string records_text(const BlockRecords& records) {
  std::string text;
  for (const auto& [place, record] : records) {
    BlockRecord bare = record;
    bare.line = record.kind == RecordKind::none ? "" : "{}";
    text += record_line(place, bare);
  }
  return text;
}

std::string reject_line(std::int64_t line, const std::string& id, const std::string& reason) {
  return json_text(OrderedJson(
      {{"line", line}, {"id", made_utf8(std::string(id))}, {"reason", made_utf8(reason)}}));
}

// Where it is one of PBS or Slurm; nobody is asked how long it lasts.
std::string batch_job_id() {
  for (const char* name : {"PBS_JOBID", "SLURM_JOB_ID"})
    if (const char* id = std::getenv(name); id && *id) return id;
  return "";
}

// What makes a job the same: not how its results are shown or where it runs.
OrderedJson identity_of(const Session& session, const std::string& what, const VisitFields& fields,
                        const TextOptions& texts) {
  OrderedJson identity = {{"the command", what}};
  for (const Fact& fact : option_facts(
           fields, {"model", "tokenizer", "threads", "device", "gpu_map", "log", "walltime", "tp",
                    "pp", "dp", "comm_timeout", "in", "out", "json", "unordered"}))
    if (fact.value != "unset" && fact.value != "[]") identity[fact.name] = fact.value;
  for (const Fact& fact : model_facts(&session.model, session.config, session.tokenizer))
    identity[fact.name] = fact.value;
  const FileBytes bytes = bytes_of_file(texts.in);
  identity["--in (its bytes)"] = std::to_string(bytes.n);
  identity["--in (its checksum)"] = fmt::format("{:016x}", bytes.checksum);
  return identity;
}

}  // namespace

JobBlock::JobBlock(OpenBlock open) : open_(std::move(open)) {
  const GivenTexts& texts = open_.texts;
  std::size_t d = 0, r = 0;
  for (std::int64_t place = 0; d < texts.documents.size() || r < texts.rejected.size(); ++place) {
    const bool document =
        r == texts.rejected.size() ||
        (d < texts.documents.size() && texts.documents[d].line <= texts.rejected[r].line);
    document ? ++d : ++r;
    (document ? places_ : rejected_places_).push_back(place);
  }
  n_results_.assign(texts.size(), -1);
  n_missing_.assign(texts.size(), -1);
  n_open_ = static_cast<std::int64_t>(texts.size());
}

bool JobBlock::has_record(std::int64_t place, char kind) const {
  const auto found = open_.records.find({place, 0});
  return found != open_.records.end() && static_cast<char>(found->second.kind) == kind;
}

bool JobBlock::has(std::size_t document, std::int64_t result) const {
  return open_.records.contains({place(document), result}) || is_rejected(document);
}

// A text has so many results, of which some may be there.
void JobBlock::note(std::int64_t place, std::int64_t n) {
  const auto at = static_cast<std::size_t>(place);
  CHECK(n_results_[at] < 0, "text {} of block {} is told twice", place, open_.number);
  const auto begin = open_.records.lower_bound({place, 0}),
             end = open_.records.lower_bound({place, n});
  n_results_[at] = n;
  n_missing_[at] = n - std::distance(begin, end);
  n_open_ -= n_missing_[at] == 0;
}

namespace {

bool wants_arrays(const TextOptions& o) { return fs::path(o.out).extension() == ".h5"; }

TextOptions with_lines(TextOptions o) {
  if (wants_arrays(o)) o.out = fs::path(o.out).replace_extension(".jsonl").string();
  return o;
}

}  // namespace

bool TextJob::serves(const TextOptions& o) {
  if (o.in.empty() || o.out.empty() || !o.text.empty() || !o.prompt.empty()) return false;
  std::error_code error;
  const auto out = fs::status(o.out, error).type();
  const bool file = out == fs::file_type::not_found || out == fs::file_type::regular;
  return file && (fs::path(o.out).extension() == ".jsonl" || wants_arrays(o)) && !is_stream(o.in);
}

TextJob::TextJob(Session& session, const Invocation& invocation, const std::string& what,
                 const VisitFields& fields, const TextOptions& texts, const TextJobRules& rules)
    : session_(session),
      texts_(with_lines(texts)),
      arrays_(wants_arrays(texts) ? texts.out : ""),
      rules_(rules),
      what_("--out " + texts_.out) {
  how_ = read_options(texts, rules.wants);
  if (rules.reading) how_ = rules.reading(how_);
  begin(invocation, what, fields);
}

void TextJob::begin(const Invocation& invocation, const std::string& what,
                    const VisitFields& fields) {
  Communicator& world = session_.grid.world();
  const std::vector<std::string> hosts = hosts_of(world);
  std::int64_t done = 0;
  on_first_rank(world, session_.stream, [&] {
    check_read_options(how_);
    CHECK_USER(fs::exists(texts_.in), "{}: no such file", texts_.in);
    CHECK_USER(!fs::is_directory(texts_.in), "{}: is a folder, not a file", texts_.in);
    std::error_code error;
    CHECK_USER(!fs::equivalent(texts_.in, texts_.out, error),
               "--out {}: is the file that --in reads; allowed: another", texts_.out);
    JobTerms terms;
    terms.out = texts_.out;
    terms.what = what_;
    terms.identity = identity_of(session_, what, fields, texts_);
    terms.about = run_facts(invocation, what);
    terms.about["model"] = session_.options.model;
    terms.about["seed"] = session_.options.seed;
    terms.input = texts_.in;
    terms.how = how_;
    terms.first = {.most = rules_.most, .sharers = session_.grid.shape().dp, .least = rules_.least};
    terms.draws = rules_.wants.draws;
    terms.job = batch_job_id();
    done = begin_or_join(terms) == JobState::done;
  });
  // Another run may put the last line in place just now.
  const auto attach = [&] {
    if (leads()) ledger_.emplace(texts_.out, what_, how_);
  };
  done = world.all_reduce_value(done, ReduceOp::max, session_.stream);
  std::optional<Failure> failure;
  if (done == 0) failure = failure_of(attach);
  const JobPlaces places(texts_.out);
  if (failure && size_if_there(places.manifest) < 0 && size_if_there(places.done_manifest) >= 0) {
    failure.reset();
    done = 1;
  }
  throw_together(world, failure, session_.stream);
  done_ = world.all_reduce_value(done, ReduceOp::max, session_.stream) != 0;
  if (done_) return ledger_.reset();
  for (const std::string& token :
       gather_texts(world, ledger_ ? ledger_->worker().token() : "", session_.stream))
    if (!token.empty()) workers_.push_back(token);
  const auto of_input = [&](std::int64_t n) {
    return world.all_reduce_value(n, ReduceOp::max, session_.stream);
  };
  n_texts_ = of_input(ledger_ ? ledger_->input().n_texts() : 0);
  n_results_ = of_input(ledger_ ? ledger_->input().n_draws() : 0);
  on_first_rank(world, session_.stream, [&] {
    OrderedJson run = run_facts(invocation, what);
    run["hosts"] = hosts;
    run["ranks"] = world.size();
    const GridShape& shape = session_.grid.shape();
    run["grid"] = {{"tp", shape.tp}, {"pp", shape.pp}, {"dp", shape.dp}};
    run["threads"] = session_.stream.n_threads();
    if (const std::string job = batch_job_id(); !job.empty()) run["job"] = job;
    write_file_atomically(places.runs / (workers_.front() + ".json"), json_text(run) + "\n");
    assembly_.emplace(*ledger_, rules_.unordered);
    assembly_->advance({});
  });
}

// The first rank's: a block, or why there is none.
TextJob::Found TextJob::look(std::optional<OpenBlock>& block, Failure& failure) {
  const auto failed = failure_of([&] { block = ledger_->claim(); });
  if (failed && ledger_->is_there()) {
    failure = *failed;
    return Found::failed;
  }
  if (failed) return Found::none;  // another run has put the last line in place
  if (block) return Found::block;
  return ledger_->others_work(workers_) ? Found::wait : Found::none;
}

std::shared_ptr<JobBlock> TextJob::take(Found& found) {
  Communicator& replica = session_.grid.replica();
  std::optional<OpenBlock> block;
  Failure failure;
  if (leads()) found = look(block, failure);
  std::string head(1, static_cast<char>(found));
  share(replica, head, session_.stream);
  found = static_cast<Found>(head[0]);
  if (found == Found::failed) {
    throw_together(replica, leads() ? std::optional(failure) : std::nullopt, session_.stream);
  }
  if (found != Found::block) return nullptr;
  if (replica.size() > 1) {
    std::string texts = leads() ? pack(block->texts) : "",
                records = leads() ? records_text(block->records) : "";
    share(replica, texts, session_.stream);
    share(replica, records, session_.stream);
    if (!leads()) {
      block.emplace();
      block->texts = unpack(texts);
      read_records(records, block->records);
    }
  }
  auto taken = std::make_shared<JobBlock>(std::move(*block));
  open_.push_back(taken);
  for (std::size_t r = 0; r < taken->open_.texts.rejected.size(); ++r) {
    const RejectedRecord& reason = taken->open_.texts.rejected[r];
    const std::int64_t place = taken->rejected_places_[r];
    record(*taken, place, 0,
           {.kind = RecordKind::reject, .line = reject_line(reason.line, "", reason.reason)});
  }
  for (std::size_t d = 0; d < taken->documents().size(); ++d)
    if (taken->is_rejected(d)) taken->note(taken->place(d), 1);
  if (taken->n_open_ == 0) end_block(*taken);  // its last worker came to all but this
  return taken;
}

std::shared_ptr<JobBlock> TextJob::next(bool wait) {
  for (;;) {
    Found found = Found::none;
    if (done_) return nullptr;
    if (auto block = take(found)) return block;
    if (found == Found::none || !wait) return nullptr;
    write(true);
    std::this_thread::sleep_for(kLookEvery);
    if (!session_.limit) continue;
    if (const auto ended = session_.limit->ended(session_.grid.replica(), session_.stream))
      rethrow(*ended);
  }
}

void TextJob::expect(JobBlock& block, std::size_t document, std::int64_t n_results) {
  block.note(block.place(document), n_results);
  if (block.n_open_ == 0) end_block(block);
}

void TextJob::put(JobBlock& block, std::size_t document, std::int64_t result,
                  const std::string& line, const JobWork& work) {
  work_.add(work);
  work_.items += !line.empty();
  BlockRecord record = {.kind = line.empty() && leads() ? RecordKind::none : RecordKind::result,
                        .prompt_tokens = work.prompt_tokens,
                        .new_tokens = work.new_tokens,
                        .line = line};
  if (record.line.ends_with('\n')) record.line.pop_back();
  this->record(block, block.place(document), result, std::move(record));
}

void TextJob::reject(JobBlock& block, std::size_t document, const std::string& reason) {
  const Document& d = block.documents()[document];
  record(block, block.place(document), 0,
         {.kind = RecordKind::reject, .line = reject_line(d.line, d.id, reason)});
}

// A reject is its text's one record, whatever was expected of it.
void TextJob::record(JobBlock& block, std::int64_t place, std::int64_t result, BlockRecord record) {
  const bool rejects = record.kind == RecordKind::reject,
             known = block.open_.records.contains({place, result});
  if (!known && leads()) ledger_->put(block.open_, {place, result}, std::move(record));
  if (!known && !leads())
    block.open_.records.emplace(RecordPlace{place, result}, std::move(record));
  const auto at = static_cast<std::size_t>(place);
  if (block.n_results_[at] < 0) {
    CHECK(rejects, "a result of text {} of block {} is not expected", place, block.open_.number);
    block.note(place, 1);
  } else if (!known && block.n_missing_[at] > 0) {
    block.n_missing_[at] = rejects ? 0 : block.n_missing_[at] - 1;
    if (rejects) block.n_results_[at] = 1;
    block.n_open_ -= block.n_missing_[at] == 0;
  }
  if (block.n_open_ == 0) end_block(block);
  write(false);
}

void TextJob::end_block(JobBlock& block) {
  const auto is_it = [&](const std::shared_ptr<JobBlock>& b) { return b.get() == &block; };
  const auto found = std::find_if(open_.begin(), open_.end(), is_it);
  if (found == open_.end()) return;
  if (leads()) ledger_->close(block.open_);
  open_.erase(found);
}

void TextJob::write(bool now) {
  if (!assembly_ || (!now && Clock::now() - written_ < kWriteEvery)) return;
  std::vector<Assembly::Front> fronts;
  for (const auto& block : open_) fronts.push_back({&block->open_, &block->n_results_});
  assembly_->advance(fronts);
  written_ = Clock::now();
  if (!progress_) progress_.emplace(n_texts_);
  progress_->show(texts_done(), work_.prompt_tokens + work_.new_tokens);
}

// In OUT, and of the blocks that this process has.
std::int64_t TextJob::texts_done() const {
  std::int64_t n = assembly_->totals().texts;
  for (const auto& block : open_)
    n += static_cast<std::int64_t>(block->open_.texts.size()) - block->n_open_;
  return std::min(n, n_texts_);
}

void TextJob::wait_until_whole() {
  const auto self = make_self_communicator();
  for (;;) {
    const auto failed = failure_of([&] { assembly_->advance({}); });
    if (!ledger_->is_there()) return;  // another run has put the last line in place
    if (failed) rethrow(*failed);
    if (assembly_->is_whole()) return assembly_->finish(batch_job_id());
    std::this_thread::sleep_for(kLookEvery);
    if (!session_.limit) continue;
    if (const auto ended = session_.limit->ended(*self, session_.stream)) rethrow(*ended);
  }
}

// By each run that came to the end, and anew where the lines were whole already: what lies there
// may be of other lines.
void TextJob::write_arrays() const {
  if (arrays_.empty() || !fs::exists(texts_.out)) return;
  write_result_arrays(texts_.out, arrays_, {{"model", session_.options.model}});
}

namespace {

std::string first_reason(const fs::path& rejects) {
  const std::string text = read_if_there(rejects).value_or("");
  const auto json = try_parse_json(text.substr(0, text.find('\n')));
  return json && json->is_object() ? json->value("reason", "") : "";
}

}  // namespace

void TextJob::finish(const std::optional<Failure>& ended, JobLog& log) {
  log.stop();
  Communicator& world = session_.grid.world();
  const auto failure = failure_of([&] { end_together(ended); });
  JobWork all = work_;
  if (!leads()) all = {};
  for (std::int64_t* n : {&all.items, &all.prompt_tokens, &all.new_tokens})
    *n = world.all_reduce_value(*n, ReduceOp::sum, session_.stream);
  log.end(failure ? end_reason(*failure) : "done", all);
  if (progress_) progress_->end(texts_done(), all.prompt_tokens + all.new_tokens);
  if (failure) rethrow(*failure);
  on_first_rank(world, session_.stream, [&] {
    const JobPlaces places(texts_.out);
    AssembledTotals n;
    if (assembly_ && assembly_->is_whole())
      n = assembly_->totals();
    else if (const auto text = read_if_there(places.done_manifest)) {
      const Json json = try_parse_json(*text).value_or(Json::object());
      n.texts = json.value("texts", std::int64_t{0});
      n.rejected = json.value("rejected", std::int64_t{0});
    }
    write_arrays();
    if (done_)
      log_info("{} is whole already: another batch job has finished it; remove it to make it anew",
               texts_.out);
    if (n.rejected > 0)
      throw_rejected(n.rejected, n.texts, texts_.out, first_reason(places.rejects));
  });
}

// Throws what the run ended with, on all ranks alike.
void TextJob::end_together(const std::optional<Failure>& ended) {
  Communicator& world = session_.grid.world();
  const bool interrupted = ended && ended->kind == FailureKind::interrupted;
  const std::int32_t mine = !ended ? 0 : interrupted ? 1 : 2;
  for (const auto& block : open_)
    if (leads()) ledger_->sync(block->open_);  // for whoever writes it out
  const auto worst = world.all_reduce_value(mine, ReduceOp::max, session_.stream);
  // What failed elsewhere is the reason why this one was stopped.
  std::optional<Failure> failure = failure_of([&] {
    throw_together(world, interrupted && worst > 1 ? std::nullopt : ended, session_.stream);
  });
  if (worst == 0 && assembly_) failure = failure_of([&] { wait_until_whole(); });
  const bool stopped = worst == 1 || (failure && failure->kind == FailureKind::interrupted);
  if (worst > 1 && assembly_)
    if (auto late = failure_of([&] { write(true); }); late && !failure) failure = late;
  if (stopped && assembly_) {
    const auto rest = failure_of([&] {
      const AssembledTotals n = assembly_->write_rest();
      std::string text = fmt::format(
          ": {} result{} of {} texts {} done and written; the same "
          "command goes on with the rest",
          n.results, n.results == 1 ? "" : "s", n_texts_, n.results == 1 ? "is" : "are");
      if (n.rejected > 0) text += "; " + rejects_summary(n.rejected, n_texts_, texts_.out);
      failure->text += text;
    });
    if (rest) failure = rest;
  }
  // Nothing is kept where nothing was done.
  world.barrier();
  if (failure && assembly_ && !assembly_->has_results()) {
    const auto gone = failure_of([&] { assembly_->withdraw(); });
    if (gone) log_warning("{}", gone->text);
  }
  throw_together(world, failure, session_.stream);
}

}  // namespace weft
