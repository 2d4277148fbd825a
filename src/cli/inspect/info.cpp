#include <fmt/ranges.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "core/check.h"
#include "core/system/hardware.h"
#include "formats/families/families.h"
#include "formats/open_model.h"
#include "inspect/module_tree.h"
#include "io/hub_cache.h"
#include "kernels/peak.h"
#include "kernels/scratch.h"
#include "machine/gpu_choice.h"
#include "model/grid_check.h"
#include "model/inference/pass.h"

namespace weft {
namespace {

// No more than what it does something with: nothing is drawn at random here, and no text is read.
struct InfoOptions {
  std::vector<std::string> positional;
  std::string model, dtype, device, machine, gpu_map;
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0;
  bool json = false, show_config = false;

  void visit(FieldVisitor& v) {
    v.group("model");
    v.field("model", model, "HF directory, GGUF file or Weft checkpoint (.h5); the same as MODEL");
    v.field("dtype", dtype, kHeldDTypes, "how a rank holds the weights (unset: fp32)");
    v.field("tp", tp, kGridAxis, "tensor-parallel ranks of the grid that is asked about");
    v.field("pp", pp, kGridAxis, "pipeline-parallel ranks likewise");
    v.field("dp", dp, kGridAxisOrLeft, "data-parallel ranks likewise; a rank's share is the same");
    v.group("this machine");
    v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
    v.field("device", device, kDevices, kDeviceHelp);
    v.field("machine", machine,
            "its description: polaris, sophia, … or a .toml file (unset: what WEFT_MACHINE names)");
    v.field("gpu_map", gpu_map, kGpuMapHelp);
    v.group("output");
    v.field("json", json, "a JSON line on stdout");
    v.field("show_config", show_config,
            "the model's configuration, as transformers prints it; --config without a file too");
  }
};

// `--config` names a file of options everywhere; before anything that is none it asks for the
// model's.
std::vector<std::string> with_show_config(std::vector<std::string> args) {
  for (std::size_t i = 0; i < args.size(); ++i)
    if (args[i] == "--config" && (i + 1 == args.size() || !args[i + 1].ends_with(".toml")))
      args[i] = "--show-config";
  return args;
}

std::string megabytes(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes / 1e6)
                     : fmt::format("{:.2f} GB", bytes / 1e9);
}

void info_of_model(const InfoOptions& o, const Invocation& invocation) {
  const auto world = invocation.mpi.world();
  const StoredModel model = open_model(find_model(o.model, "MODEL"), "MODEL");
  const ModelConfig& c = model.config();
  const Device device = device_of(invocation, &c, o.device);  // says where it cannot be
  if (o.show_config) {
    if (world->rank() == 0) fmt::print("{}\n", printed_config(c));
    return;
  }
  // Any grid may be asked about, whatever ranks run this.
  const GridShape shape = {static_cast<int>(o.tp), static_cast<int>(o.pp), 1};
  check_grid(shape, c);
  const std::unique_ptr<WeightSource> source = model.weights();
  const std::string stored = source->format();
  const DType held = dtype_of(o.dtype).value_or(DType::f32), act = activation_dtype(device, held);
  std::size_t weights = 0, training = 0, page = 0;
  const std::size_t workspace = op_workspace_bytes(device);
  for (int t = 0; t < shape.tp; ++t)
    for (int p = 0; p < shape.pp; ++p) {
      const auto planned = [&](DType dtype, ParameterUse use) {
        return Parameters::plan_bytes(c, shape, t, p, dtype, use, device);
      };
      weights = std::max(weights, planned(held, ParameterUse::inference));
      page = std::max(page, InferencePass::page_bytes(c, act, shape, t, p));
      training = std::max(training, planned(DType::f32, ParameterUse::training));
    }
  if (world->rank() != 0) return;
  const std::int64_t n = count_parameters(c);
  const std::int64_t bytes = source->bytes(c);
  if (o.json) {
    OrderedJson line = shown_fields(c, {"family"});
    line["parameters"] = n;
    line.update(shown_fields(c, {"layers", "heads", "kv_heads", "width", "vocab", "context"}));
    line["dtype"] = stored;
    line["bytes"] = bytes;
    line["bytes_per_rank"] = weights;
    if (workspace > 0) line["workspace_bytes"] = workspace;
    if (c.causal) line["cache_bytes_per_page"] = page;
    fmt::print("{}\n", json_text(line));
    return;
  }
  fmt::print("{}\n\n", module_tree(c));
  fmt::print("{:<42} {:>16} {:>14}\n", "parameters by part", "elements", "share");
  for (const auto& [part, elems] : parameters_by_part(c))
    fmt::print("  {:<40} {:>16} {:>13.2f}%\n", part, elems,
               100.0 * static_cast<double>(elems) / static_cast<double>(n));
  fmt::print("  {:<40} {:>16} {:>13.2f}%\n\n", "total", n, 100.0);
  fmt::print(
      "family {}, {} layers, width {}, {} heads ({} KV) of {}, feed-forward {}, vocabulary {}, "
      "context {}\n",
      c.family, c.layers, c.width, c.heads, c.kv_heads, c.head_dim, c.ffn, c.vocab, c.context);
  fmt::print(
      "stored in {} ({}); on a grid of tp {} x pp {} a rank holds {} of weights in {}, or {} in "
      "fp32 with gradients and moments for training, activations not counted{}\n",
      stored, megabytes(static_cast<double>(bytes)), shape.tp, shape.pp,
      megabytes(static_cast<double>(weights)), dtype_name(held),
      megabytes(static_cast<double>(training)),
      workspace == 0 ? ""
                     : fmt::format("; a GPU's workspaces take {} more",
                                   megabytes(static_cast<double>(workspace))));
  if (c.causal)
    fmt::print(
        "keys and values of a text take {} there a page of {} tokens, {} for all of the context\n",
        megabytes(static_cast<double>(page)), kPageTokens,
        megabytes(static_cast<double>(page) * static_cast<double>(pages_of(c.context))));
}

std::optional<Machine> described(const InfoOptions& o) {
  return o.machine.empty() ? machine_of_run() : find_machine(o.machine);
}

// The GPU of each local rank of a node: one rank a GPU.
std::vector<std::int64_t> gpus_of_ranks(const Machine& m, const std::string& gpu_map) {
  GpuQuestion question = {.local_rank = 0,
                          .ranks_on_host = m.node.gpus,
                          .visible = visible_gpus(nullptr, m.node.gpus),
                          .map = parse_gpu_map(gpu_map)};
  std::vector<std::int64_t> gpus;
  for (std::int64_t& r = question.local_rank; r < m.node.gpus; ++r)
    gpus.push_back(gpu_of_local_rank(&m, question));
  return gpus;
}

// What its file states, none of it measured here.
void print_machine(const Machine& m, const std::string& gpu_map) {
  fmt::print("\nmachine   {}, {} nodes at {} ({})\n", m.name, m.node.count,
             m.site.empty() ? "a site without a name" : m.site, m.source);
  fmt::print("node      {}, {} cores, {} NUMA domains, {:g} GiB; {}\n", m.node.cpu, m.node.cores,
             m.node.numa_domains, m.node.memory_gib,
             m.node.gpus == 0 ? "no GPU"
                              : fmt::format("{} x {} of {:g} GiB", m.node.gpus, m.node.gpu,
                                            m.node.gpu_memory_gib));
  if (m.peaks.gpu_bf16_tflops > 0)
    fmt::print("a GPU     {:g} TFLOP/s bf16, {:g} GB/s from its memory, as stated\n",
               m.peaks.gpu_bf16_tflops, m.peaks.gpu_memory_gb_per_s);
  if (m.links.nics > 0)
    fmt::print("network   {} x {:g} GB/s a node\n", m.links.nics, m.links.nic_gb_per_s);
  if (m.node.gpus > 0)
    fmt::print("GPUs      of local ranks 0 to {}: {}\n", m.node.gpus - 1,
               fmt::join(gpus_of_ranks(m, gpu_map), ","));
  std::vector<std::string> queues;
  for (const MachineQueue& q : m.queues)
    if (q.direct && q.available) queues.push_back(q.name);
  if (!queues.empty()) fmt::print("queues    {}\n", fmt::join(queues, ", "));
}

void info_of_machine(const InfoOptions& o, const Invocation& invocation) {
  device_of(invocation, nullptr, o.device);  // says where it cannot be
  const std::optional<Machine> machine = described(o);
  CHECK_USER(machine || o.gpu_map.empty(),
             "weft info: --gpu-map is about the machine of --machine or WEFT_MACHINE; name one");
  if (machine) gpus_of_ranks(*machine, o.gpu_map);  // a wrong map is said before it takes long
  auto world = invocation.mpi.world();
  const int ranks = invocation.mpi.ranks_on_host(), threads = resolve_threads(o.threads, ranks);
  Stream stream({}, threads);
  // The best of some samples, which ranks that share cores take at the same time.
  const auto best = [&](auto probe) {
    BestRate rate;
    for (int i = 0; i < 5; ++i) {
      world->barrier();
      rate.sample(world->all_reduce_value(probe.sample(), ReduceOp::sum, stream));
    }
    return rate.rate();
  };
  const double flops = best(MatmulProbe(Precision::fp32, stream)),
               flops_bf16 = best(MatmulProbe(Precision::bf16, stream)),
               read = best(ReadProbe(stream));
  std::vector<std::int32_t> bound(static_cast<std::size_t>(world->size()));
  const std::int32_t mine = affinity_cpus();
  world->all_gather(View(bound.data(), Dims{world->size()}), ConstView(&mine, Dims{1}), stream);
  if (world->rank() != 0) return;
  if (o.json) {
    OrderedJson line({{"host", host_name()},
                      {"cpu", cpu_model()},
                      {"cores", host_cores()},
                      {"ranks", world->size()},
                      {"ranks_on_host", ranks},
                      {"threads", threads},
                      {"bound_cpus", bound},
                      {"matmul", matmul_library()},
                      {"matmul_flops", flops},
                      {"matmul_flops_bf16", flops_bf16},
                      {"read_bytes_per_s", read},
                      {"devices", OrderedJson::array()}});
    for (int i = 0; i < gpu_count(); ++i) line["devices"].push_back(fmt::format("cuda:{}", i));
    if (machine) {
      line["machine"] = {{"name", machine->name}, {"site", machine->site}};
      line["gpus_of_ranks"] = gpus_of_ranks(*machine, o.gpu_map);
    }
    fmt::print("{}\n", json_text(line));
    return;
  }
  fmt::print(
      "host      {} ({}, {} cores)\nranks     {}, {} on this host, {} threads each\nbinding  ",
      host_name(), cpu_model(), host_cores(), world->size(), ranks, threads);
  for (std::size_t r = 0; r < bound.size(); ++r)
    fmt::print(" rank {}: {} CPU{}", r, bound[r], bound[r] == 1 ? "" : "s");
  fmt::print(
      "\nmeasured  {:.1f} GFLOP/s fp32 and {:.1f} bf16 ({}, 1024 cubed), {:.1f} GB/s read from "
      "memory, over all ranks together\ndevices   {}\n",
      flops / 1e9, flops_bf16 / 1e9, matmul_library(), read / 1e9,
      gpu_count() == 0
          ? fmt::format("cpu only: {}", gpu_is_built_in() ? gpu_absence() : "CUDA is not built in")
          : fmt::format("cpu, {} GPU{}", gpu_count(), gpu_count() == 1 ? "" : "s"));
  if (machine) print_machine(*machine, o.gpu_map);
}

}  // namespace

void run_info(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  InfoOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {"info",
                            "Shows a model's module tree and sizes; without a model, this machine.",
                            &o.positional, "MODEL"};
  if (!parse_options(line, with_show_config(invocation.args), fields, world->rank() == 0)) return;
  CHECK_USER(o.positional.size() <= 1, "weft info: name one model");
  if (!o.positional.empty()) o.model = o.positional[0];
  CHECK_USER(o.model.empty() || (o.machine.empty() && o.gpu_map.empty()),
             "weft info: --machine and --gpu-map are about a machine; name no model with them");
  CHECK_USER(!o.model.empty() || (o.dtype.empty() && o.tp == 1 && o.pp == 1 && o.dp == 0),
             "weft info: --dtype, --tp, --pp and --dp are about a model; name one");
  if (o.model.empty())
    info_of_machine(o, invocation);
  else
    info_of_model(o, invocation);
}

}  // namespace weft
