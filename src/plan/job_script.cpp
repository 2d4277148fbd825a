#include "plan/job_script.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

namespace weft {
namespace {

// Options of qsub that take no value; all others take one.
constexpr std::string_view kPbsBare = "hIVXzfG";

const std::map<char, const char*>& slurm_letters() {
  static const std::map<char, const char*> letters = {
      {'A', "account"},       {'a', "array"},     {'b', "begin"},      {'C', "constraint"},
      {'c', "cpus-per-task"}, {'D', "chdir"},     {'d', "dependency"}, {'e', "error"},
      {'F', "nodefile"},      {'G', "gpus"},      {'H', "hold"},       {'i', "input"},
      {'J', "job-name"},      {'k', "no-kill"},   {'L', "licenses"},   {'M', "clusters"},
      {'m', "distribution"},  {'N', "nodes"},     {'n', "ntasks"},     {'O', "overcommit"},
      {'o', "output"},        {'p', "partition"}, {'Q', "quiet"},      {'q', "qos"},
      {'s', "oversubscribe"}, {'S', "core-spec"}, {'t', "time"},       {'v', "verbose"},
      {'W', "wait"},          {'w', "nodelist"},  {'x', "exclude"},    {'B', "extra-node-info"}};
  return letters;
}

constexpr std::string_view kSlurmBare[] = {
    "hold",       "overcommit", "quiet",      "oversubscribe", "verbose",
    "wait",       "requeue",    "no-requeue", "exclusive",     "parsable",
    "contiguous", "spread-job", "no-kill",    "use-min-nodes", "reboot",
    "nice",       "ignore-pbs", "test-only",  "get-user-env"};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Words as qsub and sbatch take them apart: at blanks, quotes kept together.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool started = false;
  char quote = 0;
  for (const char c : text) {
    if (quote) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '"' || c == '\'') {
      quote = c, started = true;
    } else if (c == ' ' || c == '\t') {
      if (started) words.push_back(std::exchange(word, ""));
      started = false;
    } else {
      word += c, started = true;
    }
  }
  if (started) words.push_back(word);
  return words;
}

class Reader {
 public:
  Reader(JobScript& job, SchedulerKind kind) : job_(job), kind_(kind) {}

  // The text behind the prefix.
  void directive(std::string_view text, int line) {
    std::vector<std::string> words = words_of(text);
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::string& word = words[i];
      if (word.starts_with("#")) {
        if (kind_ == SchedulerKind::slurm) return;  // sbatch has comments there
        std::string comment;
        for (; i < words.size(); ++i) comment += (comment.empty() ? "" : " ") + words[i];
        job_.comments.push_back({line, comment});
      } else if (word.size() < 2 || word[0] != '-') {
        job_.stray.push_back({line, word});
      } else if (kind_ == SchedulerKind::slurm) {
        slurm(words, i, line);
      } else {
        pbs(words, i, line);
      }
    }
  }

 private:
  void pbs(const std::vector<std::string>& words, std::size_t& i, int line) {
    const std::string word = words[i];
    JobOption& option = job_.options.emplace_back();
    option.line = line;
    option.name = word.starts_with("--") ? word.substr(2) : word.substr(1, 1);
    option.takes_value = kPbsBare.find(option.name) == std::string_view::npos;
    if (word.starts_with("--")) {
      const std::size_t equals = option.name.find('=');
      if (equals != std::string::npos) option.value = option.name.substr(equals + 1);
      option.name = word.substr(0, equals == std::string::npos ? equals : equals + 2);
      return;
    }
    if (!option.takes_value) return;
    option.value = without_equals(word.substr(2), word, line);
    if (option.value.empty() && i + 1 < words.size() && !words[i + 1].starts_with("#"))
      option.value = words[++i];
  }

  void slurm(const std::vector<std::string>& words, std::size_t& i, int line) {
    const std::string word = words[i];
    JobOption& option = job_.options.emplace_back();
    option.line = line;
    const auto bare = [&] {
      return std::find(std::begin(kSlurmBare), std::end(kSlurmBare), option.name) !=
             std::end(kSlurmBare);
    };
    const auto next = [&] {
      option.takes_value = !bare();
      if (option.takes_value && option.value.empty() && i + 1 < words.size() &&
          !words[i + 1].starts_with("#"))
        option.value = words[++i];
    };
    if (word.starts_with("--")) {
      const std::size_t equals = word.find('=');
      option.name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      option.takes_value = !bare();
      if (equals == std::string::npos) return next();
      option.value = word.substr(equals + 1);
      return;
    }
    const auto letter = slurm_letters().find(word[1]);
    option.name = letter == slurm_letters().end() ? word.substr(0, 2) : letter->second;
    option.value = without_equals(word.substr(2), word, line);
    next();
  }

  // Of -A=biology the value that was meant.
  std::string without_equals(const std::string& value, const std::string& word, int line) {
    if (!value.starts_with("=")) return value;
    job_.equals.push_back({line, word});
    return value.substr(1);
  }

  JobScript& job_;
  SchedulerKind kind_;
};

// Whether a comment was meant as a directive: "# PBS -q debug", "#pbs -q debug", "#SBACTH --time".
bool nearly_directive(std::string_view line, const std::string& prefix) {
  if (line.starts_with("##")) return false;  // how directives are switched off
  std::string_view rest = trimmed(line.substr(1));
  const std::string word = lower(rest.substr(0, rest.find_first_of(" \t-")));
  rest = trimmed(rest.substr(std::min(word.size(), rest.size())));
  if (!rest.starts_with("-") || rest.size() < 2) return false;
  const std::string name = lower(prefix.substr(1));
  if (word == name) return true;
  std::string a = word, b = name;
  std::sort(a.begin(), a.end()), std::sort(b.begin(), b.end());
  return word.size() >= 3 && a == b;  // two letters in the wrong order
}

}  // namespace

std::string directive_prefix(SchedulerKind kind) {
  return kind == SchedulerKind::slurm ? "#SBATCH" : "#PBS";
}

const JobOption* JobScript::find(const std::string& name) const {
  for (auto option = options.rbegin(); option != options.rend(); ++option)
    if (option->name == name) return &*option;
  return nullptr;
}

JobScript read_job_script(const std::string& file, std::string text, SchedulerKind wanted) {
  JobScript job;
  job.file = file;
  if (text.starts_with("\xef\xbb\xbf")) {
    job.byte_order_mark = true;
    text.erase(0, 3);
  }
  job.carriage_returns = text.find("\r\n") != std::string::npos;
  text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());
  job.text = std::move(text);
  const SchedulerKind other =
      wanted == SchedulerKind::slurm ? SchedulerKind::pbs : SchedulerKind::slurm;
  const std::string prefix = directive_prefix(wanted), foreign = directive_prefix(other);
  const bool pbs = wanted != SchedulerKind::slurm;
  Reader reader(job, wanted);
  std::string_view rest = job.text;
  for (int line = 1; !rest.empty(); ++line) {
    const int began = line;
    std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string whole(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const bool directive_line = pbs && trimmed(whole).starts_with(prefix);  // sbatch joins none
    while (directive_line && whole.ends_with('\\') && !rest.empty()) {
      whole.pop_back();
      end = std::min(rest.find('\n'), rest.size());
      whole += rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      ++line;
    }
    job.last_line = line;
    if (began == 1) job.first_line = whole;
    const std::string_view shown = trimmed(whole);
    if (shown.empty() || (began == 1 && shown.starts_with("#!"))) continue;
    if (!shown.starts_with("#")) {
      if (job.first_command == 0 && !(pbs && shown.starts_with(":"))) job.first_command = began;
      continue;
    }
    const bool early = job.first_command == 0;
    const auto is_directive = [&](const std::string& mark) {
      return shown.starts_with(mark) &&
             (shown.size() == mark.size() ||
              !std::isalnum(static_cast<unsigned char>(shown[mark.size()])));
    };
    if (is_directive(prefix) && !pbs && shown[0] != whole[0]) {
      job.near.push_back({began, whole});  // sbatch wants it at the line's begin
    } else if (is_directive(prefix)) {
      const std::string_view behind = shown.substr(prefix.size());
      if (!early) {
        job.late.push_back({began, std::string(shown)});
        continue;
      }
      job.kind = wanted;
      if (!behind.empty() && behind[0] != ' ' && behind[0] != '\t')
        job.glued.push_back({began, std::string(shown)});
      reader.directive(behind, began);
    } else if (is_directive(foreign) || shown.starts_with("#COBALT")) {
      job.foreign.push_back({began, std::string(shown)});
    } else if (nearly_directive(shown, prefix)) {
      job.near.push_back({began, std::string(shown)});
    }
  }
  if (job.kind == SchedulerKind::none && !job.foreign.empty()) job.kind = other;
  return job;
}

}  // namespace weft
