#include <omp.h>

#include "cli/command.h"
#include "cli/options.h"
#include "comm/agreement.h"
#include "comm/shard.h"
#include "core/check.h"
#include "core/hardware.h"
#include "core/log.h"
#include "io/documents.h"
#include "io/token_file.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

struct DataOptions {
  std::vector<std::string> inputs;
  std::string tokenizer, out, field, task = "clm";
  double val_fraction = 0.0;
  std::int64_t threads = 0;
  bool json = false;

  void visit(FieldVisitor& v) {
    v.group("data");
    v.field("tokenizer", tokenizer, "tokenizer directory, or a model's");
    v.field("out", out, "token file to write (.h5)");
    v.field("field", field, "JSONL field or CSV column that holds the text");
    v.field("val_fraction", val_fraction, "share of the tokens, at the end, kept for validation");
    v.field("task", task, "training task the file is for: clm");
    v.field("threads", threads, "threads of a rank; 0: cores of the host / ranks on it");
    v.field("json", json, "a JSON line on stdout");
  }
};

// Tokenises documents [range) of the inputs, some hundreds at a time on all threads.
TokenFilePart tokenize_range(const DataOptions& o, const Tokenizer& tokenizer, std::int32_t end_token, Range range) {
  TokenFilePart part;
  std::vector<std::string> batch;
  std::vector<std::vector<std::int32_t>> encoded;
  const auto flush = [&] {
    encoded.assign(batch.size(), {});
    const auto n = static_cast<std::int64_t>(batch.size());
#pragma omp parallel for schedule(dynamic, 8)
    for (std::int64_t i = 0; i < n; ++i) encoded[static_cast<std::size_t>(i)] = tokenizer.encode(batch[static_cast<std::size_t>(i)]).ids;
    for (const auto& ids : encoded) {
      part.tokens.insert(part.tokens.end(), ids.begin(), ids.end());
      part.tokens.push_back(end_token);
      part.document_lengths.push_back(static_cast<std::int64_t>(ids.size()) + 1);
    }
    batch.clear();
  };
  std::int64_t i = 0;
  for (const std::string& input : o.inputs)
    read_documents(input, o.field, [&](Document&& d) {
      if (i >= range.begin && i < range.end) batch.push_back(std::move(d.text));
      ++i;
      if (batch.size() == 512) flush();
    });
  flush();
  return part;
}

}  // namespace

void run_data(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  Stream stream;
  DataOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {"data", "Turns text, JSONL, CSV or FASTA files into one token file for training.", &o.inputs, "IN"};
  if (!parse_options(line, invocation.args, fields, world->rank() == 0)) return;
  CHECK_USER(!o.inputs.empty(), "weft data: name one or more input files (.txt, .jsonl, .csv, .tsv, .fasta)");
  CHECK_USER(!o.out.empty(), "--out is missing: name the token file to write (.h5)");
  CHECK_USER(std::filesystem::path(o.out).extension() == ".h5", "--out is '{}'; allowed: a file that ends in .h5", o.out);
  CHECK_USER(!o.tokenizer.empty(), "--tokenizer is missing: name a tokenizer directory (make one with `weft tokenizer`)");
  CHECK_USER(o.task == "clm", "--task is '{}'; allowed: clm", o.task);
  CHECK_USER(o.val_fraction >= 0 && o.val_fraction < 1, "--val-fraction is {}; allowed: 0 up to, not including, 1", o.val_fraction);
  for (const std::string& input : o.inputs) CHECK_USER(input != "-" || world->size() == 1, "stdin can be read by one rank only; write it to a file first");
  const Tokenizer tokenizer = Tokenizer::load(o.tokenizer);
  const auto end_token = tokenizer.eos_id();
  CHECK_USER(end_token, "--tokenizer {}: has no end token, which must close every document", o.tokenizer);
  omp_set_num_threads(resolve_threads(o.threads, invocation.mpi.ranks_on_host()));

  // Consecutive documents to each rank; one rank alone need not count them first.
  Range range = {0, INT64_MAX};
  if (world->size() > 1) {
    std::int64_t n = 0;
    for (const std::string& input : o.inputs) read_documents(input, o.field, [&](Document&&) { ++n; });
    range = split_range(n, world->size(), world->rank());
  }
  TokenFilePart part = tokenize_range(o, tokenizer, *end_token, range);
  const std::int64_t mine[2] = {static_cast<std::int64_t>(part.tokens.size()), static_cast<std::int64_t>(part.document_lengths.size())};
  std::vector<std::int64_t> all(static_cast<std::size_t>(2 * world->size()));
  world->all_gather(View(all.data(), Dims{2 * world->size()}), ConstView(mine, Dims{2}), stream);
  TokenFileInfo info = {.tokenizer_hash = tokenizer.hash(), .task = o.task, .tokenizer = tokenizer.to_json(), .vocab_size = tokenizer.vocab_size(),
                        .val_fraction = o.val_fraction};
  for (int r = 0; r < world->size(); ++r) {
    if (r == world->rank()) part.first_token = info.n_tokens, part.first_document = info.n_documents;
    info.n_tokens += all[static_cast<std::size_t>(2 * r)];
    info.n_documents += all[static_cast<std::size_t>(2 * r + 1)];
  }
  CHECK_USER(info.n_documents > 0, "{}: holds no documents", o.inputs.front());
  on_first_rank(*world, stream, [&] { make_folder(std::filesystem::path(o.out).parent_path()); });
  write_token_file(o.out, info, part, native_mpi_comm(*world), world->rank() == 0, [&](const std::string& error) { agree(*world, error, stream); });
  if (world->rank() != 0) return;
  if (o.json) fmt::print("{}\n", OrderedJson({{"documents", info.n_documents}, {"tokens", info.n_tokens}}).dump());
  else log_info("{}: {} documents, {} tokens", o.out, info.n_documents, info.n_tokens);
}

}  // namespace weft
