#include "report/scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "report/amounts.h"

namespace weft::report {
namespace {

// Options that change how fast a step is; what is learned, and where files lie, does not.
constexpr const char* kSpeedOptions[] = {
    "recompute",     "pipeline_schedule", "zero",       "deterministic",        "max_new_tokens",
    "max_length",    "min_new_tokens",    "num_beams",  "num_return_sequences", "ignore_eos",
    "micro_batches", "gpu_map",           "min_length", "guidance_scale"};

std::string text(const OrderedJson& value) { return json_text(value) + "|"; }

// What runs of one study have in common.
std::string work_key(const Run& run) {
  std::string key;
  for (const std::string& part :
       {run.what, run.task, run.model, run.dtype, run.device, run.machine, run.cpu, run.commit})
    key += text(part);
  key += text(run.parameters) + text(run.context);
  const auto options = run.start.find("options");
  for (const char* name : kSpeedOptions) {
    const bool there =
        options != run.start.end() && options->is_object() && options->contains(name);
    key += there ? text((*options)[name]) : "|";
  }
  return key;
}

std::string configuration_key(const Run& run) {
  std::string key = work_key(run);
  for (const std::int64_t part :
       {run.batch_size, run.tp, run.pp, run.dp, run.ranks, run.nodes, run.threads})
    key += text(part);
  const auto options = run.start.find("options");
  if (options != run.start.end() && options->is_object() && options->contains("micro_batch_size"))
    key += text((*options)["micro_batch_size"]);
  return key + text(run.trains() ? OrderedJson() : OrderedJson(run.text.items));
}

ScalingStudy study_of(std::vector<const Configuration*> members, bool weak) {
  std::stable_sort(members.begin(), members.end(), [](const auto* a, const auto* b) {
    const auto key = [](const Configuration* c) {
      const Run& r = c->run();
      return std::array{r.ranks, r.dp > 0 ? -r.dp : 0, r.tp, r.pp};
    };
    return key(a) < key(b);
  });
  ScalingStudy study;
  study.weak = weak;
  const double base = members.front()->tokens_per_s.mean,
               base_ranks = static_cast<double>(members.front()->run().ranks);
  for (const Configuration* c : members) {
    ScalingPoint point;
    point.configuration = c;
    point.speed_up = {c->tokens_per_s.mean / base, c->tokens_per_s.sd / base};
    const double times = static_cast<double>(c->run().ranks) / base_ranks;
    point.efficiency = {point.speed_up.mean / times, point.speed_up.sd / times};
    study.points.push_back(point);
  }
  return study;
}

}  // namespace

MeanSd mean_sd(const std::vector<double>& values) {
  MeanSd out;
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return out;
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  out.mean = sum / n;
  for (const double v : values) squares += (v - out.mean) * (v - out.mean);
  if (values.size() > 1) out.sd = std::sqrt(squares / (n - 1));
  return out;
}

std::string Configuration::grid() const {
  const Run& r = run();
  if (r.tp < 0 || r.pp < 0 || r.dp < 0) return kNothing;
  return fmt::format("tp {} × pp {} × dp {}", r.tp, r.pp, r.dp);
}

std::vector<Configuration> configurations(const std::vector<Run>& runs) {
  std::vector<Configuration> all;
  std::map<std::string, std::size_t> places;
  for (const Run& run : runs) {
    if (run.damaged() || !(run.tokens_per_s() > 0)) continue;
    const auto [at, is_new] = places.emplace(configuration_key(run), all.size());
    if (is_new) all.emplace_back();
    all[at->second].repeats.push_back(&run);
  }
  for (Configuration& c : all) {
    std::vector<double> speeds;
    for (const Run* run : c.repeats) speeds.push_back(run->tokens_per_s());
    c.tokens_per_s = mean_sd(speeds);
  }
  return all;
}

double work_of(const Run& run) {
  return run.trains() ? or_unknown(run.batch_size) : run.text.items;
}

std::vector<ScalingStudy> scaling_studies(const std::vector<Configuration>& configurations) {
  std::vector<ScalingStudy> studies;
  for (const bool weak : {false, true}) {
    std::map<std::string, std::vector<const Configuration*>> groups;
    std::vector<std::string> order;
    for (const Configuration& c : configurations) {
      const double work = work_of(c.run());
      if (!(work > 0) || c.run().ranks <= 0) continue;
      const double kept = weak ? work / static_cast<double>(c.run().ranks) : work;
      const std::string key = work_key(c.run()) + text(kept);
      if (groups[key].empty()) order.push_back(key);
      groups[key].push_back(&c);
    }
    for (const std::string& key : order) {
      std::set<std::int64_t> ranks;
      for (const Configuration* c : groups[key]) ranks.insert(c->run().ranks);
      if (ranks.size() > 1) studies.push_back(study_of(groups[key], weak));
    }
  }
  return studies;
}

}  // namespace weft::report
