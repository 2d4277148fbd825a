#include <cmath>
#include <optional>
#include <utility>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/unknown_tokens.h"
#include "comm/agreement.h"
#include "comm/shard.h"
#include "core/check.h"
#include "core/log.h"
#include "core/option_words.h"
#include "core/parallel.h"
#include "core/system/hardware.h"
#include "data/labels.h"
#include "data/wrapping.h"
#include "io/documents.h"
#include "io/files.h"
#include "io/hub_cache.h"
#include "io/token_file.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

struct DataOptions {
  std::vector<std::string> inputs;
  std::string tokenizer, out, field, format, quotes, pair_field,
      label_field = "label", label_separator, documents = "line", task = "clm";
  double val_fraction = 0.0;
  std::int64_t threads = 0;
  bool json = false;

  bool labelled() const { return task == "classify" || task == "regress"; }
  void visit(FieldVisitor& v) {
    v.group("data");
    v.field("tokenizer", tokenizer, "tokenizer directory, or a model's");
    v.field("out", out, "token file to write (.h5)");
    v.field("field", field, "JSONL field or table column that holds the text");
    v.field("format", format, kFormats, "what the files hold, whatever their names");
    v.field("quotes", quotes, kQuotes,
            "quotes around cells of a table (unset: as RFC 4180 in csv, none in tsv)");
    v.field("pair_field", pair_field,
            "tasks classify and regress: field or column of a second text");
    v.field("label_field", label_field,
            "tasks classify and regress: field or column of the label: a class, a number, or "
            "several (a list)");
    v.field("label_separator", label_separator,
            "tables: what parts several labels in a cell, such as ';'; unset: a cell is one label");
    v.field("documents", documents, kTextUnits,
            "what a document of a .txt file is (blank lines stand between paragraphs)");
    v.field("val_fraction", val_fraction, Reals{0, 1, false, true},
            "share kept for validation, at the end: of the tokens (whole documents, unless one is "
            "too long for that), or of the documents where the task is not clm");
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
  bool is_row = false;
  std::vector<std::int32_t> ids, second_ids;
};

// What the tokenizer adds to the documents of task clm: those before a text as prompts have them,
// and the end token.
struct Frame {
  std::vector<std::int32_t> begin;
  std::int32_t end = -1;
};

// This rank's documents, read and tokenised some hundreds at a time on all threads.
class Share {
 public:
  Share(const DataOptions& o, const Tokenizer& tokenizer, Frame frame, int n_threads)
      : labels(o.task == "regress", o.label_separator),
        unknown(tokenizer),
        o_(o),
        tokenizer_(tokenizer),
        frame_(std::move(frame)),
        n_threads_(n_threads) {}
  void read(const std::vector<FilePart>& parts);

  TokenFilePart part;
  LabelCollector labels;
  UnknownTokens unknown;
  std::int64_t n_without = 0;  // documents left out, for want of tokens

 private:
  void take(Document&& document, const std::string& input);
  void tokenize_batch();
  void add(Texts& texts);

  static constexpr std::size_t kBatch = 512;
  static constexpr std::size_t kBatchBytes = 8 << 20;
  const DataOptions& o_;
  const Tokenizer& tokenizer_;
  Frame frame_;
  int n_threads_;
  bool warned_of_pairs_ = false;
  std::vector<Texts> batch_;
  std::size_t batch_bytes_ = 0;
};

void Share::read(const std::vector<FilePart>& parts) {
  ReadOptions how = {.field = o_.field, .format = o_.format, .quotes = o_.quotes};
  how.unit = text_unit(o_.documents);
  how.pair_field = o_.pair_field;
  if (o_.labelled()) how.extras.push_back({o_.label_field, "--label-field"});
  for (std::size_t i = 0; i < o_.inputs.size(); ++i) {
    how.part = parts[i];
    read_documents(o_.inputs[i], how, [&](Document&& d) { take(std::move(d), o_.inputs[i]); });
  }
  tokenize_batch();
}

void Share::take(Document&& d, const std::string& input) {
  if (d.text.empty()) return;  // an end token alone teaches nothing
  Texts texts;
  texts.first = std::move(d.text);
  texts.place = fmt::format("{}: line {}", input, d.line);
  if (o_.labelled()) texts.label = std::move(d.extras[0]);
  texts.is_row = d.is_row;
  if (!o_.pair_field.empty()) texts.second = d.pair.value_or("");
  if (o_.labelled() && o_.pair_field.empty() && d.pair && !std::exchange(warned_of_pairs_, true))
    log_warning(
        "{}: has second texts (text_pair), which are left out; --pair-field text_pair reads them",
        texts.place);
  batch_bytes_ += texts.first.size() + texts.second.size();
  batch_.push_back(std::move(texts));
  if (batch_.size() == kBatch || batch_bytes_ >= kBatchBytes) tokenize_batch();
}

void Share::tokenize_batch() {
  parallel_for(static_cast<std::int64_t>(batch_.size()), n_threads_, [&](std::int64_t i) {
    Texts& texts = batch_[static_cast<std::size_t>(i)];
    try {
      texts.ids = tokenizer_.ids(texts.first);
      if (!texts.second.empty()) texts.second_ids = tokenizer_.ids(texts.second);
    } catch (const UserError& error) {
      user_error("{}: {}", texts.place, error.what());
    }
  });
  for (Texts& texts : batch_) add(texts);
  batch_.clear();
  batch_bytes_ = 0;
}

void Share::add(Texts& texts) {
  std::vector<std::int32_t>& ids = texts.ids;
  unknown.add(texts.first, ids, texts.place);
  if (o_.task == "clm") {
    ids.insert(ids.begin(), frame_.begin.begin(), frame_.begin.end());
    ids.push_back(frame_.end);
  } else if (ids.empty() && texts.second_ids.empty()) {
    ++n_without;
    return;
  }
  if (!o_.pair_field.empty()) part.first_lengths.push_back(static_cast<std::int64_t>(ids.size()));
  ids.insert(ids.end(), texts.second_ids.begin(), texts.second_ids.end());
  part.tokens.insert(part.tokens.end(), ids.begin(), ids.end());
  part.document_lengths.push_back(static_cast<std::int64_t>(ids.size()));
  if (o_.labelled()) labels.add(texts.label, texts.is_row, texts.place);
}

// Where the training tokens end: at the end of a document, unless whole documents would leave less
// than half of what is to validate. -1: at the end of a document. Collective.
std::int64_t split_place(const TokenFileInfo& info, const TokenFilePart& part, Communicator& world,
                         Stream& stream) {
  const auto wanted = static_cast<std::int64_t>(
      std::llround(static_cast<double>(info.n_tokens) * (1 - info.val_fraction)));
  std::int64_t end = part.first_token, found = info.n_tokens;
  for (std::size_t i = 0; i < part.document_lengths.size() && found == info.n_tokens; ++i) {
    end += part.document_lengths[i];
    if (end >= std::max<std::int64_t>(wanted, 1)) found = end;
  }
  found = world.all_reduce_value(found, ReduceOp::min, stream);
  return 2 * (info.n_tokens - found) < info.n_tokens - wanted ? wanted : -1;
}

void check_validation(const TokenFileInfo& info) {
  const bool clm = info.task == "clm";
  const std::int64_t n = clm ? info.n_tokens : info.n_documents;
  const double wanted = info.val_fraction * static_cast<double>(n);
  if (info.val_fraction > 0 && (clm ? wanted < 0.5 : n < 2))
    log_warning("--val-fraction is {}, which of {} {} selects nothing: there is no validation",
                info.val_fraction, n,
                clm      ? "tokens"
                : n == 1 ? "document"
                         : "documents");
  else if (info.train_tokens >= 0)
    log_info(
        "the last {} tokens validate; the cut is inside of a document, since whole ones would "
        "leave {} of the tokens or less",
        info.n_tokens - info.train_tokens, fmt::format("{:.3g} %", 50 * info.val_fraction));
}

Frame frame_of(const DataOptions& o, const Tokenizer& tokenizer) {
  if (o.task != "clm") return {};
  const auto end_token = tokenizer.eos_id();
  CHECK_USER(end_token, "--tokenizer {}: has no end token, which must close every document",
             o.tokenizer);
  return {wrapping_of(tokenizer, false).before.ids, *end_token};
}

// What is said of a file that has been written.
void tell(const DataOptions& o, const TokenFileInfo& info, const Tokenizer& tokenizer,
          const std::string& unknown) {
  if (o.json) {
    fmt::print(
        "{}\n",
        json_text(OrderedJson({{"documents", info.n_documents}, {"tokens", info.n_tokens}})));
    return;
  }
  std::string begin;
  for (const std::int32_t id : info.begin_tokens) begin += tokenizer.token(id);
  log_info("{}: {} documents, {} tokens{}{}{}", o.out, info.n_documents, info.n_tokens, unknown,
           begin.empty() ? "" : fmt::format("; each document begins with {}", begin),
           info.labels
               ? fmt::format("; {}, {} labels", info.labels->problem, info.labels->n_labels())
               : "");
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
    CHECK_USER(!is_stream(input) || world->size() == 1,
               "{} can be read by one rank only; write it to a file first",
               input == "-" ? "stdin" : input);
  const Tokenizer tokenizer = load_tokenizer(find_model(o.tokenizer, "--tokenizer"));
  const Frame frame = frame_of(o, tokenizer);
  const int threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());

  Share share(o, tokenizer, frame, threads);
  throw_together(*world, failure_of([&] { share.read(shares(o.inputs, *world)); }), stream);
  TokenFilePart& part = share.part;
  const std::int64_t mine[2] = {static_cast<std::int64_t>(part.tokens.size()),
                                static_cast<std::int64_t>(part.document_lengths.size())};
  std::vector<std::int64_t> all(static_cast<std::size_t>(2 * world->size()));
  world->all_gather(View(all.data(), Dims{2 * world->size()}), ConstView(mine, Dims{2}), stream);
  TokenFileInfo info = {.tokenizer_hash = tokenizer.hash(),
                        .task = o.task,
                        .tokenizer = tokenizer.to_json(),
                        .vocab_size = tokenizer.vocab_size(),
                        .val_fraction = o.val_fraction};
  info.begin_tokens = frame.begin;
  if (o.task != "clm") info.wrapping = wrapping_of(tokenizer, !o.pair_field.empty());
  info.pairs = !o.pair_field.empty();
  for (int r = 0; r < world->size(); ++r) {
    if (r == world->rank())
      part.first_token = info.n_tokens, part.first_document = info.n_documents;
    info.n_tokens += all[static_cast<std::size_t>(2 * r)];
    info.n_documents += all[static_cast<std::size_t>(2 * r + 1)];
  }
  CHECK_USER(info.n_documents > 0, "{}: holds no documents", o.inputs.front());
  if (o.task == "clm" && o.val_fraction > 0)
    info.train_tokens = split_place(info, part, *world, stream);
  if (o.labelled()) info.labels = share.labels.finish(*world, part, stream);
  const std::int64_t n_without = world->all_reduce_value(share.n_without, ReduceOp::sum, stream),
                     n_unknown = share.unknown.report(*world, stream);
  on_first_rank(*world, stream, [&] { make_folder(std::filesystem::path(o.out).parent_path()); });
  write_token_file(o.out, info, part, *world, stream);
  if (world->rank() != 0) return;
  if (n_without > 0) log_warning("{} documents have no tokens and are left out", n_without);
  check_validation(info);
  tell(o, info, tokenizer,
       n_unknown == 0 ? "" : fmt::format(", {} of them {}", n_unknown, share.unknown.token()));
}

}  // namespace weft
