#include "cli/generation/sweep_run.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "cli/generation/comparison.h"
#include "cli/generation/replica.h"
#include "cli/generation/requests.h"
#include "cli/stdout.h"
#include "cli/text_inputs.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "formats/open_model.h"
#include "io/files.h"
#include "io/hub_cache.h"
#include "io/result_file.h"

namespace weft {
namespace {

// What a flag's values are called in tables and lines.
std::string key_of(const std::string& flag) {
  std::string key = flag.substr(2);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

OrderedJson json_of(const std::string& value) {
  const auto number = try_parse_json(value);
  return number && number->is_number() ? OrderedJson(*number) : OrderedJson(made_utf8(value));
}

class SweepRun {
 public:
  SweepRun(const Invocation& invocation, const Sweep& sweep)
      : invocation_(invocation), sweep_(sweep) {
    comparison_.title = "weft generate";
    for (const SweepAxis& axis : sweep.axes) comparison_.settings.push_back(key_of(axis.flag));
    for (std::size_t i = 0; i < sweep.n_combinations(); ++i) {
      std::vector<std::string>& values = comparison_.values.emplace_back(sweep.values(i));
      for (std::string& value : values) value = made_utf8(value);
    }
    comparison_.seconds.assign(sweep.n_combinations(), -1);
    all_ = options_of(0);
    check_table_name(all_.table);
    check_place("--table", all_.table);
    for (const auto& [flag, value] :
         {std::pair{"--attention", all_.attention}, {"--log", all_.model.log}})
      CHECK_USER(value.empty(), "{} is given beside --table or a list; it is of one run alone",
                 flag);
    // What is wrong is said before anything runs.
    std::string model;
    for (std::size_t i = 0; i < sweep.n_combinations(); ++i) {
      const std::string other = options_of(i).model.model;
      if (std::exchange(model, other) != other) open_model(find_model(other, "--model"), "--model");
    }
  }

  void run() {
    std::optional<Failure> stopped;
    for (std::size_t i = 0; i < sweep_.n_combinations() && !stopped; ++i) stopped = run_one(i);
    Stream stream;
    on_first_rank(session_->grid.world(), stream, [&] {
      if (lines_) lines_->close();
      if (all_.table.empty() && all_.json()) return;
      const std::string table = comparison_table(comparison_, all_.table);
      if (all_.table.empty())
        write_stdout(table);
      else
        write_file_atomically(all_.table, table);
    });
    rejects_.finish(*session_, all_.texts.out, n_texts_, stopped);
  }

 private:
  GenerateOptions options_of(std::size_t combination) const {
    GenerateOptions o;
    parse_generate(sweep_.args_of(combination), o, false);
    return o;
  }

  void open(const GenerateOptions& o) {
    if (session_ && opened_ == o.model.model) return;
    const bool first = !session_;
    session_.reset();
    session_.emplace(invocation_, o.model, ModelUse::generate);
    opened_ = o.model.model;
    if (first) {
      documents_ = read_documents(*session_, o.texts, wants_of(o, *session_), rejects_);
      n_texts_ = documents_.size() + rejects_.size();
      on_first_rank(session_->grid.world(), session_->stream, [&] {
        if (o.json()) lines_.emplace(o.texts.out);
      });
    }
    session_->watch_time(true);
  }

  // What ended it before all was done. A text that is rejected in one combination goes on in the
  // others.
  std::optional<Failure> run_one(std::size_t i) {
    GenerateOptions o = options_of(i);
    open(o);
    // The lines are the results' way to rank 0; log-probabilities make the perplexity.
    const bool logprobs = o.generation.logprobs.value_or(false);
    o.generation.logprobs = true;
    o.texts.json = true;
    JobMaker maker(o, *session_, session_->first());
    for (const Document& d : documents_) rejects_.serve(d, [&] { maker.add(d); });
    const std::size_t n_items = maker.n_items();
    if (n_items == 0) {
      check_flags_alone(o, *session_);
      return std::nullopt;
    }
    if (session_->first() && sweep_.n_combinations() > 1)
      log_info("combination {} of {}: {}", i + 1, sweep_.n_combinations(),
               fmt::join(comparison_.values[i], ", "));
    JobLog log;
    Replica replica(o, *session_, maker.take(), rejects_, log, nullptr);
    if (!replica.reject_too_large()) return std::nullopt;
    if (!session_->parameters) session_->load_weights();
    const auto begin = std::chrono::steady_clock::now();
    ResultWriter results(
        *session_, [&](std::size_t, const std::string& line) { take(i, line, logprobs); }, n_items);
    const auto ended = replica.run(results, n_items);
    auto stopped = results.finish(ended, log);
    comparison_.seconds[i] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return stopped;
  }

  // On rank 0. A rejected text has no line.
  void take(std::size_t combination, const std::string& text, bool logprobs) {
    if (text.empty()) return;
    const OrderedJson line = parse_ordered_json(text);
    ComparedText t;
    t.combination = combination;
    t.prompt = line["prompt"].get<std::string>();
    t.text = line["new_text"].get<std::string>();
    t.ids = line["ids"].get<std::vector<std::int32_t>>();
    if (line.contains("logprobs"))
      for (const OrderedJson& l : line["logprobs"])
        if (l.is_number()) t.logprobs.push_back(l.get<double>());
    comparison_.texts.push_back(std::move(t));
    if (!lines_) return;
    OrderedJson with = OrderedJson::object();
    const std::vector<std::string> values = sweep_.values(combination);
    for (std::size_t a = 0; a < values.size(); ++a)
      with[comparison_.settings[a]] = json_of(values[a]);
    for (const auto& [key, value] : line.items())
      if (key != "logprobs" || logprobs) with[key] = value;
    lines_->write(json_text(with) + "\n");
  }

  const Invocation& invocation_;
  const Sweep& sweep_;
  GenerateOptions all_;  // of the first combination: those that are no list hold for all
  Comparison comparison_;
  std::string opened_;  // the model, as it was given
  std::optional<Session> session_;
  std::vector<Document> documents_;
  std::size_t n_texts_ = 0;
  Rejects rejects_;
  std::optional<ResultFile> lines_;  // rank 0's
};

}  // namespace

void run_sweep(const Invocation& invocation, const Sweep& sweep) {
  SweepRun(invocation, sweep).run();
}

}  // namespace weft
