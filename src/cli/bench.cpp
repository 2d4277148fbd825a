#include "benchmarks/bench.h"

#include <omp.h>

#include <cmath>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/version.h"
#include "core/check.h"
#include "core/hardware.h"
#include "core/log.h"
#include "formats/open_model.h"
#include "io/hub_cache.h"
#include "kernels/ops.h"
#include "model/attention_scale.h"
#include "model/grid_check.h"

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

// The words as a shell would read them again.
std::string shell_words(const std::vector<std::string>& args) {
  std::string line;
  for (const std::string& arg : args) {
    const bool plain = !arg.empty() && arg.find_first_not_of(
                                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789-_=./,:+@%") == std::string::npos;
    std::string quoted = "'";
    for (char c : arg) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    line += (line.empty() ? "" : " ") + (plain ? arg : quoted + "'");
  }
  return line;
}

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

void check(const BenchOptions& o, const ModelConfig& c, const GridShape& shape,
           const std::string& what) {
  CHECK_USER(o.dtype != "fp16" || what == "generate",
             "--dtype is 'fp16'; allowed: fp32, bf16 (weft bench generate: also fp16)");
  check_grid(shape, c);
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
  const GridShape shape = resolve_grid(o.tp, o.pp, o.dp, world->size());
  check(o, config, shape, bench.name);
  const int threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  const Grid grid(std::move(world), shape);
  Stream stream({}, threads);
  Peaks peaks(grid, stream);
  const double fp32 = peaks.matmul(Precision::fp32).rate(),
               bf16 = peaks.matmul(Precision::bf16).rate(), reads = peaks.reads().rate();
  if (first)
    log_info(
        "{}, tp {} x pp {} x dp {}, {} threads a rank; peaks of all ranks so far: {:.1f} GFLOP/s "
        "fp32, {:.1f} bf16 ({}), {:.1f} GB/s read",
        cpu_model(), shape.tp, shape.pp, shape.dp, threads, fp32 / 1e9, bf16 / 1e9,
        matmul_library(), reads / 1e9);
  const std::string command = "weft bench " + shell_words(invocation.args),
                    commit = build_info()["commit"];
  const auto report = [&](const Measurement& m) {
    if (!first) return;
    if (!o.json) {
      fmt::print("{:<46} {:>10.4g} {:<8} {}\n", m.name, m.value, m.unit,
                 m.peak.empty()
                     ? ""
                     : fmt::format("{:>5.1f} % of {} ({:.4g} G{}/s)", 100 * m.share, m.peak,
                                   m.peak_rate / 1e9, m.peak.ends_with("matmul") ? "FLOP" : "B"));
      std::fflush(stdout);
      return;
    }
    OrderedJson json = {{"bench", bench.name},      {"name", m.name},     {"value", m.value},
                        {"unit", m.unit},           {"share", m.share},   {"of", m.peak},
                        {"peak_rate", m.peak_rate}, {"command", command}, {"commit", commit},
                        {"cpu", cpu_model()},       {"tp", shape.tp},     {"pp", shape.pp},
                        {"dp", shape.dp},           {"threads", threads}};
    if (m.more.is_object()) json.update(m.more);
    fmt::print("{}\n", json_text(json));
    std::fflush(stdout);
  };
  bench.run({o, grid, stream, config, peaks, report});
}

}  // namespace weft
