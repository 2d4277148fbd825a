// Rules about the script's own commands, those that start ranks apart (job_lint_launch.cpp).
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>

#include "plan/lint_rules.h"

namespace weft {
namespace {

// PBS starts a script in the home folder.
void working_folder(const LintJob& job) {
  if (!job.pbs()) return;
  for (const LaunchLine& launch : job.launches) {
    if (launch.command.moved || launch.program.empty()) continue;
    const std::string& program = launch.program[launch.weft.value_or(0)];
    const bool relative = is_known(program) && program.find('/') != std::string::npos &&
                          !program.starts_with("/") && !program.starts_with("~");
    if (relative)
      return job.warning(launch.command.line,
                         fmt::format("'{}' is looked for in the home folder: PBS starts the "
                                     "script there",
                                     program),
                         "cd \"$PBS_O_WORKDIR\" before it");
  }
}

void modules(const LintJob& job) {
  for (const RanCommand& c : job.run.commands) {
    const bool loads = (c.words[0] == "module" && c.words.size() > 2 &&
                        (c.words[1] == "load" || c.words[1] == "add" || c.words[1] == "swap" ||
                         c.words[1] == "switch")) ||
                       (c.words[0] == "ml" && c.words.size() > 1);
    if (!loads) continue;
    // swap's first is unloaded
    const bool swaps = c.words[1] == "swap" || c.words[1] == "switch";
    for (std::size_t i = swaps && c.words.size() > 3 ? 3 : 1; i < c.words.size(); ++i)
      for (const std::string& gone : job.machine.gone_modules)
        if (::fnmatch(gone.c_str(), c.words[i].substr(0, c.words[i].find('/')).c_str(), 0) == 0)
          job.warning(c.line,
                      fmt::format("{} has no module {} any more", job.machine.name, c.words[i]),
                      "module avail");
  }
}

bool lies_in(const std::string& word, const std::string& folder) {
  const std::size_t equals = word.find('=');
  for (const std::string& path :
       {word, equals == std::string::npos ? std::string() : word.substr(equals + 1)})
    if (path == folder || path.starts_with(folder + "/")) return true;
  return false;
}

// Paths in file systems that are gone, or that the job did not ask for.
void file_system_use(const LintJob& job) {
  const auto& asked = job.request.filesystems;
  for (const MachineFileSystem& f : job.machine.file_systems) {
    if (f.path.empty()) continue;
    bool requested = !asked;
    if (asked) requested = (":" + asked->value + ":").find(":" + f.name + ":") != std::string::npos;
    if (requested && !f.gone) continue;
    for (const RanCommand& c : job.run.commands) {
      const auto word = std::find_if(c.words.begin(), c.words.end(),
                                     [&](const std::string& w) { return lies_in(w, f.path); });
      if (word == c.words.end()) continue;
      if (f.gone)
        job.warning(c.line, fmt::format("{} is gone, and so is {}", f.path, shown_text(*word)));
      else
        job.warning(c.line,
                    fmt::format("{} is used, but filesystems={} does not ask for {}",
                                shown_text(*word), asked->value, f.name),
                    fmt::format("filesystems={}:{}", asked->value, f.name));
      break;
    }
  }
}

void array_index(const LintJob& job) {
  const char* name = job.pbs() ? "PBS_ARRAY_INDEX" : "SLURM_ARRAY_TASK_ID";
  if (job.request.array_option || job.meant_elsewhere(job.pbs() ? "J" : "array")) return;
  for (const RanCommand& c : job.run.commands)
    for (const std::string& word : c.words)
      for (const std::string& unknown : unknown_names(word))
        if (unknown == name)
          return job.warning(c.line, fmt::format("{} is empty: the job is no array", name),
                             job.pbs() ? "#PBS -J 0-9%5" : "#SBATCH --array=0-9%5");
}

constexpr LintRule kRules[] = {{"working-folder", working_folder},
                               {"module", modules},
                               {"filesystem-use", file_system_use},
                               {"array-index", array_index}};

}  // namespace

std::span<const LintRule> command_rules() { return kRules; }

}  // namespace weft
