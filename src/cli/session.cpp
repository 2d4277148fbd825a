#include "cli/session.h"

#include <omp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/hardware.h"
#include "kernels/backends.h"
#include "model/families.h"
#include "model/hf_weights.h"
#include "train/checkpoint.h"

namespace weft {

void ModelOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field("model", model, "HF directory or Weft checkpoint (.h5)");
  v.field("tokenizer", tokenizer, "tokenizer directory, when it does not come with the model");
  v.field("dtype", dtype, "how weights are held: fp32, bf16, fp16; unset: fp32");
  v.field("seed", seed, "seed of what is drawn at random");
  v.group("parallel");
  v.field("tp", tp, "tensor-parallel ranks");
  v.field("pp", pp, "pipeline-parallel ranks");
  v.field("dp", dp, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("device", device, "cpu or cuda; unset: cuda where built in and present, else cpu");
  v.field("threads", threads, "threads of a rank; 0: cores of the host / ranks on it");
}

void TextOptions::visit(FieldVisitor& v, bool with_prompt) {
  v.group("input and output");
  v.field("text", text, "a text (repeatable)");
  if (with_prompt) v.field("prompt", prompt, "a prompt (repeatable); the same as --text");
  v.field("in", in, "file of texts: .txt, .jsonl, .csv, .tsv, .fasta, or - for stdin");
  v.field("field", field, "JSONL field or CSV column that holds the text");
  v.field("out", out, "write JSON lines to this .jsonl file instead of stdout");
  v.field("json", json, "JSON lines on stdout");
}

std::vector<Document> read_texts(const TextOptions& o) {
  std::vector<Document> all;
  for (const std::vector<std::string>* list : {&o.text, &o.prompt})
    for (const std::string& text : *list) all.push_back({.text = text, .id = "", .options = nullptr, .line = 0});
  if (!o.in.empty())
    for (Document& d : read_documents(o.in, o.field)) all.push_back(std::move(d));
  CHECK_USER(!all.empty(), "there is no text: give --text or --in FILE{}", o.in.empty() ? "" : " that holds some");
  CHECK_USER(o.out.empty() || std::filesystem::path(o.out).extension() == ".jsonl", "--out is '{}'; allowed: a .jsonl file", o.out);
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].id.empty()) all[i].id = std::to_string(i);
  return all;
}

namespace {

// Reads rank 0's stdin to its end and makes it every rank's.
void share_stdin(Communicator& world, Stream& stream) {
  std::string text;
  on_first_rank(world, stream, [&] {
    char buffer[1 << 16];
    for (ssize_t n; (n = ::read(STDIN_FILENO, buffer, sizeof buffer)) != 0;) {
      CHECK_USER(n > 0 || errno == EINTR, "--in -: stdin cannot be read ({})", std::strerror(errno));
      if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    }
  });
  auto size = static_cast<std::int64_t>(text.size());
  world.broadcast(View(&size, Dims{1}), 0, stream);
  text.resize(static_cast<std::size_t>(size));
  world.broadcast(View(static_cast<void*>(text.data()), DType::u8, {size}), 0, stream);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> copy(std::tmpfile(), std::fclose);
  CHECK(copy && std::fwrite(text.data(), 1, text.size(), copy.get()) == text.size() && std::fflush(copy.get()) == 0 &&
            ::lseek(::fileno(copy.get()), 0, SEEK_SET) == 0 && ::dup2(::fileno(copy.get()), STDIN_FILENO) >= 0,
        "stdin cannot be kept in a temporary file ({})", std::strerror(errno));
}

}  // namespace

std::vector<Document> read_texts(const TextOptions& o, Communicator& world, Stream& stream) {
  if (o.in == "-" && world.size() > 1) share_stdin(world, stream);
  return read_texts(o);
}

namespace {

ModelConfig open_config(const std::string& model) {
  CHECK_USER(!model.empty(), "--model is missing: name a HF directory or a Weft checkpoint (.h5)");
  std::error_code error;
  CHECK_USER(std::filesystem::exists(model, error), "--model {}: no such file or folder", model);
  if (is_checkpoint(model)) return read_checkpoint_header(model).config;
  CHECK_USER(std::filesystem::is_directory(model, error), "--model {}: allowed: a HF directory or a Weft checkpoint (.h5)", model);
  return read_hf_config(model);
}

std::optional<Tokenizer> open_tokenizer(const ModelOptions& o) {
  if (!o.tokenizer.empty()) return Tokenizer::load(o.tokenizer);
  if (!is_checkpoint(o.model)) return Tokenizer::present(o.model) ? std::optional(Tokenizer::load(o.model)) : std::nullopt;
  const std::string json = read_checkpoint_header(o.model).state.tokenizer;
  return json.empty() ? std::nullopt : std::optional(Tokenizer::from_json(json, o.model));
}

int use_threads(const Invocation& invocation, const ModelOptions& o) {
  const int threads = resolve_threads(static_cast<int>(o.threads), invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  return threads;
}

GridShape checked_grid(const ModelOptions& o, const ModelConfig& c, int ranks) {
  const GridShape shape = resolve_grid(static_cast<int>(o.tp), static_cast<int>(o.pp), static_cast<int>(o.dp), ranks);
  CHECK_USER(shape.tp <= c.heads, "--tp is {}, but the model has {} heads; allowed: 1 to {}", shape.tp, c.heads, c.heads);
  CHECK_USER(shape.pp <= c.layers, "--pp is {}, but the model has {} layers; allowed: 1 to {}", shape.pp, c.layers, c.layers);
  return shape;
}

}  // namespace

void check_device(const std::string& device) {
  CHECK_USER(device.empty() || device == "cpu" || device == "cuda", "--device is '{}'; allowed: cpu, cuda", device);
  if (device == "cuda") cuda_backend();  // says so where it is not built in
}

Session::Session(const Invocation& invocation, const ModelOptions& given)
    : options(given), config(open_config(given.model)), tokenizer(open_tokenizer(given)),
      grid(invocation.mpi.world(), checked_grid(given, config, invocation.mpi.world()->size())), stream({}, use_threads(invocation, given)),
      ctx{.grid = grid, .stream = stream, .precision = Precision::fp32, .clock = nullptr, .observer = {}} {
  check_device(options.device);
  CHECK_USER(options.dtype.empty() || options.dtype == "fp32" || options.dtype == "bf16" || options.dtype == "fp16",
             "--dtype is '{}'; allowed: fp32, bf16, fp16", options.dtype);
}

void Session::load_weights() {
  const DType dtype = options.dtype == "bf16" ? DType::bf16 : options.dtype == "fp16" ? DType::f16 : DType::f32;
  parameters.emplace(config, grid, dtype, Purpose::inference);
  if (is_checkpoint(options.model)) load_checkpoint(ctx, options.model, *parameters, config);
  else load_hf_weights(*parameters, config, options.model, stream);
}

const Tokenizer& Session::need_tokenizer() const {
  CHECK_USER(tokenizer, "--model {}: comes without a tokenizer; name one with --tokenizer", options.model);
  CHECK_USER(tokenizer->vocab_size() <= config.vocab, "the tokenizer has {} tokens, but the model {}: it belongs to another model", tokenizer->vocab_size(),
             config.vocab);
  return *tokenizer;
}

ResultWriter::ResultWriter(const Session& session, const std::string& out, std::size_t n_items) : session_(session), items_(n_items) {
  Stream stream;
  on_first_rank(session.grid.world(), stream, [&] {
    file_ = out.empty() ? stdout : std::fopen(out.c_str(), "w");
    CHECK_USER(file_, "--out {}: cannot be written ({})", out, std::strerror(errno));
  });
}

ResultWriter::~ResultWriter() {
  if (file_ && file_ != stdout) std::fclose(file_);
}

bool ResultWriter::mine() const { return session_.grid.replica().rank() == 0; }

void ResultWriter::put(std::size_t item, std::string text) {
  items_[item] = std::move(text);
  if (session_.first()) flush();
}

void ResultWriter::flush() {
  const std::size_t before = printed_;
  while (printed_ < items_.size() && items_[printed_]) {
    const std::string& text = *items_[printed_++];
    CHECK_USER(std::fwrite(text.data(), 1, text.size(), file_) == text.size(), "the results cannot be written ({})", std::strerror(errno));
  }
  if (printed_ != before) CHECK_USER(std::fflush(file_) == 0, "the results cannot be written ({})", std::strerror(errno));
}

void ResultWriter::finish() {
  Communicator& world = session_.grid.world();
  if (session_.grid.shape().dp > 1) {
    // Each replica's first rank brings its items: number, size, bytes.
    std::string packed;
    for (std::size_t i = 0; mine() && i < items_.size(); ++i) {
      if (!items_[i]) continue;
      const std::uint64_t head[2] = {i, items_[i]->size()};
      packed.append(reinterpret_cast<const char*>(head), sizeof head).append(*items_[i]);
    }
    Stream stream;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(world.size()));
    const auto size = static_cast<std::int64_t>(packed.size());
    world.all_gather(View(counts.data(), Dims{world.size()}), ConstView(&size, Dims{1}), stream);
    std::int64_t total = 0;
    for (std::int64_t c : counts) total += c;
    std::string all(static_cast<std::size_t>(total), '\0');
    world.all_gather(View(static_cast<void*>(all.data()), DType::u8, {total}), ConstView(static_cast<const void*>(packed.data()), DType::u8, {size}), counts, stream);
    for (std::size_t at = 0; session_.first() && at < all.size();) {
      std::uint64_t head[2];
      std::memcpy(head, all.data() + at, sizeof head);
      items_[head[0]] = all.substr(at + sizeof head, head[1]);
      at += sizeof head + head[1];
    }
  }
  if (session_.first()) flush();
}

}  // namespace weft
