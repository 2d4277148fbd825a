// The program: finds the command, starts MPI where a launcher is, turns whatever is thrown into one
// message and an exit code.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "cli/command.h"
#include "cli/help_forms.h"
#include "cli/options.h"
#include "cli/stdout.h"
#include "cli/version.h"
#include "core/check.h"
#include "core/log.h"
#include "core/spelling.h"
#include "core/system/hardware.h"

namespace {

using namespace weft;

struct Command {
  const char *name, *group, *summary;
  void (*run)(const Invocation&);
};

constexpr Command kCommands[] = {
    {"train", "train", "trains or fine-tunes a model", run_train},
    {"data", "train", "text, JSONL, CSV or FASTA into one token file", run_data},
    {"tokenizer", "train", "trains a tokenizer", run_tokenizer},
    {"generate", "use", "text from prompts", run_generate},
    {"chat", "use", "a conversation with a model", run_chat},
    {"serve", "use", "a model over HTTP, for clients of OpenAI's API", run_serve},
    {"score", "use", "log-likelihood of texts", run_score},
    {"classify", "use", "label, probability and logits of texts", run_classify},
    {"fill", "use", "candidates for masked tokens", run_fill},
    {"embed", "use", "a vector for each text, or token", run_embed},
    {"search", "use", "the nearest of the vectors that embed wrote, to texts", run_search},
    {"convert", "use",
     "a model in another form: HF directory, checkpoint, from GGUF; another dtype", run_convert},
    {"tokenize", "look inside", "the tokens of texts; ids back to text", run_tokenize},
    {"attention", "look inside", "who attends to whom: maps of each layer and head", run_attention},
    {"neighbors", "look inside", "the nearest tokens in the embedding matrix", run_neighbors},
    {"info", "look inside", "a model's module tree and sizes; without a model, this machine",
     run_info},
    {"lint", "measure", "a job script checked before it is queued", run_lint},
    {"bench", "measure",
     "machine, kernels, comm, step, generate or score on this grid, beside measured peaks",
     run_bench},
    {"report", "measure", "tables, comparison and scaling from the logs of runs", run_report},
};

void print_help() {
  std::puts(
      "Weft trains and runs transformer language models across MPI ranks.\n\n  weft COMMAND "
      "[options]\n  mpiexec -n N weft COMMAND [options]");
  const char* group = "";
  for (const Command& c : kCommands) {
    if (std::strcmp(group, c.group) != 0) std::printf("\n%s:\n", group = c.group);
    std::printf("  %-10s %s\n", c.name, c.summary);
  }
  std::puts(
      "\nweft COMMAND --help lists a command's options; weft --version [--json] what is inside.");
}

std::vector<CommandSummary> summaries() {
  std::vector<CommandSummary> all;
  for (const Command& c : kCommands) all.push_back({c.name, c.group, c.summary});
  return all;
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    if (name == c.name) return c;
    names.emplace_back(c.name);
  }
  user_error("weft has no command '{}'{}; see weft --help", name, suggestion(name, names));
}

using Arguments = std::vector<std::string>;

// Threads of OpenMP that wait for work spin on cores that others may want, and GNU's spin for
// milliseconds. 20,000 rounds are 0.3 ms: enough between two parallel regions, and a training step
// beside two busy processes takes half the time (two threads of two cores: 21 ms alone, 100 beside
// them; with this 21 and 50). The library reads its environment before main, hence the second
// start.
void bound_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY") || affinity_cpus() == 1)
    return;
  const char* threads = std::getenv("OMP_NUM_THREADS");
  if (threads && std::string_view(threads) == "1") return;
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return;
  ::setenv("GOMP_SPINCOUNT", "20000", 0);
  ::execv(program.c_str(), argv);  // returns where it cannot: then they spin
}

// What needs neither a model nor other ranks, so that it works wherever the program starts.
bool told_of_itself(const Arguments& args) {
  const std::string what = args.empty() ? "--help" : args[0];
  const bool help = what == "--help" || what == "-h" || what == "help";
  if (!help && what != "--version") return false;
  if (Mpi::launched_rank() != 0) return true;
  if (help)
    print_help();
  else
    print_version(args.size() > 1 && args[1] == "--json");
  return true;
}

// For an installation: weft(1), or a completion script, of which each command prints its part.
bool printed_help_form(Mpi& mpi, const Arguments& args) {
  if (args[0] != "--man" && args[0] != "--completion") return false;
  const bool first = mpi.rank() == 0;
  if (args[0] == "--man") {
    if (first) write_stdout(program_man_page(summaries()));
    return true;
  }
  const std::string shell = args.size() > 1 ? args[1] : "";
  CHECK_USER(shell == "bash" || shell == "zsh", "--completion is '{}'; allowed: bash, zsh", shell);
  const HelpForm form = value_of(kHelpForms, "--completion", shell);
  if (first) write_stdout(completion_begin(form, summaries()));
  for (const Command& c : kCommands) c.run({mpi, {"--help=" + shell}});
  if (first) write_stdout(completion_end(form));
  return true;
}

void run(std::optional<Mpi>& mpi, const Arguments& args, int* argc, char*** argv) {
  if (told_of_itself(args)) return;
  if (args[0] != "tokenize") bound_spinning(*argv);
  mpi.emplace(argc, argv);
  set_log_rank(mpi->rank());
  if (printed_help_form(*mpi, args)) return;
  find_command(args[0]).run({*mpi, {args.begin() + 1, args.end()}});
}

// One message whatever the number of ranks: rank 0's where all failed, this rank's own where it
// failed alone.
int report(const std::optional<Mpi>& mpi, const Failure& failure) {
  const int code = exit_code(failure.kind);
  if (!mpi || mpi->all_arrive(2.0)) {
    if (!mpi || mpi->rank() == 0) log_line(LogLevel::error, "weft: " + failure.text);
    return code;
  }
  Mpi::give_way(mpi->rank());
  log_line(LogLevel::error, fmt::format("weft: rank {} on {}: {}", mpi->rank(), host_name(),
                                        without_rank(failure.text)));
  Mpi::abort(code);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error with a sentence, not a death
  std::optional<Mpi> mpi;
  auto failure = failure_of([&] { run(mpi, {argv + 1, argv + argc}, &argc, &argv); });
  const std::string unprinted = stdout_failure();
  // What could not be printed is the reason, also where the words are those of a library.
  if (failure && failure->kind == FailureKind::program && !unprinted.empty() &&
      !failure->text.starts_with("stdout"))
    failure->text = fmt::format("stdout cannot be written ({})", failure->text);
  if (failure) return report(mpi, *failure);
  if (unprinted.empty()) return 0;
  // All ranks are done: what is left is the one that prints.
  log_line(LogLevel::error, "weft: " + unprinted);
  return exit_code(FailureKind::program);
}
