#include "cli/session.h"

#include <omp.h>
#include <unistd.h>

#include <cstring>
#include <utility>

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

namespace {

// Every rank's stdin becomes what rank 0's holds.
void share_stdin(Communicator& world) {
  Stream stream;
  std::string text;
  on_first_rank(world, stream, [&] {
    std::vector<char> block(1 << 16);
    while (const std::size_t n = std::fread(block.data(), 1, block.size(), stdin)) text.append(block.data(), n);
    CHECK_USER(!std::ferror(stdin), "stdin cannot be read ({})", std::strerror(errno));
  });
  auto size = static_cast<std::int64_t>(text.size());
  world.broadcast(View(&size, Dims{1}), 0, stream);
  text.resize(static_cast<std::size_t>(size));
  world.broadcast(View(static_cast<void*>(text.data()), DType::u8, {size}), 0, stream);
  agree(world, caught([&] {
    std::FILE* copy = std::tmpfile();
    CHECK_USER(copy, "stdin cannot be kept for all ranks: no temporary file ({})", std::strerror(errno));
    const bool kept = std::fwrite(text.data(), 1, text.size(), copy) == text.size() && std::fflush(copy) == 0 && ::lseek(fileno(copy), 0, SEEK_SET) == 0 &&
                      ::dup2(fileno(copy), STDIN_FILENO) >= 0;
    const int reason = errno;
    std::fclose(copy);
    CHECK_USER(kept, "stdin cannot be kept for all ranks ({})", std::strerror(reason));
  }), stream);
}

}  // namespace

std::vector<Document> read_texts(const TextOptions& o, Communicator& world) {
  if (o.in == "-" && world.size() > 1) share_stdin(world);
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
  const int threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  return threads;
}

GridShape checked_grid(const ModelOptions& o, const ModelConfig& c, int ranks) {
  const GridShape shape = resolve_grid(o.tp, o.pp, o.dp, ranks);
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
      memory_bytes(host_memory_bytes() / invocation.mpi.ranks_on_host()),
      ctx{.grid = grid, .stream = stream, .precision = Precision::fp32, .clock = nullptr, .observer = {}} {
  check_device(options.device);
  CHECK_USER(options.dtype.empty() || options.dtype == "fp32" || options.dtype == "bf16" || options.dtype == "fp16",
             "--dtype is '{}'; allowed: fp32, bf16, fp16", options.dtype);
}

void Session::load_weights() {
  const DType dtype = options.dtype == "bf16" ? DType::bf16 : options.dtype == "fp16" ? DType::f16 : DType::f32;
  agree(grid.world(), caught([&] {
    const auto planned = static_cast<double>(Parameters::plan_bytes(config, grid.shape(), grid.tp().rank(), grid.pp().rank(), dtype, Purpose::inference));
    CHECK_USER(planned <= static_cast<double>(memory_bytes), "--model {}: its weights take {:.1f} GB on a rank, whose share of the host's memory is {:.1f} GB",
               options.model, planned / 1e9, static_cast<double>(memory_bytes) / 1e9);
    parameters.emplace(config, grid, dtype, Purpose::inference);
    if (!is_checkpoint(options.model)) load_hf_weights(*parameters, config, options.model, stream);
  }), stream);
  if (is_checkpoint(options.model)) load_checkpoint(ctx, options.model, *parameters, config);
}

const Tokenizer& Session::need_tokenizer() const {
  CHECK_USER(tokenizer, "--model {}: comes without a tokenizer; name one with --tokenizer", options.model);
  CHECK_USER(tokenizer->vocab_size() <= config.vocab, "the tokenizer has {} tokens, but the model {}: it belongs to another model", tokenizer->vocab_size(),
             config.vocab);
  return *tokenizer;
}

ResultWriter::ResultWriter(const Session& session, const std::string& out, std::size_t n_items) : session_(session), items_(n_items), out_(out) {
  Stream stream;
  on_first_rank(session.grid.world(), stream, [&] {
    std::error_code error;
    CHECK_USER(!std::filesystem::is_directory(out, error), "--out {}: is a folder, not a file", out);
    file_ = out.empty() ? stdout : std::fopen((out + ".tmp").c_str(), "w");
    CHECK_USER(file_, "--out {}: cannot be written ({})", out, std::strerror(errno));
  });
}

ResultWriter::~ResultWriter() {
  if (!file_ || file_ == stdout) return;
  std::fclose(file_);
  std::remove((out_ + ".tmp").c_str());
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
    if (failure_.empty() && std::fwrite(text.data(), 1, text.size(), file_) != text.size()) failure_ = std::strerror(errno);
  }
  // The other ranks are at work, so that a full disk is said when all come together again.
  if (printed_ != before && failure_.empty() && std::fflush(file_) != 0) failure_ = std::strerror(errno);
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
  Stream stream;
  on_first_rank(world, stream, [&] {
    flush();
    CHECK_USER(failure_.empty(), "{}: the results cannot be written ({})", out_.empty() ? "stdout" : out_, failure_);
    if (out_.empty()) return;
    const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
    CHECK_USER(closed, "{}: the results cannot be written ({})", out_, std::strerror(errno));
    put_in_place(out_ + ".tmp", out_);
  });
}

}  // namespace weft
