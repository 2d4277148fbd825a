// The ledger of a job whose texts come in a file and whose results go to one, OUT: the folder
// OUT.job, in which any number of processes, of one run or of several, take blocks of the texts and
// leave what becomes of them. A process that ends at any moment leaves nothing half done: its
// blocks go to others, with the results that it had written.
//
//   OUT.job/manifest.json      what job it is, and where the blocks of its texts are
//   OUT.job/workers/, claims/  who works on what (io/ledger/worker.h)
//   OUT.job/parts/K.W          the journal of block K by worker W (io/ledger/block_journal.h)
//   OUT.job/blocks/K           the same when block K is whole: there is one at most
//   OUT.job/assembled          which blocks stand in OUT (io/ledger/assembly.h)
//   OUT.job/runs/              what each run of the job was
//
// When all of it is in OUT, the folder gives way to OUT.manifest.json.
#pragma once

#include <memory>
#include <optional>

#include "io/ledger/block_journal.h"
#include "io/ledger/input_blocks.h"
#include "io/ledger/ledger_files.h"
#include "io/ledger/worker.h"

namespace weft {

// Where the files of OUT's job are.
struct JobPlaces {
  explicit JobPlaces(const std::filesystem::path& out);
  std::filesystem::path out, rejects, folder, manifest, done_manifest, blocks, parts, runs,
      assembled, texts;
};

// What makes a command's job the same as another's, and what its texts are.
struct JobTerms {
  std::filesystem::path out;
  std::string what;      // "--out o.jsonl"
  OrderedJson identity;  // by name ("--temperature"), as text
  OrderedJson about;     // what else the manifest says of the job
  std::string input;     // a file that can be read again
  ReadOptions how;
  FirstBlocks first = {};
  std::int64_t draws = 0;  // of each text: InputBlocks::cut
  std::string job;         // the batch job that this process is in; empty: none
};

enum class JobState : std::uint8_t { under_way, done };
// Joins the job of these terms, or begins it: OUT is then empty. Done: another batch job has
// finished it, and OUT is as that left it; who is in no batch job, or in that one, means to have it
// made anew.
// Not collective: one process of a run calls it. UserErrors: OUT.job holds results of a job of
// other terms (the first that differs is named), or somebody works on it; errors of the input.
JobState begin_or_join(const JobTerms& terms);

// A block that this process has claimed.
struct OpenBlock {
  std::size_t number = 0;
  GivenTexts texts;
  BlockRecords records;  // so far
  std::unique_ptr<AppendedFile> journal = nullptr;
};

class Ledger {
 public:
  // Of a job that is under way, to work on it. Not collective.
  Ledger(const std::filesystem::path& out, const std::string& what, const ReadOptions& how,
         const LockTimes& times = {});

  const JobPlaces& places() const { return places_; }
  const OrderedJson& manifest() const { return manifest_; }
  const InputBlocks& input() const { return input_; }
  Worker& worker() { return worker_; }
  const std::string& what() const { return what_; }

  // Claims a block that nobody has, of those left the first; nothing where there is none now.
  std::optional<OpenBlock> claim();
  // Appends to a claimed block's journal, and to its records. The line is the system's then.
  void put(OpenBlock& block, const RecordPlace& place, BlockRecord record);
  void sync(OpenBlock& block);  // the disk has what was put
  // The block is whole, on the disk. Where another worker was quicker, its results are what counts.
  void close(OpenBlock& block);

  bool is_done(std::size_t block);  // once true, always
  // Whether blocks are left that none of these workers has.
  bool others_work(const std::vector<std::string>& workers);
  // OUT has it: of what is done only that it is need be kept.
  void empty(std::size_t block);
  // What is known of a block: of one that is done all, else what its journals say.
  BlockRecords records(std::size_t block) const;
  // Whether the folder still is this job's: false where it is finished, or was removed.
  bool is_there() const;

 private:
  std::vector<std::filesystem::path> journals(std::size_t block) const;
  std::filesystem::path done_file(std::size_t block) const;
  std::filesystem::path journal_file(std::size_t block) const;  // this worker's

  JobPlaces places_;
  std::string what_;
  ReadOptions how_;
  OrderedJson manifest_;
  InputBlocks input_;
  std::vector<bool> done_;
  std::size_t next_ = 0;  // where claim() looks first
  Worker worker_;
};

}  // namespace weft
