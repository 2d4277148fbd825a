#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "core/check.h"
#include "io/lines.h"
#include "report/fields_of_line.h"
#include "report/run.h"

namespace weft::report {
namespace {

constexpr int kWarmUp = 3;  // steps of each start that no speed counts

// Why a log is damaged: the run's own row says it.
struct Damage {
  std::string text;
};

// The user named what this program does not read; no row says that.
class OtherVersion : public UserError {
 public:
  using UserError::UserError;
};

bool read_shares(const OrderedJson& object, StepShares& out) {
  double sum = 0;
  for (int i = 0; i < kTimeShares; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out[at] = number_of(object, std::string(kTimeShareNames[at]).c_str());
    sum += out[at];
  }
  if (!(std::abs(sum - 1) < 0.01)) return false;  // NaN too
  for (double& share : out) share /= sum;
  return true;
}

Percentiles read_percentiles(const OrderedJson& object) {
  return {number_of(object, "p50"), number_of(object, "p95"), number_of(object, "p99")};
}

// The model's short name: the folder it came from, else its family and sizes.
std::string model_name(const OrderedJson& line) {
  const OrderedJson& model = member(line, "model");
  std::string given = text_of_field(member(line, "options"), "model");
  if (given.empty() && model.is_string()) given = made_utf8(model.get<std::string>());
  if (given.empty()) given = text_of_field(model, "name");
  while (given.size() > 1 && given.back() == '/') given.pop_back();
  const std::size_t slash = given.rfind('/');
  std::string last = slash == std::string::npos ? given : given.substr(slash + 1);
  // RUN/model and RUN/checkpoints/step-….h5 are named by the run
  if (last == "model" && slash != std::string::npos && slash > 0) {
    const std::string folder = given.substr(0, slash);
    last = folder.substr(folder.rfind('/') + 1);
  }
  if (!last.empty()) return last;
  const std::string family = text_of_field(model, "family");
  if (family.empty()) return "";
  const std::int64_t layers = count_of(model, "layers"), width = count_of(model, "width");
  return layers < 0 || width < 0 ? family : fmt::format("{}-{}x{}", family, layers, width);
}

std::int64_t first_count(std::initializer_list<std::int64_t> counts) {
  for (const std::int64_t count : counts)
    if (count >= 0) return count;
  return -1;
}

class LogReader {
 public:
  explicit LogReader(Run& run) : run_(run) {}

  void line(const std::string& text, std::int64_t number) {
    OrderedJson line;
    try {
      line = parse_ordered_json(text);
    } catch (const Json::exception&) {
      throw Damage{fmt::format("line {} is not JSON", number)};
    }
    const std::string event = text_of_field(line, "event");
    if (event.empty()) throw Damage{fmt::format("line {} has no event", number)};
    if (event == "start") return start(line);
    if (run_.starts == 0) throw Damage{fmt::format("line {} comes before a start line", number)};
    segment_s_ = std::max(segment_s_, or_zero(number_of(line, "elapsed_s")));
    if (event == "step") {
      step(line, number);
    } else if (event == "eval") {
      eval(line);
    } else if (event == "save") {
      ++run_.saves;
      run_.save_s += or_zero(number_of(line, "seconds"));
    } else if (event == "progress" || event == "end") {
      if (event == "end") run_.end = text_of_field(line, "reason");
      if (!run_.trains()) text_job(line);
    }
  }

  void finish() {
    if (run_.starts == 0) throw Damage{"it has no start line"};
    close_start();
    for (auto& [number, step] : steps_) run_.steps.push_back(step);
    for (const auto& [number, loss] : evals_) run_.evals.push_back({number, loss});
  }

 private:
  static double or_zero(double value) { return known(value) ? value : 0; }

  void start(const OrderedJson& line) {
    const OrderedJson& version = member(line, "log_version");
    if (!version.is_null() && version != 1)
      throw OtherVersion(fmt::format("{}: is a run log of version {}; this program reads version 1",
                                     run_.file, brief(version)));
    close_start();
    ++run_.starts;
    run_.end.clear();
    begin_ = count_of(line, "step");
    n_steps_ = 0;
    double lost_s = 0, lost_tokens = 0;
    if (begin_ >= 0) {  // what lies behind the place that it goes on from is done again
      const auto from = steps_.upper_bound(begin_);
      for (auto it = from; it != steps_.end(); ++it) {
        lost_s += or_zero(it->second.step_s);
        lost_tokens += or_zero(it->second.tokens);
      }
      steps_.erase(from, steps_.end());
      evals_.erase(evals_.upper_bound(begin_), evals_.end());
    }
    const OrderedJson& resumed = member(line, "resumed");
    const double told_s = number_of(resumed, "lost_s"), told = number_of(resumed, "lost_tokens");
    run_.lost_s += known(told_s) ? told_s : lost_s;
    run_.lost_tokens += known(told) ? told : lost_tokens;
    describe(line);
  }

  void describe(const OrderedJson& line) {
    const OrderedJson &model = member(line, "model"), &grid = member(line, "grid"),
                      &machine = member(line, "machine"), &options = member(line, "options"),
                      &identity = member(line, "run");
    const std::string what = text_of_field(line, "what");
    run_.what = what.empty() ? "train" : what;
    run_.machine =
        machine.is_string() ? text_of_field(line, "machine") : text_of_field(machine, "name");
    run_.site = text_of_field(machine, "site");
    if (run_.date.empty()) run_.date = text_of_field(line, "time");
    run_.commit = text_of_field(line, "commit");
    run_.model = model_name(line);
    run_.device = text_of_field(line, "device");
    run_.dtype = text_of_field(line, "dtype");
    run_.task = text_of_field(line, "task");
    run_.cpu = text_of_field(line, "cpu");
    run_.queue = text_of_field(member(line, "job"), "queue");
    run_.parameters = count_of(line, "parameters");
    run_.context = count_of(model, "context");
    run_.batch_size = first_count({count_of(line, "batch_size"), count_of(options, "batch_size"),
                                   count_of(identity, "batch_size")});
    run_.tp = count_of(grid, "tp");
    run_.pp = count_of(grid, "pp");
    run_.dp = count_of(grid, "dp");
    const bool grid_known = run_.tp > 0 && run_.pp > 0 && run_.dp > 0;
    const double ranks = grid_known ? static_cast<double>(run_.tp) * static_cast<double>(run_.pp) *
                                          static_cast<double>(run_.dp)
                                    : 0;
    run_.ranks = first_count({count_of(line, "ranks"),
                              grid_known && ranks < 1e9 ? static_cast<std::int64_t>(ranks) : -1});
    if (run_.ranks == 0) run_.ranks = -1;
    run_.threads = count_of(line, "threads");
    std::vector<std::string> hosts;
    for (const OrderedJson& host : member(line, "hosts"))
      if (host.is_string()) hosts.push_back(made_utf8(host.get<std::string>()));
    const auto n_hosts = static_cast<std::int64_t>(hosts.size());
    run_.nodes = first_count({count_of(line, "nodes"), n_hosts > 0 ? n_hosts : -1});
    add_place(line, hosts);
    const std::string command = text_of_field(line, "command");
    if (!command.empty() && (run_.commands.empty() || run_.commands.back() != command))
      run_.commands.push_back(command);
    run_.start = line;
  }

  // Once the run's own facts are those of this start.
  void add_place(const OrderedJson& line, const std::vector<std::string>& hosts) {
    RunPlace place;
    place.machine = run_.machine, place.site = run_.site, place.cpu = run_.cpu;
    place.commit = run_.commit, place.mpi = text_of_field(line, "mpi"), place.queue = run_.queue;
    place.nodes = run_.nodes, place.ranks = run_.ranks, place.threads = run_.threads;
    const auto facts = [](const RunPlace& p) {
      return std::tie(p.machine, p.site, p.cpu, p.commit, p.mpi, p.queue, p.nodes, p.ranks,
                      p.threads);
    };
    auto at = std::find_if(run_.places.begin(), run_.places.end(),
                           [&](const RunPlace& p) { return facts(p) == facts(place); });
    if (at == run_.places.end()) at = run_.places.insert(at, place);
    for (const std::string& host : hosts)
      if (std::find(at->hosts.begin(), at->hosts.end(), host) == at->hosts.end())
        at->hosts.push_back(host);
    const double peak = number_of(member(line, "peaks"), "matmul_flops");
    if (known(peak)) at->peak_flops = peak;
    at->starts.push_back(run_.starts);
  }

  // The seconds of the start that ends here, by its own clock or by its steps.
  void close_start() {
    if (run_.starts == 0) return;
    const double seconds = std::max(segment_s_, steps_s_);
    before_s_ += seconds;
    if (seconds > 0) {
      run_.elapsed_s = before_s_;
      if (run_.nodes >= 0)
        run_.node_hours =
            or_zero(run_.node_hours) + seconds * static_cast<double>(run_.nodes) / 3600;
    }
    segment_s_ = steps_s_ = 0;
  }

  void step(const OrderedJson& line, std::int64_t number) {
    RunStep s;
    s.step = count_of(line, "step");
    if (s.step < 0) throw Damage{fmt::format("line {} is a step without its number", number)};
    s.loss = number_of(line, "loss", -1e30);
    s.tokens = number_of(line, "tokens");
    s.step_s = number_of(line, "step_s");
    s.tokens_per_s = number_of(line, "tokens_per_s");
    if (!known(s.tokens_per_s) && s.step_s > 0) s.tokens_per_s = s.tokens / s.step_s;
    s.mfu = number_of(line, "mfu");
    s.peak_share = number_of(line, "peak_share");
    s.comm_bytes = number_of(line, "comm_bytes");
    s.has_shares = read_shares(member(line, "shares"), s.shares);
    ++n_steps_;
    s.start = run_.starts;
    s.warm = begin_ >= 0 ? s.step > begin_ + kWarmUp : n_steps_ > kWarmUp;
    steps_s_ += or_zero(s.step_s);
    const double elapsed = number_of(line, "elapsed_s");
    s.at_s = before_s_ + (known(elapsed) ? elapsed : steps_s_);
    if (const auto old = steps_.find(s.step); old != steps_.end() && begin_ < 0) {
      run_.lost_s += or_zero(old->second.step_s);
      run_.lost_tokens += or_zero(old->second.tokens);
    }
    steps_[s.step] = s;
  }

  void eval(const OrderedJson& line) {
    const std::int64_t step = count_of(line, "step");
    const double loss = number_of(line, "loss", -1e30);
    if (step >= 0 && known(loss)) evals_[step] = loss;
  }

  void text_job(const OrderedJson& line) {
    TextJob& t = run_.text;
    t = {};
    t.items = number_of(line, "items");
    t.prompt_tokens = number_of(line, "prompt_tokens");
    t.new_tokens = number_of(line, "new_tokens");
    const double elapsed = number_of(line, "elapsed_s");
    const auto rate = [&](const char* key, double tokens) {
      const double told = number_of(line, key);
      return known(told) || !(elapsed > 0) ? told : tokens / elapsed;
    };
    t.prompt_tokens_per_s = rate("prompt_tokens_per_s", t.prompt_tokens);
    t.new_tokens_per_s = rate("new_tokens_per_s", t.new_tokens);
    const double tokens = or_zero(t.prompt_tokens) + or_zero(t.new_tokens);
    t.tokens_per_s = rate("tokens_per_s", tokens);
    if (known(elapsed)) run_.progress.push_back({before_s_ + elapsed, tokens, run_.starts});
    t.queue_s = read_percentiles(member(line, "queue_s"));
    t.ttft_s = read_percentiles(member(line, "ttft_s"));
    t.inter_token_s = read_percentiles(member(line, "inter_token_s"));
    t.batch_occupancy = number_of(line, "batch_occupancy");
    t.cache_use = number_of(line, "cache_use");
    t.cache_shared = number_of(line, "cache_shared");
    t.preemptions = number_of(line, "preemptions");
    t.comm_share = number_of(line, "comm_share");
    t.streamed_bytes = number_of(line, "streamed_bytes");
    t.streamed_bytes_per_s = number_of(line, "streamed_bytes_per_s");
    t.read_peak_bytes_per_s = number_of(line, "read_peak_bytes_per_s");
    t.peak_share = number_of(line, "peak_share");
    t.comm_bytes = number_of(line, "comm_bytes");
    t.has_shares = read_shares(member(line, "shares"), t.shares);
  }

  Run& run_;
  std::map<std::int64_t, RunStep> steps_;
  std::map<std::int64_t, double> evals_;
  std::int64_t begin_ = -1;             // step that the start goes on from
  int n_steps_ = 0;                     // of this start
  double segment_s_ = 0, steps_s_ = 0;  // of this start, by its clock and by its steps
  double before_s_ = 0;                 // of the starts before
};

// A last line without its end is what a killed run leaves: it is read where it is whole.
void read_lines(const std::string& file, LogReader& reader) {
  Lines lines(file);
  for (std::string line; lines.next(line);) {
    if (is_blank(line) || (!lines.ended() && !try_parse_json(line))) continue;
    reader.line(line, lines.number());
  }
  reader.finish();
}

}  // namespace

Run read_run(const std::string& file) {
  Run run;
  run.file = file;
  std::string problem;
  try {
    LogReader reader(run);
    read_lines(file, reader);
    return run;
  } catch (const Damage& damage) {
    problem = damage.text;
  } catch (const OtherVersion&) {
    throw;
  } catch (const UserError& error) {  // no text, a broken .gz
    problem = error.what();
    if (problem.starts_with(file + ": ")) problem.erase(0, file.size() + 2);
  }
  Run damaged;
  damaged.file = file;
  damaged.problem = problem;
  return damaged;
}

}  // namespace weft::report
