#include "formats/checkpoint_file.h"

#include "core/check.h"
#include "core/checksum.h"
#include "core/damaged.h"
#include "formats/families/families.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFormat = 1;

CheckpointHeader header_of(const fs::path& file) {
  const Hdf5File in = Hdf5File::open(file);
  const Json json = read_header(in);
  const JsonReader reader(json, file.string());
  CheckpointHeader header;
  header.config = config_from_json(json.value("config", Json::object()), file.string());
  header.state.step = reader.integer("step", 0, INT64_MAX);
  header.state.cursor = reader.integer("cursor", 0, INT64_MAX);
  header.state.seed = reader.integer("seed", INT64_MIN, INT64_MAX);
  header.state.identity = OrderedJson(json.value("run", Json()));
  header.checksum = text_checksum(json_text(json));
  header.state.tokenizer = in.read_text("/tokenizer");
  CHECK_WHOLE(
      json.value("tokenizer_checksum", std::uint64_t{0}) == text_checksum(header.state.tokenizer),
      "{}: the checkpoint's tokenizer is damaged (its checksum differs)", file.string());
  if (json.contains("generation_checksum")) {
    header.state.generation = in.read_text("/generation");
    CHECK_WHOLE(json["generation_checksum"] == text_checksum(header.state.generation),
                "{}: the checkpoint's generation_config.json is damaged (its checksum differs)",
                file.string());
  }
  return header;
}

}  // namespace

CheckpointHeader read_checkpoint_header(const fs::path& file) {
  return reading_json(file.string(), [&] { return header_of(file); });
}

std::vector<Parameter> stored_parameters(const ModelConfig& config) {
  std::vector<Parameter> list = parameters_of(config);
  std::erase_if(list, [](const Parameter& p) { return !p.tied_to.empty(); });
  return list;
}

std::vector<FileRun> file_runs(const std::vector<Run>& runs) {
  std::vector<FileRun> list;
  for (const Run& r : runs) list.push_back({r.global_begin, r.local_begin, r.size});
  return list;
}

std::string checkpoint_header(const ModelConfig& config, const RunState& state,
                              const std::vector<std::int64_t>& sums) {
  OrderedJson json = {{"kind", "weft checkpoint"},
                      {"format_version", kFormat},
                      {"step", state.step},
                      {"cursor", state.cursor},
                      {"seed", state.seed}};
  if (!state.identity.is_null()) json["run"] = state.identity;
  json["tokenizer_checksum"] = text_checksum(state.tokenizer);
  if (!state.generation.empty()) json["generation_checksum"] = text_checksum(state.generation);
  json["config"] = write_hf_config(config);
  json["tensors"] = OrderedJson::object();
  std::size_t at = 0;
  for (const Parameter& p : stored_parameters(config)) {
    json["tensors"][p.name] = {{"shape", std::vector<std::int64_t>(p.shape.begin(), p.shape.end())},
                               {"checksums", {sums[at], sums[at + 1], sums[at + 2]}}};
    at += 3;
  }
  return json_text(json);
}

void write_texts(Hdf5File& out, const std::string& header, const RunState& state) {
  out.write_text("/header", header);
  out.set_attribute("/header", "checksum", static_cast<std::int64_t>(text_checksum(header)));
  out.write_text("/tokenizer", state.tokenizer);
  if (!state.generation.empty()) out.write_text("/generation", state.generation);
}

Json read_header(const Hdf5File& in) {
  const std::string name = in.path().string();
  CHECK_USER(in.exists("/header"), "{}: is not a Weft checkpoint (it has no /header)", name);
  const std::string text = in.read_text("/header");
  CHECK_WHOLE(in.has_attribute("/header", "checksum") &&
                  static_cast<std::uint64_t>(in.integer_attribute("/header", "checksum")) ==
                      text_checksum(text),
              "{}: the checkpoint's header is damaged (its checksum differs)", name);
  Json json;
  try {
    json = parse_json(text);
  } catch (const Json::exception&) {  // said below
  }
  CHECK_USER(json.is_object() && json.value("kind", "") == "weft checkpoint",
             "{}: is not a Weft checkpoint", name);
  CHECK_USER(json.value("format_version", std::int64_t{0}) == kFormat,
             "{}: is a checkpoint of format {}; this weft reads {}", name,
             json.value("format_version", std::int64_t{0}), kFormat);
  return json;
}

std::int64_t checksum_of(const Json& header, const std::string& tensor, std::size_t kind,
                         const fs::path& file) {
  return reading_json(file.string(), [&] {
    return header.at("tensors").at(tensor).at("checksums").at(kind).get<std::int64_t>();
  });
}

}  // namespace weft
