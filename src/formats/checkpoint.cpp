#include "formats/checkpoint.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstring>
#include <functional>

#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/damaged.h"
#include "core/hardware.h"
#include "core/parallel.h"
#include "formats/families.h"
#include "formats/narrow.h"
#include "io/files.h"
#include "io/hdf5/hdf5.h"
#include "io/json.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFormat = 1;

// The three tensors that a checkpoint keeps of each parameter.
struct Kind {
  const char* group;
  View LocalParameter::*tensor;
};
constexpr Kind kKinds[] = {{"/parameters/", &LocalParameter::weight},
                           {"/moments/m/", &LocalParameter::m},
                           {"/moments/v/", &LocalParameter::v}};

// Σ mix(global index, bits) over the runs, for fp32 elements; does not depend on their order.
std::uint64_t elements_checksum(const float* data, const std::vector<Run>& runs, int n_threads) {
  std::atomic<std::uint64_t> sum = 0;
  for (const Run& run : runs) {
    parallel_blocks(run.size, 1 << 16, n_threads, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t part = 0;
      for (std::int64_t i = begin; i < end; ++i)
        part += element_checksum(static_cast<std::uint64_t>(run.global_begin + i),
                                 std::bit_cast<std::uint32_t>(data[run.local_begin + i]));
      sum += part;
    });
  }
  return sum;
}

// What this rank answers for of a parameter, in its own memory.
std::vector<Run> owned_runs(const LocalParameter& p, const ModelConfig& config,
                            const GridShape& shape, int tp_rank) {
  const Slice part = {p.info.shape, p.slice.whole() ? 0 : p.slice.dim,
                      owned_ranges(p.info, config, shape.tp, tp_rank)};
  return runs_within(part, p.slice);
}

std::vector<FileRun> file_runs(const std::vector<Run>& runs) {
  std::vector<FileRun> list;
  for (const Run& r : runs) list.push_back({r.global_begin, r.local_begin, r.size});
  return list;
}

// Parameters with values of their own, in the registry's order, the same on every rank.
std::vector<Parameter> stored_parameters(const ModelConfig& config) {
  std::vector<Parameter> list = parameters_of(config);
  std::erase_if(list, [](const Parameter& p) { return !p.tied_to.empty(); });
  return list;
}

// This rank's part of every tensor's checksum, [parameter][kind] flattened; summed over a replica
// it is the file's.
std::vector<std::int64_t> checksums(const Context& ctx, const Parameters& parameters,
                                    const ModelConfig& config) {
  std::vector<std::int64_t> sums;
  for (const Parameter& p : stored_parameters(config))
    for (const Kind& kind : kKinds) {
      const LocalParameter* local = parameters.find(p.name);
      std::uint64_t sum = 0;
      if (local)
        sum = elements_checksum((local->*kind.tensor).as<float>(),
                                owned_runs(*local, config, ctx.grid.shape(), ctx.grid.tp().rank()),
                                ctx.stream.n_threads());
      sums.push_back(static_cast<std::int64_t>(sum));
    }
  ctx.grid.replica().all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}),
                                ReduceOp::sum, ctx.stream);
  return sums;
}

// This rank's own weights and moments, all of them.
std::int64_t local_checksum(const Context& ctx, const Parameters& parameters) {
  std::uint64_t sum = 0, place = 0;
  for (const LocalParameter& p : parameters.list())
    for (const Kind& kind : kKinds)
      if (const View x = p.*kind.tensor; !x.empty())
        sum += element_checksum(
            place++, elements_checksum(x.as<float>(), {{0, 0, x.elems()}}, ctx.stream.n_threads()));
  return static_cast<std::int64_t>(sum);
}

std::string header_text(const ModelConfig& config, const RunState& state,
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
  return json.dump();
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

// What the header says of a dataset of the tensor.
std::int64_t checksum_of(const Json& header, const std::string& tensor, std::size_t kind,
                         const fs::path& file) {
  return reading_json(file.string(), [&] {
    return header.at("tensors").at(tensor).at("checksums").at(kind).get<std::int64_t>();
  });
}

std::int64_t file_bytes(const ModelConfig& config, const RunState& state) {
  return count_parameters(config) * 12 +
         static_cast<std::int64_t>(state.tokenizer.size() + state.generation.size()) + (1 << 20);
}

void write_texts(Hdf5File& out, const std::string& header, const RunState& state) {
  out.write_text("/header", header);
  out.set_attribute("/header", "checksum", static_cast<std::int64_t>(text_checksum(header)));
  out.write_text("/tokenizer", state.tokenizer);
  if (!state.generation.empty()) out.write_text("/generation", state.generation);
}

// What this rank writes into a checkpoint's datasets.
struct DatasetSlice {
  std::string dataset;
  ConstView values;
  std::vector<FileRun> runs;
};
std::vector<DatasetSlice> own_slices(const Context& ctx, const Parameters& parameters,
                                     const ModelConfig& config) {
  std::vector<DatasetSlice> slices;
  for (const Parameter& p : stored_parameters(config))
    if (const LocalParameter* local = parameters.find(p.name))
      for (const Kind& kind : kKinds)
        slices.push_back(
            {kind.group + p.name, local->*kind.tensor,
             file_runs(owned_runs(*local, config, ctx.grid.shape(), ctx.grid.tp().rank()))});
  return slices;
}

// A file whose datasets wait to be filled.
void create_checkpoint(const fs::path& file, const ModelConfig& config, const std::string& header,
                       const RunState& state) {
  Hdf5File out = Hdf5File::create(file);
  write_texts(out, header, state);
  for (const Parameter& p : stored_parameters(config))
    for (const Kind& kind : kKinds) out.create_dataset(kind.group + p.name, DType::f32, p.shape);
  out.close();
}

// Collective over the replica, whose rank 0 names the file.
void fill_checkpoint(const Context& ctx, const fs::path& file, const Parameters& parameters,
                     const ModelConfig& config) {
  Hdf5File::fill_together(file, ctx.grid.replica(), ctx.stream, [&](Hdf5File& out) {
    for (const DatasetSlice& slice : own_slices(ctx, parameters, config))
      out.write(slice.dataset, slice.values, slice.runs);
  });
}

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
  header.checksum = text_checksum(json.dump());
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

bool is_checkpoint(const fs::path& file) {
  return file.extension() == ".h5" || file.extension() == ".hdf5";
}

std::string generation_text(const fs::path& model) {
  if (model.empty()) return "";  // a fresh model: not the file of whatever folder we are in
  if (is_checkpoint(model)) return read_checkpoint_header(model).state.generation;
  std::error_code error;
  const fs::path file = model / "generation_config.json";
  return fs::is_regular_file(file, error) ? read_text_file(file) : "";
}

void check_replicas(const Context& ctx, const Parameters& parameters) {
  const Grid& grid = ctx.grid;
  if (grid.shape().dp == 1) return;
  const std::int64_t sum = local_checksum(ctx, parameters);
  std::int64_t first = sum;
  grid.dp().broadcast(View(&first, Dims{1}), 0, ctx.stream);
  throw_together(grid.world(), failure_of([&] {
                   CHECK_MACHINE(
                       sum == first,
                       "rank {} on host {} has other weights than replica 0; its memory, its "
                       "processor or the network is at fault; nothing was saved of this step",
                       grid.world().rank(), host_name());
                 }),
                 ctx.stream);
}

void save_checkpoint(const Context& ctx, const fs::path& file, const Parameters& parameters,
                     const ModelConfig& config, const RunState& state) {
  Communicator& world = ctx.grid.world();
  const bool writes = ctx.grid.dp().rank() == 0;
  std::optional<FileBeside> beside;  // rank 0's
  // Asked for first: HDF5 and MPI-IO fail loudly when a write does.
  on_first_rank(world, ctx.stream,
                [&] { beside.emplace(file).reserve(file_bytes(config, state)); });
  auto failure = failure_of([&] {
    std::vector<std::int64_t> sums;
    if (writes) sums = checksums(ctx, parameters, config);
    on_first_rank(world, ctx.stream, [&] {
      create_checkpoint(beside->path(), config, header_text(config, state, sums), state);
    });
    throw_together(world, failure_of([&] {
                     if (writes)
                       fill_checkpoint(ctx, beside ? beside->path() : "", parameters, config);
                   }),
                   ctx.stream);
  });
  if (failure) {
    failure->text =
        fmt::format("{}: the checkpoint could not be written ({})", file.string(), failure->text);
    rethrow(*failure);
  }
  on_first_rank(world, ctx.stream, [&] { beside->put_in_place(); });
}

void load_checkpoint(const Context& ctx, const fs::path& file, Parameters& parameters,
                     const ModelConfig& config) {
  const std::vector<Parameter> stored = stored_parameters(config);
  std::vector<std::int64_t> sums(stored.size() * 3), is_read(stored.size());
  const bool training = !parameters.list().empty() && !parameters.list()[0].m.empty();
  const std::size_t kinds = training ? 3 : 1;
  Json header;
  std::vector<float> wide;
  read_together(ctx.grid.world(), ctx.stream, [&] {
    const Hdf5File in = Hdf5File::open(file);
    header = read_header(in);
    const std::string difference = first_difference(
        config_from_json(header.value("config", Json::object()), file.string()), config);
    CHECK_USER(difference.empty(), "{}: is a checkpoint of another model: {}", file.string(),
               difference);
    for (LocalParameter& p : parameters.list()) {
      const std::string& name = p.info.tied_to.empty() ? p.info.name : p.info.tied_to;
      const auto place = static_cast<std::size_t>(
          std::find_if(stored.begin(), stored.end(),
                       [&](const Parameter& q) { return q.name == name; }) -
          stored.begin());
      CHECK_USER(place < stored.size(), "{}: is a checkpoint of a {}, which has no {}",
                 file.string(), head_name(config.head), name);
      is_read[place] = 1;
      const std::vector<FileRun> all = file_runs(runs(p.slice));
      for (std::size_t k = 0; k < kinds; ++k) {
        const std::string dataset = kKinds[k].group + name;
        CHECK_WHOLE(in.shape(dataset) == p.info.shape, "{}: dataset {} is {}, expected {}",
                    file.string(), dataset, in.shape(dataset).str(), p.info.shape.str());
        const View to = p.*kKinds[k].tensor;
        View read_into = to;
        if (to.dtype() != DType::f32) {
          wide.resize(static_cast<std::size_t>(to.elems()));
          read_into = View(wide.data(), to.shape());
        }
        in.read(dataset, read_into, all);
        if (p.info.tied_to.empty())
          sums[place * 3 + k] = static_cast<std::int64_t>(elements_checksum(
              read_into.as<float>(), owned_runs(p, config, ctx.grid.shape(), ctx.grid.tp().rank()),
              ctx.stream.n_threads()));
        if (to.dtype() != DType::f32)
          narrow(to, read_into, fmt::format("{} of {}", dataset, file.string()), ctx.stream);
      }
    }
  });
  ctx.grid.replica().all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}),
                                ReduceOp::sum, ctx.stream);
  ctx.grid.replica().all_reduce(
      View(is_read.data(), Dims{static_cast<std::int64_t>(is_read.size())}), ReduceOp::max,
      ctx.stream);
  read_together(ctx.grid.world(), ctx.stream, [&] {
    for (std::size_t i = 0; i < stored.size(); ++i)
      for (std::size_t k = 0; k < kinds && is_read[i] != 0; ++k)
        CHECK_WHOLE(checksum_of(header, stored[i].name, k, file) == sums[i * 3 + k],
                    "{}: dataset {}{} is damaged (its checksum differs)", file.string(),
                    kKinds[k].group, stored[i].name);
  });
  parameters.refresh_bf16(ctx.stream);
}

struct CheckpointWeights::Impl {
  Hdf5File file;
  Json header;
};

CheckpointWeights::CheckpointWeights(const fs::path& file)
    : impl_(std::make_unique<Impl>(Impl{Hdf5File::open(file), Json()})) {
  impl_->header = read_header(impl_->file);
}
CheckpointWeights::~CheckpointWeights() = default;

std::vector<float> CheckpointWeights::read(const Parameter& p, int n_threads) const {
  const Hdf5File& in = impl_->file;
  const std::string dataset = kKinds[0].group + p.name;
  CHECK_WHOLE(in.shape(dataset) == p.shape, "{}: dataset {} is {}, expected {}", in.path().string(),
              dataset, in.shape(dataset).str(), p.shape.str());
  std::vector<float> values(static_cast<std::size_t>(p.shape.elems()));
  in.read_all(dataset, View(values.data(), p.shape));
  const std::uint64_t sum = elements_checksum(values.data(), {{0, 0, p.shape.elems()}}, n_threads);
  CHECK_WHOLE(checksum_of(impl_->header, p.name, 0, in.path()) == static_cast<std::int64_t>(sum),
              "{}: dataset {} is damaged (its checksum differs)", in.path().string(), dataset);
  return values;
}

void write_weights_checkpoint(const fs::path& file, const ModelConfig& config,
                              const std::string& tokenizer, const std::string& generation,
                              const std::function<std::vector<float>(const Parameter&)>& weight,
                              int n_threads) {
  const RunState state = {
      .step = 0, .cursor = 0, .seed = 0, .tokenizer = tokenizer, .generation = generation};
  FileBeside beside(file);
  beside.reserve(count_parameters(config) * 4 +
                 static_cast<std::int64_t>(tokenizer.size() + generation.size()) + (1 << 20));
  Hdf5File out = Hdf5File::create(beside.path());
  std::vector<std::int64_t> sums;
  for (const Parameter& p : stored_parameters(config)) {
    const std::vector<Run> all = {{0, 0, p.shape.elems()}};
    for (const Kind& kind : kKinds) {
      const bool moments = kind.tensor != &LocalParameter::weight;
      const std::vector<float> values =
          moments ? std::vector<float>(static_cast<std::size_t>(p.shape.elems())) : weight(p);
      sums.push_back(static_cast<std::int64_t>(elements_checksum(values.data(), all, n_threads)));
      if (moments) {
        out.create_zeros(kind.group + p.name, DType::f32, p.shape);
        continue;
      }
      out.create_dataset(kind.group + p.name, DType::f32, p.shape);
      out.write(kind.group + p.name, ConstView(values.data(), p.shape), file_runs(all));
    }
  }
  write_texts(out, header_text(config, state, sums), state);
  out.close();
  beside.put_in_place();
}

std::int64_t checkpoint_step(const fs::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view kBegin = "step-", kEnd = ".h5";
  if (name.size() < kBegin.size() + 8 + kEnd.size() || !name.starts_with(kBegin) ||
      !name.ends_with(kEnd))
    return -1;
  const char* begin = name.data() + kBegin.size();
  const char* end = name.data() + name.size() - kEnd.size();
  std::int64_t step = -1;
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && *begin != '-' ? step : -1;
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error))
    if (checkpoint_step(at->path()) >= 0) files.push_back(at->path());
  // A folder that cannot be read may hold everything.
  if (error && error != std::errc::no_such_file_or_directory)
    file_failure(folder, "the folder of checkpoints cannot be read", error.value());
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return checkpoint_step(a) > checkpoint_step(b);
  });
  return files;
}

fs::path checkpoint_name(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format("step-{:08}.h5", step);
}

}  // namespace weft
