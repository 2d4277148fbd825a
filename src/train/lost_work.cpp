#include "train/lost_work.h"

#include <algorithm>
#include <map>

#include "core/check.h"
#include "core/log.h"
#include "core/system/deadline.h"

namespace weft {
namespace {

constexpr std::string_view kStart = "{\"event\":\"start\"";

// Where the last start line before `end` begins; npos where there is none.
std::size_t last_start(std::string_view log, std::size_t end) {
  while (end > 0) {
    const std::size_t at = log.rfind(kStart, end - 1);
    if (at == std::string_view::npos || at == 0 || log[at - 1] == '\n') return at;
    end = at;
  }
  return std::string_view::npos;
}

// One start of the run, from its start line to the next one's.
struct Part {
  std::int64_t first = 0;  // the step it began at
  double kept_s = 0;       // its clock when `step` was saved; 0: it was not, here
  double last_s = 0;       // its clock at its last line
  bool saved = false, ended = false;
};

Part read_part(std::string_view text, std::int64_t step, LostWork& lost,
               std::map<std::int64_t, std::int64_t>& tokens) {
  Part part;
  std::int64_t logged = 0, last_step = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    failure_of([&] {
      const Json j = parse_json(line);
      const std::string event = j.value("event", "");
      const std::int64_t at = j.value("step", std::int64_t{0});
      const double clock = j.value("elapsed_s", part.last_s + j.value("step_s", 0.0));
      if (event == "start") part.first = logged = at;
      if (event == "step") {
        // Lines may be of every tenth step alone: each stands for those before it.
        const std::int64_t n = at - std::max(logged, step);
        if (n > 0) tokens[at] = n * j.value("tokens", std::int64_t{0});
        logged = last_step = at;
      }
      part.last_s = std::max(part.last_s, clock);
      if (event == "save" && at == step) part.saved = true, part.kept_s = part.last_s;
      if (event == "end") part.ended = true;
    });
  }
  lost.last_step = std::max(lost.last_step, last_step);
  return part;
}

}  // namespace

LostWork lost_work(std::string_view log, std::int64_t step) {
  LostWork lost;
  std::map<std::int64_t, std::int64_t> tokens;
  std::size_t end = log.size();
  for (std::size_t at; (at = last_start(log, end)) != std::string_view::npos; end = at) {
    const bool newest = end == log.size();
    std::map<std::int64_t, std::int64_t> of_part;
    const Part part = read_part(log.substr(at, end - at), step, lost, of_part);
    tokens.merge(of_part);  // where a step stands twice the later line counts
    // One that ended in order lost nothing but what comes after its end.
    if (newest && part.ended && lost.last_step <= step) break;
    lost.seconds += part.last_s - part.kept_s;
    if (part.saved || part.first <= step) break;
  }
  for (const auto& [at, n] : tokens) lost.tokens += n;
  return lost;
}

OrderedJson resumed_line(const std::filesystem::path& from, std::int64_t step,
                         const std::function<std::string()>& log) {
  LostWork lost;
  const auto unread = failure_of([&] { lost = lost_work(log(), step); });
  if (unread) log_warning("what the run before had done is not known ({})", unread->text);
  if (from.empty() && lost.last_step == 0) return {};
  if (lost.last_step > step)
    log_warning("steps {} to {} of the run before were not saved: {} tokens and {} are lost",
                step + 1, lost.last_step, lost.tokens, duration_text(lost.seconds));
  return {{"from", from.string()},
          {"step", step},
          {"lost_tokens", lost.tokens},
          {"lost_s", lost.seconds}};
}

}  // namespace weft
