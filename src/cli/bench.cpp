#include "benchmarks/bench.h"

#include <omp.h>

#include <cmath>

#include "cli/command.h"
#include "cli/options.h"
#include "core/check.h"
#include "core/hardware.h"
#include "core/log.h"
#include "kernels/ops.h"
#include "model/weight_source.h"
#include "train/checkpoint.h"

namespace weft {
namespace {

struct Bench {
  const char* name;
  void (*run)(const BenchRun&);
};
constexpr Bench kBenches[] = {{"machine", bench_machine},
                              {"kernels", bench_kernels},
                              {"comm", bench_comm},
                              {"step", bench_step},
                              {"generate", bench_generate}};

const Bench& find_bench(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const Bench& b : kBenches) names.emplace_back(b.name);
  CHECK_USER(words.size() == 1, "weft bench: name one of {}", fmt::join(names, ", "));
  for (const Bench& b : kBenches)
    if (words[0] == b.name) return b;
  user_error("weft bench has no '{}'{}; allowed: {}", words[0], suggestion(words[0], names),
             fmt::join(names, ", "));
}

ModelConfig config_of(const BenchOptions& o) {
  if (!o.model.empty())
    return is_checkpoint(o.model) ? read_checkpoint_header(o.model).config
                                  : read_model_config(o.model);
  ModelConfig c;
  CHECK_USER(o.heads >= 1 && o.width >= o.heads && o.width % o.heads == 0,
             "--width is {} and --heads {}; allowed: a width that the heads divide", o.width,
             o.heads);
  c.layers = o.layers;
  c.width = o.width;
  c.heads = c.kv_heads = o.heads;
  c.head_dim = o.width / o.heads;
  c.attention_scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  c.ffn = 4 * o.width;
  c.vocab = o.vocab;
  c.context = std::max(o.context, o.prompt_tokens + o.new_tokens + 1);
  validate(c, "the options");
  return c;
}

void check(const BenchOptions& o, const ModelConfig& c, const GridShape& shape,
           const std::string& what) {
  for (const auto& [name, value] : {std::pair{"batch-size", o.batch_size},
                                    {"repeats", o.repeats},
                                    {"prompt-tokens", o.prompt_tokens},
                                    {"new-tokens", o.new_tokens},
                                    {"sequences", o.sequences},
                                    {"context", o.context}})
    CHECK_USER(value >= 1, "--{} is {}; allowed: 1 or more", name, value);
  CHECK_USER(o.dtype == "fp32" || o.dtype == "bf16" || (o.dtype == "fp16" && what == "generate"),
             "--dtype is '{}'; allowed: fp32, bf16{}", o.dtype, what == "generate" ? ", fp16" : "");
  CHECK_USER(shape.tp <= c.heads, "--tp is {}, but the model has {} heads", shape.tp, c.heads);
  CHECK_USER(shape.pp <= c.layers, "--pp is {}, but the model has {} layers", shape.pp, c.layers);
  CHECK_USER(o.context <= c.context && o.prompt_tokens + o.new_tokens < c.context,
             "the model's context holds {} tokens", c.context);
}

}  // namespace

void run_bench(const Invocation& invocation) {
  BenchOptions o;
  std::vector<std::string> words;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const bool first = invocation.mpi.rank() == 0;
  const CommandLine line = {
      "bench", "Measures machine, kernels, comm, step or generate on this grid.", &words, "WHAT"};
  if (!parse_options(line, invocation.args, fields, first)) return;
  const Bench& bench = find_bench(words);
  const ModelConfig config = config_of(o);
  auto world = invocation.mpi.world();
  const GridShape shape = resolve_grid(static_cast<int>(o.tp), static_cast<int>(o.pp),
                                       static_cast<int>(o.dp), world->size());
  check(o, config, shape, bench.name);
  const int threads = resolve_threads(static_cast<int>(o.threads), invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  const Grid grid(std::move(world), shape);
  Stream stream({}, threads);
  const Peaks peaks = measure_peaks(grid, stream);
  if (first)
    log_info(
        "{}, tp {} x pp {} x dp {}, {} threads a rank; measured peaks of all ranks: {:.1f} GFLOP/s "
        "fp32, {:.1f} bf16 ({}), {:.1f} GB/s read",
        cpu_model(), shape.tp, shape.pp, shape.dp, threads, peaks.matmul_fp32 / 1e9,
        peaks.matmul_bf16 / 1e9, matmul_library(), peaks.read_bytes_per_s / 1e9);
  const auto report = [&](const Measurement& m) {
    if (!first) return;
    if (!o.json) {
      fmt::print("{:<46} {:>10.4g} {:<8} {}\n", m.name, m.value, m.unit,
                 m.peak.empty() ? "" : fmt::format("{:>5.1f} % of {}", 100 * m.share, m.peak));
      std::fflush(stdout);
      return;
    }
    OrderedJson json = {{"bench", bench.name}, {"name", m.name},    {"value", m.value},
                        {"unit", m.unit},      {"share", m.share},  {"of", m.peak},
                        {"cpu", cpu_model()},  {"tp", shape.tp},    {"pp", shape.pp},
                        {"dp", shape.dp},      {"threads", threads}};
    if (m.more.is_object()) json.update(m.more);
    fmt::print("{}\n", json.dump());
    std::fflush(stdout);
  };
  bench.run({o, grid, stream, config, peaks, report});
}

}  // namespace weft
