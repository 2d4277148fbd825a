#include <optional>

#include "cli/command.h"
#include "cli/options.h"
#include "comm/agreement.h"
#include "comm/shard.h"
#include "core/check.h"
#include "core/hardware.h"
#include "core/log.h"
#include "core/option_words.h"
#include "core/parallel.h"
#include "io/documents.h"
#include "io/hub_cache.h"
#include "io/token_file.h"
#include "text/tokenizer.h"
#include "train/labels.h"
#include "train/wrapping.h"

namespace weft {
namespace {

struct DataOptions {
  std::vector<std::string> inputs;
  std::string tokenizer, out, field, pair_field, label_field = "label", documents = "line",
                                                 task = "clm";
  double val_fraction = 0.0;
  std::int64_t threads = 0;
  bool json = false;

  bool labelled() const { return task == "classify" || task == "regress"; }
  void visit(FieldVisitor& v) {
    v.group("data");
    v.field("tokenizer", tokenizer, "tokenizer directory, or a model's");
    v.field("out", out, "token file to write (.h5)");
    v.field("field", field, "JSONL field or CSV column that holds the text");
    v.field("pair_field", pair_field,
            "tasks classify and regress: field or column of a second text");
    v.field("label_field", label_field,
            "tasks classify and regress: field or column of the label: a class, a number, or "
            "several (a list; in tables a;b)");
    v.field("documents", documents, kTextUnits,
            "what a document of a .txt file is (blank lines stand between paragraphs)");
    v.field("val_fraction", val_fraction, Reals{0, 1, false, true},
            "share kept for validation, at the end: of the tokens, or of the documents where the "
            "task is not clm");
    v.field("task", task, kTasks, "training task the file is for");
    v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
    v.field("json", json, "a JSON line on stdout");
  }
};

// Every rank reads all files (splitting lines costs a tenth of tokenising them) and keeps the
// documents that begin in its share of their bytes: consecutive ones, and whoever keeps them the
// token file is the same.
std::vector<FilePart> shares(const std::vector<std::string>& inputs, const Communicator& world) {
  std::vector<std::int64_t> sizes;
  std::int64_t total = 0;
  for (const std::string& input : inputs) {
    std::error_code missing;  // told by the reader
    const std::uintmax_t size = std::filesystem::file_size(input, missing);
    sizes.push_back(missing ? 0 : static_cast<std::int64_t>(size));
    total += sizes.back();
  }
  const Range range = split_range(total, world.size(), world.rank());
  const std::int64_t end = world.rank() + 1 == world.size() ? INT64_MAX : range.end;
  std::vector<FilePart> parts;
  std::int64_t before = 0;
  for (const std::int64_t size : sizes) {
    parts.push_back({range.begin - before, end == INT64_MAX ? end : end - before});
    before += size;
  }
  return parts;
}

// A document's texts, and what they became.
struct Texts {
  std::string first, second, place;
  Json label;
  std::vector<std::int32_t> ids, second_ids;
};

struct Share {
  TokenFilePart part;
  LabelCollector labels;
  std::int64_t n_without = 0;  // documents left out, for want of tokens
};

// Adds a tokenised document.
void add(Share& share, const DataOptions& o, std::int32_t end_token, Texts& texts) {
  std::vector<std::int32_t>& ids = texts.ids;
  TokenFilePart& part = share.part;
  if (o.task == "clm") {
    ids.push_back(end_token);
  } else if (ids.empty() && texts.second_ids.empty()) {
    ++share.n_without;
    return;
  }
  if (!o.pair_field.empty()) part.first_lengths.push_back(static_cast<std::int64_t>(ids.size()));
  ids.insert(ids.end(), texts.second_ids.begin(), texts.second_ids.end());
  part.tokens.insert(part.tokens.end(), ids.begin(), ids.end());
  part.document_lengths.push_back(static_cast<std::int64_t>(ids.size()));
  if (o.labelled()) share.labels.add(texts.label, texts.place);
}

// Tokenises this rank's documents, some hundreds at a time on all threads.
Share tokenize_share(const DataOptions& o, const Tokenizer& tokenizer, std::int32_t end_token,
                     const std::vector<FilePart>& parts, int n_threads) {
  constexpr std::size_t kBatch = 512;
  constexpr std::size_t kBatchBytes = 8 << 20;
  Share share = {{}, LabelCollector(o.task == "regress")};
  std::vector<Texts> batch;
  std::size_t batch_bytes = 0;
  const auto flush = [&] {
    const auto n = static_cast<std::int64_t>(batch.size());
    parallel_for(n, n_threads, [&](std::int64_t i) {
      Texts& texts = batch[static_cast<std::size_t>(i)];
      texts.ids = tokenizer.ids(texts.first);
      if (!texts.second.empty()) texts.second_ids = tokenizer.ids(texts.second);
    });
    for (Texts& texts : batch) add(share, o, end_token, texts);
    batch.clear();
    batch_bytes = 0;
  };
  std::vector<ExtraField> extras;
  if (o.labelled()) extras.push_back({o.label_field, "--label-field"});
  if (!o.pair_field.empty()) extras.push_back({o.pair_field, "--pair-field"});
  for (std::size_t i = 0; i < o.inputs.size(); ++i) {
    const auto keep = [&](Document&& d) {
      if (d.text.empty()) return;  // an end token alone teaches nothing
      Texts texts;
      if (o.labelled()) {
        texts.place = fmt::format("{}: line {}", o.inputs[i], d.line);
        texts.label = std::move(d.extras[0]);
      }
      if (!o.pair_field.empty()) {
        CHECK_USER(d.extras[1].is_string(), "{}: field '{}' is {}, not text", texts.place,
                   o.pair_field, d.extras[1].type_name());
        texts.second = d.extras[1].get<std::string>();
      }
      texts.first = std::move(d.text);
      batch_bytes += texts.first.size() + texts.second.size();
      batch.push_back(std::move(texts));
      if (batch.size() == kBatch || batch_bytes >= kBatchBytes) flush();
    };
    read_documents(o.inputs[i], o.field, keep, text_unit(o.documents), parts[i], extras);
  }
  flush();
  return share;
}

}  // namespace

void run_data(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  Stream stream;
  DataOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {
      "data", "Turns text, JSONL, CSV or FASTA files into one token file for training.", &o.inputs,
      "IN"};
  if (!parse_options(line, invocation.args, fields, world->rank() == 0)) return;
  CHECK_USER(!o.inputs.empty(),
             "weft data: name one or more input files (.txt, .jsonl, .csv, .tsv, .fasta, .smi)");
  CHECK_USER(!o.out.empty(), "--out is missing: name the token file to write (.h5)");
  CHECK_USER(std::filesystem::path(o.out).extension() == ".h5",
             "--out is '{}'; allowed: a file that ends in .h5", o.out);
  CHECK_USER(!o.tokenizer.empty(),
             "--tokenizer is missing: name a tokenizer directory (make one with `weft tokenizer`)");
  CHECK_USER(o.pair_field.empty() || o.labelled(),
             "--pair-field is '{}', but --task is {}; allowed with classify and regress",
             o.pair_field, o.task);
  for (const std::string& input : o.inputs)
    CHECK_USER(input != "-" || world->size() == 1,
               "stdin can be read by one rank only; write it to a file first");
  const Tokenizer tokenizer = Tokenizer::load(find_model(o.tokenizer, "--tokenizer"));
  const auto end_token = tokenizer.eos_id();
  CHECK_USER(end_token || o.task != "clm",
             "--tokenizer {}: has no end token, which must close every document", o.tokenizer);
  const int n_threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());

  std::optional<Share> share;
  agree(*world, caught([&] {
    share =
        tokenize_share(o, tokenizer, end_token.value_or(-1), shares(o.inputs, *world), n_threads);
  }),
        stream);
  TokenFilePart& part = share->part;
  const std::int64_t mine[2] = {static_cast<std::int64_t>(part.tokens.size()),
                                static_cast<std::int64_t>(part.document_lengths.size())};
  std::vector<std::int64_t> all(static_cast<std::size_t>(2 * world->size()));
  world->all_gather(View(all.data(), Dims{2 * world->size()}), ConstView(mine, Dims{2}), stream);
  TokenFileInfo info = {.tokenizer_hash = tokenizer.hash(),
                        .task = o.task,
                        .tokenizer = tokenizer.to_json(),
                        .vocab_size = tokenizer.vocab_size(),
                        .val_fraction = o.val_fraction};
  if (o.task != "clm") info.wrapping = wrapping_of(tokenizer, !o.pair_field.empty());
  info.pairs = !o.pair_field.empty();
  for (int r = 0; r < world->size(); ++r) {
    if (r == world->rank())
      part.first_token = info.n_tokens, part.first_document = info.n_documents;
    info.n_tokens += all[static_cast<std::size_t>(2 * r)];
    info.n_documents += all[static_cast<std::size_t>(2 * r + 1)];
  }
  CHECK_USER(info.n_documents > 0, "{}: holds no documents", o.inputs.front());
  if (o.labelled()) info.labels = share->labels.finish(*world, part, stream);
  const std::int64_t n_without = world->all_reduce_value(share->n_without, ReduceOp::sum, stream);
  on_first_rank(*world, stream, [&] { make_folder(std::filesystem::path(o.out).parent_path()); });
  write_token_file(o.out, info, part, native_mpi_comm(*world), world->rank() == 0,
                   [&](const std::optional<Failure>& failed) { agree(*world, failed, stream); });
  if (world->rank() != 0) return;
  if (n_without > 0) log_warning("{} documents have no tokens and are left out", n_without);
  if (o.json)
    fmt::print("{}\n",
               OrderedJson({{"documents", info.n_documents}, {"tokens", info.n_tokens}}).dump());
  else if (!info.labels)
    log_info("{}: {} documents, {} tokens", o.out, info.n_documents, info.n_tokens);
  else
    log_info("{}: {} documents, {} tokens; {}, {} labels", o.out, info.n_documents, info.n_tokens,
             info.labels->problem, info.labels->n_labels());
}

}  // namespace weft
