#include <charconv>
#include <cstdio>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "formats/checkpoint_weights.h"
#include "formats/families/families.h"
#include "formats/hf_export.h"
#include "formats/narrow.h"
#include "formats/open_model.h"
#include "io/files.h"
#include "io/hub_cache.h"
#include "io/weights/safetensors.h"
#include "kernels/ops.h"
#include "text/files/tokenizer_files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::vector<std::string> positional;
  std::string tokenizer, dtype, max_shard_size = "5GB";
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0;
  bool overwrite = false, json = false;

  void visit(FieldVisitor& v) {
    v.group("model");
    v.field("tokenizer", tokenizer, "tokenizer directory, when it does not come with SRC");
    v.field(
        "dtype", dtype, kHeldDTypes,
        "how DST stores weights (unset: each tensor as SRC does, a GGUF file's blocks as fp32)");
    v.group("output");
    v.field("max_shard_size", max_shard_size,
            "the largest file of a HF directory: 5GB, 200MB, 1GiB or bytes");
    v.field("overwrite", overwrite, "replace DST where it is a model already");
    v.field("json", json, "a JSON line on stdout");
    v.group("parallel");
    v.field("tp", tp, kGridAxis, "of the ranks that run this; DST does not depend on the grid");
    v.field("pp", pp, kGridAxis, "likewise");
    v.field("dp", dp, kGridAxisOrLeft, "likewise");
    v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
  }
};

// "5GB", as transformers spells it, or bytes.
std::int64_t size_bytes(const std::string& text) {
  constexpr std::pair<const char*, double> kUnits[] = {
      {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}, {"KiB", 0x1p10},
      {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"", 1.0}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(static_cast<const char*>(end), text.data() + text.size());
  for (const auto& [name, bytes] : kUnits)
    if (error == std::errc() && unit == name && number > 0 && number * bytes >= 1 &&
        number * bytes < 1e18)
      return static_cast<std::int64_t>(number * bytes);
  user_error(
      "--max-shard-size is '{}'; allowed: a size such as 5GB, 200MB or 1GiB, or a number of bytes",
      text);
}

struct Written {
  std::size_t tensors = 0;
  std::int64_t bytes = 0;
};

// What a tokenizer is made of in a Hugging Face directory.
constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "vocab.txt",
                                           "tokenizer.model",
                                           "spiece.model",
                                           "sentencepiece.bpe.model",
                                           "chat_template.jinja",
                                           "chat_template.json"};

void copy_if_there(const fs::path& from, const fs::path& to, const char* name) {
  std::error_code error;
  if (fs::exists(from / name, error)) copy_over(from / name, to / name);
}

// A file's own tokenizer goes over byte for byte; another's is written as Weft understands it.
void write_tokenizer(const ConvertOptions& o, const StoredModel& from, const fs::path& dir) {
  std::error_code error;
  const std::string path = o.tokenizer.empty() ? from.path() : o.tokenizer;
  const std::optional<Tokenizer> tokenizer =
      open_tokenizer(from, o.tokenizer);  // so that one which is damaged is found now
  if (!tokenizer)
    log_warning("{}: comes without a tokenizer; name one with --tokenizer", from.path());
  if (fs::is_directory(path, error)) {
    for (const char* name : kTokenizerFiles) copy_if_there(path, dir, name);
    if (fs::is_directory(fs::path(path) / "additional_chat_templates", error))
      copy_folder(fs::path(path) / "additional_chat_templates", dir / "additional_chat_templates");
  } else if (tokenizer) {
    save_tokenizer(*tokenizer, dir);
  }
}

Written write_directory(const ConvertOptions& o, const StoredModel& from, const fs::path& dir,
                        Stream& stream) {
  const ModelConfig& config = from.config();
  const std::optional<DType> asked = dtype_of(o.dtype);
  const std::unique_ptr<WeightSource> weights = from.weights();
  std::vector<TensorToWrite> tensors;
  std::string held_name;
  std::vector<float> held;  // the parameter whose parts are being written
  Written written;
  std::map<DType, std::int64_t> elems;
  for (const StoredPart& part : stored_parts(config)) {
    const DType dtype = asked.value_or(weights->dtype(part, config));
    const auto fill = [&, part, dtype](std::span<std::byte> out) {
      if (held_name != part.parameter.name) held = weights->read(part.parameter, config, stream);
      held_name = part.parameter.name;
      check_fits(held, dtype, part.name);
      if (dtype == DType::f32)
        return lay_out_part(part, config, held.data(), reinterpret_cast<float*>(out.data()));
      std::vector<float> wide(static_cast<std::size_t>(part.shape.elems()));
      lay_out_part(part, config, held.data(), wide.data());
      convert(View(out.data(), dtype, part.shape), ConstView(wide.data(), part.shape), stream);
    };
    tensors.push_back({part.name, dtype, part.shape, fill});
    written.bytes += part.shape.elems() * static_cast<std::int64_t>(dtype_bytes(dtype));
    elems[dtype] += part.shape.elems();
  }
  const std::vector<CarriedTensor> carried = weights->carried(config);
  for (const CarriedTensor& t : carried) check_fits(t.values, asked.value_or(t.dtype), t.name);
  const std::size_t parameters = tensors.size();
  add_carried(tensors, carried, asked, stream);
  for (std::size_t i = parameters; i < tensors.size(); ++i)
    written.bytes +=
        tensors[i].shape.elems() * static_cast<std::int64_t>(dtype_bytes(tensors[i].dtype));
  written.tensors = tensors.size();
  const auto most = std::max_element(
      elems.begin(), elems.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  write_hf_config_files(config, dir, most->first);
  write_safetensors(dir, tensors, size_bytes(o.max_shard_size), true);
  if (const auto generation = from.generation())
    write_file_atomically(dir / "generation_config.json", generation->text);
  write_tokenizer(o, from, dir);
  const std::size_t kept =
      parameters + static_cast<std::size_t>(std::count_if(carried.begin(), carried.end(),
                                                          [](const auto& t) { return t.found; }));
  if (weights->n_tensors() > kept)
    log_info(
        "{} tensors of {} are no part of the {} (buffers, copies of tied weights, other heads) and "
        "were left out",
        weights->n_tensors() - kept, from.path(), head_name(config.head));
  return written;
}

Written write_checkpoint(const ConvertOptions& o, const StoredModel& from, const fs::path& file,
                         Stream& stream) {
  CHECK_USER(dtype_of(o.dtype).value_or(DType::f32) == DType::f32,
             "--dtype is {}, but a Weft checkpoint holds fp32; allowed: fp32", o.dtype);
  const ModelConfig& config = from.config();
  const std::unique_ptr<WeightSource> weights = from.weights();
  const std::optional<Tokenizer> tokenizer = open_tokenizer(from, o.tokenizer);
  if (!tokenizer)
    log_warning("{}: comes without a tokenizer; name one with --tokenizer", from.path());
  for (const CarriedTensor& t : weights->carried(config))
    if (t.found && !is_frequencies(t.name))
      log_info("{} is no parameter and was left out: a checkpoint holds parameters alone", t.name);
  const auto generation = from.generation();
  Written written;
  write_weights_checkpoint(
      file, config,
      {.tokenizer = tokenizer ? tokenizer->to_json() : "",
       .generation = generation ? generation->text : ""},
      [&](const Parameter& p) {
        ++written.tensors;
        written.bytes += p.shape.elems() * static_cast<std::int64_t>(sizeof(float));
        return weights->read(p, config, stream);
      },
      stream.n_threads());
  return written;
}

// Whether one is the other or within it.
bool within(const fs::path& inner, const fs::path& outer) {
  const auto [at, unused] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return at == outer.end();
}

void check_places(const ConvertOptions& o, const std::string& from, const fs::path& to,
                  bool to_checkpoint) {
  CHECK_USER(
      to.extension() != ".gguf" && to.extension() != ".safetensors",
      "DST {}: allowed: a folder (Hugging Face's layout) or a file that ends in .h5 (a checkpoint)",
      to.string());
  std::error_code error;
  if (!fs::exists(to, error)) return;
  CHECK_USER(o.overwrite, "DST {}: is there already; --overwrite replaces it", to.string());
  const fs::path real_from = fs::canonical(from, error), real_to = fs::canonical(to, error);
  CHECK_USER(!within(real_from, real_to) && !within(real_to, real_from),
             "DST {}: is SRC, or one is within the other; choose another place", to.string());
  const bool folder = fs::is_directory(to, error);
  if (to_checkpoint)
    CHECK_USER(!folder, "DST {}: is a folder, not a checkpoint", to.string());
  else
    CHECK_USER(folder && (fs::exists(to / "config.json", error) || fs::is_empty(to, error)),
               "DST {}: --overwrite replaces a model's folder only, and this has no config.json",
               to.string());
}

}  // namespace

void run_convert(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  ConvertOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {
      "convert",
      "Turns a model into another form: HF directory to checkpoint (.h5) and back, GGUF to either.",
      &o.positional, "SRC DST"};
  if (!parse_options(line, invocation.args, fields, world->rank() == 0)) return;
  CHECK_USER(o.positional.size() == 2, "weft convert: name SRC and DST");
  resolve_grid(o.tp, o.pp, o.dp, world->size());
  const std::string source = find_model(o.positional[0], "SRC");
  fs::path to = fs::path(o.positional[1]).lexically_normal();
  if (!to.has_filename()) to = to.parent_path();
  Stream stream({}, resolve_threads(o.threads, invocation.mpi.ranks_on_host()));
  on_first_rank(
      *world, stream,
      [&] {  // one file is read, another written: the other ranks would only wait for the same disk
        const StoredModel from = open_model(source, "SRC");
        if (const std::string warning = warning_of_untied(from.config(), source); !warning.empty())
          log_warning("{}", warning);
        const bool to_checkpoint = asks_for_checkpoint(to);
        check_places(o, source, to, to_checkpoint);
        size_bytes(o.max_shard_size);
        Written written;
        if (to_checkpoint) {
          if (to.has_parent_path()) make_folder(to.parent_path());
          written = write_checkpoint(o, from, to, stream);
        } else {
          FolderBeside folder(to);
          written = write_directory(o, from, folder.path(), stream);
          folder.put_in_place();
        }
        if (o.json)
          fmt::print(
              "{}\n",
              json_text(OrderedJson({{"tensors", written.tensors}, {"bytes", written.bytes}})));
        else
          log_info("{}: {} tensors, {:.1f} MB", to.string(), written.tensors,
                   1e-6 * static_cast<double>(written.bytes));
      });
}

}  // namespace weft
