// The program: finds the command, starts MPI, turns whatever is thrown into one message and an exit
// code.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/version.h"
#include "core/check.h"
#include "core/log.h"

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
    {"score", "use", "log-likelihood of texts", run_score},
    {"classify", "use", "label, probability and logits of texts", run_classify},
    {"fill", "use", "candidates for masked tokens", run_fill},
    {"embed", "use", "a vector for each text, or token", run_embed},
    {"convert", "use",
     "a model in another form: HF directory, checkpoint, from GGUF; another dtype", run_convert},
    {"tokenize", "look inside", "the tokens of texts; ids back to text", run_tokenize},
    {"neighbors", "look inside", "the nearest tokens in the embedding matrix", run_neighbors},
    {"info", "look inside", "a model's module tree and sizes; without a model, this machine",
     run_info},
    {"bench", "measure",
     "machine, kernels, comm, step or generate on this grid, beside measured peaks", run_bench},
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

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    if (name == c.name) return c;
    names.emplace_back(c.name);
  }
  user_error("weft has no command '{}'{}; see weft --help", name, suggestion(name, names));
}

void run(Mpi& mpi, const std::vector<std::string>& args, int rank) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    if (rank == 0) print_help();
    return;
  }
  if (args[0] == "--version") {
    if (rank == 0) print_version(args.size() > 1 && args[1] == "--json");
    return;
  }
  find_command(args[0]).run({mpi, {args.begin() + 1, args.end()}});
}

// One message whatever the number of ranks: rank 0's where all failed, this rank's own where it
// failed alone.
int report(const Failure& failure, int rank, int size) {
  std::fflush(stdout);
  const int code = exit_code(failure.kind);
  if (Mpi::all_arrive(2.0)) {
    if (rank == 0) log_line(LogLevel::error, fmt::format("weft: {}", failure.text));
    return code;
  }
  log_line(LogLevel::error, size > 1 ? fmt::format("weft: rank {}: {}", rank, failure.text)
                                     : fmt::format("weft: {}", failure.text));
  Mpi::abort(code);
}

}  // namespace

int main(int argc, char** argv) {
  int rank = 0, size = 1;
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error with a sentence, not a death
  try {
    Mpi mpi(&argc, &argv);
    rank = mpi.world()->rank();
    size = mpi.world()->size();
    set_log_rank(rank);
    try {
      run(mpi, {argv + 1, argv + argc}, rank);
      // All ranks are done: what is left is the one that prints.
      errno = 0;
      const bool printed = std::fflush(stdout) == 0 && !std::ferror(stdout);
      if (!printed)
        log_line(LogLevel::error,
                 fmt::format("weft: stdout cannot be written ({})", std::strerror(errno)));
      return printed ? 0 : 1;
    } catch (...) {
      return report(current_failure(), rank, size);
    }
  } catch (...) {
    const Failure failure = current_failure();
    log_line(LogLevel::error, fmt::format("weft: {}", failure.text));
    return exit_code(failure.kind);
  }
}
