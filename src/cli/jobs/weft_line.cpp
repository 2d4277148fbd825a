#include "cli/jobs/weft_line.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "cli/options.h"
#include "cli/session.h"
#include "core/check.h"
#include "core/fields.h"
#include "formats/open_model.h"
#include "io/token_file.h"
#include "model/grid_check.h"
#include "plan/shell_run.h"
#include "train/options.h"
#include "train/task.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// The type of a flag, for words that are not known.
class FlagKinds : public UniformVisitor<FlagKinds> {
 public:
  template <class T, class A>
  void each(const char* name, T&, const A& allowed, const char*) {
    names.insert(flag_of(name));
    if (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>> ||
        std::is_same_v<T, FlagWord>)
      bare.insert(flag_of(name));
    if constexpr (std::is_same_v<T, std::string> && std::is_same_v<A, Anything>)
      texts.insert(flag_of(name));
    static_cast<void>(allowed);
  }
  std::set<std::string> names, bare, texts;
};

// The words in parts: flags and their values, those with an unknown value apart.
struct Given {
  std::vector<std::string> args;  // that can be parsed
  std::set<std::string> unknown;  // flags whose value is not known, "--tp"
  bool open = false;              // words that are not known may be any options
};

Given given_of(const std::vector<std::string>& words, const FlagKinds& kinds) {
  Given given;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::size_t equals = word.find('=');
    const std::string flag = word.substr(0, equals);
    if (!is_known(flag)) {
      given.open = true;
      continue;
    }
    const bool takes = flag.starts_with("--") && equals == std::string::npos &&
                       !kinds.bare.contains(flag) && i + 1 < words.size();
    const std::string value = equals != std::string::npos ? word.substr(equals + 1)
                              : takes                     ? words[i + 1]
                                                          : "";
    if (is_known(value)) {
      given.args.push_back(word);
      if (takes) given.args.push_back(words[++i]);
      continue;
    }
    if (takes) ++i;
    given.unknown.insert(flag);
    if (kinds.texts.contains(flag)) {  // it is there, and that is enough
      given.args.push_back(flag);
      given.args.push_back(shown_text(value));
    }
  }
  return given;
}

// Takes --config out where its file cannot be read from here.
void take_config(const WeftQuestion& q, Given& given, WeftLine& line) {
  for (std::size_t i = 0; i < given.args.size(); ++i) {
    const bool apart = given.args[i] == "--config";
    if (!apart && !given.args[i].starts_with("--config=")) continue;
    if (apart && i + 1 == given.args.size()) return;
    std::string& file = apart ? given.args[i + 1] : given.args[i];
    const std::string name = apart ? file : file.substr(9);
    line.reads.emplace_back("--config", name);
    fs::path path = name;
    std::error_code error;
    const bool placed = path.is_absolute() || !q.folder.empty();
    if (path.is_relative()) path = fs::path(q.folder) / path;
    if (placed && fs::is_regular_file(path, error)) {
      file = (apart ? "" : "--config=") + path.string();
      continue;
    }
    given.open = true;  // what it says is not known
    given.args.erase(given.args.begin() + static_cast<std::ptrdiff_t>(i),
                     given.args.begin() + static_cast<std::ptrdiff_t>(i + (apart ? 2 : 1)));
    --i;
  }
  if (given.unknown.contains("--config")) given.open = true;
}

LintFinding mistake(const Failure& failure) {
  const bool recipe = failure.text.find(".toml: ") != std::string::npos;
  return {0, recipe ? "recipe" : "weft-options", LintSeverity::error, failure.text, ""};
}

// Parses; a mistake becomes a finding.
bool parse(const std::string& command, const Given& given, const VisitFields& fields,
           WeftLine& line) {
  std::vector<std::string> positionals;
  const auto failure = failure_of([&] {
    parse_options({command, "", &positionals, "WORDS"}, given.args, fields, false);
  });
  if (!failure) return true;
  line.findings.push_back(mistake(*failure));
  return false;
}

void set_grid(const Given& given, std::int64_t tp, std::int64_t pp, std::int64_t dp,
              std::int64_t threads, WeftLine& line) {
  const auto value = [&](const char* flag, std::int64_t n) {
    return given.unknown.contains(flag) ? std::nullopt : std::optional(n);
  };
  line.on_grid = true;
  line.tp = value("--tp", tp), line.pp = value("--pp", pp), line.dp = value("--dp", dp);
  line.threads = value("--threads", threads);
  if (given.open && tp == 1 && pp == 1 && dp == 0) line.dp = std::nullopt;  // may be said there
}

fs::path placed(const WeftQuestion& q, const std::string& path) {
  return fs::path(path).is_absolute() || q.folder.empty() ? fs::path(path)
                                                          : fs::path(q.folder) / path;
}

// The largest rank's arenas: the run takes activations besides.
void plan_memory(const ModelConfig& c, const GridShape& shape, DType dtype, ParameterUse use,
                 WeftLine& line) {
  check_grid(shape, c);
  // The first tensor-parallel rank has the largest share; which stage has, differs.
  std::size_t most = 0;
  const Device device = {line.device == "cuda" ? DeviceType::cuda : DeviceType::cpu, 0};
  const auto count = [&](int p) {
    most = std::max(most, Parameters::plan_bytes(c, shape, 0, p, dtype, use, device));
  };
  for (int p = 0; p < shape.pp; p += std::max(1, shape.pp / 64)) count(p);
  count(shape.pp - 1);
  line.rank_bytes = static_cast<double>(most);
  line.rank_bytes_of =
      fmt::format("{} of {:.2f} B parameters",
                  use == ParameterUse::training ? "weights, gradients and moments" : "weights",
                  static_cast<double>(count_parameters(c)) / 1e9);
}

// Where the grid is known and the model's sizes are there.
template <class Config>
void memory(DType dtype, ParameterUse use, const Config& config, WeftLine& line) {
  if (!line.tp || !line.pp) {
    line.not_known = "the grid is not known here";
    return;
  }
  const auto failure = failure_of([&] {
    const std::optional<ModelConfig> c = config();
    if (!c) return;
    const GridShape shape = {static_cast<int>(*line.tp), static_cast<int>(*line.pp), 1};
    plan_memory(*c, shape, dtype, use, line);
  });
  if (!failure) return;
  // A fresh model may want a tokenizer, which is not looked for.
  const bool of_options = failure->kind == FailureKind::user && failure->text.starts_with("--") &&
                          failure->text.find("tokenizer") == std::string::npos;
  if (of_options)
    line.findings.push_back({0, "weft-options", LintSeverity::error, failure->text, ""});
  else
    line.not_known = failure->text;
}

// Of a model that can be looked at from here.
std::optional<ModelConfig> stored_config(const WeftQuestion& q, const std::string& model,
                                         WeftLine& line) {
  std::error_code error;
  const fs::path path = placed(q, model);
  if (!fs::exists(path, error)) {
    line.not_known = fmt::format("the model {} is not there, as seen from here", model);
    return std::nullopt;
  }
  return open_model(path, "--model").config();
}

void read_train(const WeftQuestion& q, const std::vector<std::string>& words, WeftLine& line) {
  TrainOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  FlagKinds kinds;
  fields(kinds);
  Given given = given_of(words, kinds);
  take_config(q, given, line);
  if (!parse("train", given, fields, line)) return;
  set_grid(given, o.tp, o.pp, o.dp, o.threads, line);
  line.device = given.unknown.contains("--device") ? "" : o.device;
  line.reads.emplace_back("--data", given.unknown.contains("--data") ? "" : o.data);
  line.reads.emplace_back("--tokenizer", given.unknown.contains("--tokenizer") ? "" : o.tokenizer);
  line.reads.emplace_back("--model", given.unknown.contains("--model") ? "" : o.model);
  const auto needed = [&](const char* flag, const std::string& value) {
    if (value.empty() && !given.open && !given.unknown.contains(flag))
      line.findings.push_back(
          {0, "weft-options", LintSeverity::error, fmt::format("weft train without {}", flag), ""});
  };
  needed("--data", o.data);
  needed("--out", o.out);
  if (!o.resume.empty() && o.resume != "auto" && o.resume != "none")
    line.reads.emplace_back("--resume", given.unknown.contains("--resume") ? "" : o.resume);
  if (given.open) {
    line.not_known = "some of its options are not known here";
    return;
  }
  for (const char* flag : {"--model", "--layers", "--width", "--heads", "--ffn", "--kv-heads"})
    if (given.unknown.contains(flag)) {
      line.not_known = fmt::format("{} is not known here", flag);
      return;
    }
  const DType dtype = o.dtype == "bf16" ? DType::bf16 : DType::f32;
  memory(
      dtype, ParameterUse::training,
      [&]() -> std::optional<ModelConfig> {
        if (!o.model.empty()) return stored_config(q, o.model, line);
        std::error_code error;
        const fs::path data = placed(q, o.data);
        std::int64_t vocab = 0;  // without the data: the least that it can be
        if (fs::exists(data, error)) vocab = TokenFile(data).info().vocab_size;
        return fresh_model(o, std::max<std::int64_t>(vocab, 256), std::nullopt);
      },
      line);
}

void read_model_command(const WeftQuestion& q, const std::vector<std::string>& words,
                        WeftLine& line) {
  ModelOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  FlagKinds kinds;
  fields(kinds);
  kinds.texts.insert("--in");
  Given all = given_of(words, kinds), mine;
  // Only the options that all such commands share; the rest is for the command itself.
  mine.unknown = all.unknown, mine.open = all.open;
  for (std::size_t i = 0; i < all.args.size(); ++i) {
    const std::string flag = all.args[i].substr(0, all.args[i].find('='));
    const bool apart = flag == all.args[i];
    if (flag == "--config") mine.open = true;
    if (flag == "--in" && apart && i + 1 < all.args.size())
      line.reads.emplace_back("--in", all.args[i + 1]);
    if (!kinds.names.contains(flag)) continue;
    mine.args.push_back(all.args[i]);
    if (apart && !kinds.bare.contains(flag) && i + 1 < all.args.size())
      mine.args.push_back(all.args[++i]);
  }
  if (!parse(line.command, mine, fields, line)) return;
  set_grid(mine, o.tp, o.pp, o.dp, o.threads, line);
  line.device = mine.unknown.contains("--device") ? "" : o.device;
  // A name of a model in Hugging Face's cache is no path.
  const bool path =
      o.model.find('/') != std::string::npos || o.model.find('.') != std::string::npos;
  const bool name = !o.model.starts_with("/") && !o.model.starts_with(".") &&
                    std::count(o.model.begin(), o.model.end(), '/') == 1 &&
                    o.model.find('.') == std::string::npos;
  if (path && !name && !mine.unknown.contains("--model"))
    line.reads.emplace_back("--model", o.model);
  if (o.model.empty() || mine.unknown.contains("--model")) {
    line.not_known = "the model is not known here";
    return;
  }
  memory(
      o.held_dtype(), ParameterUse::inference, [&] { return stored_config(q, o.model, line); },
      line);
}

// Its words but for those that are not known, as the command itself takes them.
void check_words(const WeftQuestion& q, const std::vector<std::string>& words,
                 const CheckWords& check, WeftLine& line) {
  Given given;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool flag = words[i].starts_with("--") && words[i].find('=') == std::string::npos;
    if (!is_known(words[i])) continue;
    if (flag && i + 1 < words.size() && !is_known(words[i + 1]))
      ++i;  // with its value
    else
      given.args.push_back(words[i]);
  }
  WeftLine unused;  // its --config is read again below
  take_config(q, given, unused);
  bool exists = true;
  const auto failure = failure_of([&] { exists = check(line.command, given.args); });
  if (!exists)
    line.findings.push_back({0, "weft-options", LintSeverity::error,
                             fmt::format("weft has no command '{}'", line.command), ""});
  if (failure) line.findings.push_back(mistake(*failure));
}

}  // namespace

WeftLine read_weft_line(const WeftQuestion& q, const CheckWords& check) {
  WeftLine line;
  if (q.words.empty() || !is_known(q.words[0])) return line;
  line.command = q.words[0];
  if (line.command.starts_with("-")) return line;
  const std::vector<std::string> words(q.words.begin() + 1, q.words.end());
  static const std::vector<std::string> kOnGrid = {"generate", "score", "classify", "fill",
                                                   "embed"};
  if (line.command == "train") {
    read_train(q, words, line);
    return line;
  }
  if (check) check_words(q, words, check, line);
  if (line.findings.empty() &&
      std::find(kOnGrid.begin(), kOnGrid.end(), line.command) != kOnGrid.end())
    read_model_command(q, words, line);
  return line;
}

}  // namespace weft
