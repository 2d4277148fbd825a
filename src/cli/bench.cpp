#include "benchmarks/bench.h"

#include <omp.h>

#include "benchmarks/bench_report.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/run_facts.h"
#include "cli/session.h"
#include "cli/version.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/spelling.h"
#include "core/system/hardware.h"
#include "formats/open_model.h"
#include "io/files.h"
#include "io/hub_cache.h"
#include "kernels/ops.h"
#include "machine/device_choice.h"
#include "model/attention_scale.h"
#include "model/grid_check.h"

namespace weft {
namespace {

struct Bench {
  const char* name;
  void (*run)(const BenchRun&);
  bool takes_gpu = false;
  bool runs_models = false;  // takes lists of --tp, --pp, --dp
};
constexpr Bench kBenches[] = {{"machine", bench_machine},
                              {"kernels", bench_kernels},
                              {"comm", bench_comm, true},
                              {"step", bench_step, true, true},
                              {"generate", bench_generate, true, true},
                              {"score", bench_score, true, true}};

std::vector<std::string> bench_names() {
  std::vector<std::string> names;
  for (const Bench& b : kBenches) names.emplace_back(b.name);
  return names;
}

const Bench& find_bench(const std::vector<std::string>& words) {
  const std::vector<std::string> names = bench_names();
  CHECK_USER(words.size() == 1, "weft bench: name one of {}", fmt::join(names, ", "));
  for (const Bench& b : kBenches)
    if (words[0] == b.name) return b;
  user_error("weft bench has no '{}'{}; allowed: {}", words[0], suggestion(words[0], names),
             fmt::join(names, ", "));
}

ModelConfig config_of(const BenchOptions& o) {
  if (!o.model.empty()) return open_model(find_model(o.model, "--model"), "--model").config();
  ModelConfig c;
  CHECK_USER(o.width % o.heads == 0,
             "--width is {} and --heads {}; allowed: a width that the heads divide", o.width,
             o.heads);
  c.layers = o.layers;
  c.width = o.width;
  c.heads = c.kv_heads = o.heads;
  c.head_dim = o.width / o.heads;
  c.attention_scale = attention_scale_of(static_cast<double>(c.head_dim));
  c.ffn = 4 * o.width;
  c.vocab = o.vocab;
  c.context = std::max(o.context, o.prompt_tokens + o.new_tokens + 1);
  validate(c, "the options");
  return c;
}

void check(const BenchOptions& o, const ModelConfig& c, const std::string& what) {
  const bool infers = what == "generate" || what == "score";
  CHECK_USER(o.dtype != "fp16" || infers,
             "--dtype is 'fp16'; allowed: fp32, bf16 (weft bench generate and score: also fp16)");
  CHECK_USER(o.context <= c.context && o.prompt_tokens + o.new_tokens < c.context,
             "the model's context holds {} tokens", c.context);
  CHECK_USER(infers || !o.deterministic, "--deterministic is for weft bench generate and score");
  CHECK_USER(what == "generate" || o.kv_cache_dtype == "auto",
             "--kv-cache-dtype is for weft bench generate");
  CHECK_USER(what == "machine" || o.out.empty(), "--out is for weft bench machine alone");
  CHECK_USER(what == "machine" || what == "comm" || o.machine.empty(),
             "--machine is for weft bench machine and comm");
  CHECK_USER(o.out.empty() || o.out.ends_with(".toml"),
             "--out is '{}'; allowed: a machine description, whose name ends in .toml", o.out);
  check_place("--out", o.out);
}

void log_start(const GridShape& shape, int threads, int n_ranks, Device device) {
  const int idle = n_ranks - shape.ranks();
  log_info("{}, {}{}, {} threads a rank, matmuls by {}", cpu_model(), grid_name(shape),
           idle == 0 ? "" : fmt::format(" ({} of {} ranks wait)", idle, n_ranks), threads,
           matmul_library(device));
}

// Why the model cannot be cut so.
std::string objection(const GridShape& shape, const ModelConfig& config) {
  const auto failure = failure_of([&] { check_grid(shape, config); });
  return failure ? failure->text : "";
}

}  // namespace

void run_bench(const Invocation& invocation) {
  BenchOptions o;
  std::vector<std::string> words;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const bool first = invocation.mpi.rank() == 0;
  const CommandLine line = {
      .name = "bench",
      .summary = "Measures machine, kernels, comm, step, generate or score on this grid.",
      .positionals = &words,
      .positional_name = "WHAT",
      .words = bench_names()};
  if (!parse_options(line, invocation.args, fields, first)) return;
  const Bench& bench = find_bench(words);
  const ModelConfig config = config_of(o);
  check(o, config, bench.name);
  CHECK_USER(bench.takes_gpu || o.device != "cuda",
             "weft bench {} measures the CPU and its ranks; --device cuda is for comm, step and "
             "generate",
             bench.name);
  CHECK_USER(!is_list(o.grids) || bench.runs_models,
             "weft bench {} measures one grid; lists of --tp, --pp, --dp are for step and generate",
             bench.name);
  auto world = invocation.mpi.world();
  const int n_ranks = world->size();
  const GridPlan plan = plan_grids(
      o.grids, n_ranks, [&](const GridShape& shape) { return objection(shape, config); });
  const int threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  const Device device =
      bench.takes_gpu
          ? device_of(invocation, bench.runs_models ? &config : nullptr, o.device, o.gpu_map)
          : Device();
  Stream stream(device, threads);
  const std::vector<std::string> hosts = gather_texts(*world, host_name(), stream);
  BenchReport report({.bench = bench.name,
                      .command = "weft bench " + shell_words(invocation.args),
                      .commit = build_info()["commit"],
                      .device = device_word(device),
                      .threads = threads,
                      .n_ranks = n_ranks},
                     o.json);
  if (first)
    for (const std::string& why : plan.left_out) log_warning("left out: {}", why);
  for (const GridShape& shape : plan.grids) {
    const bool works = world->rank() < shape.ranks();
    auto part = world->split(works ? 0 : 1, world->rank());
    if (works) {
      const Grid grid(std::move(part), shape, device, o.comm_timeout);
      Peaks peaks(grid, stream);
      if (first) log_start(shape, threads, n_ranks, device);
      bench.run({o, grid, stream, config, peaks,
                 std::vector(hosts.begin(), hosts.begin() + shape.ranks()), threads,
                 [&](const Measurement& m) {
                   if (first) report.print(shape, m);
                 }});
    }
    world->barrier();
  }
  if (first) report.print_end();
}

}  // namespace weft
