// This process on its host: how long it has run, and what other programs tell it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace weft {

// Seconds since this process began; what it was before an exec, and MPI's start, count. Its clock
// goes on while the host sleeps in no call of ours: it is the kernel's since boot.
double process_elapsed_s();

// Of another process; none where the kernel does not tell.
std::optional<double> process_age_s(int pid);

// What a program printed, or why there is nothing: "not found", "ended with 1", "no answer in 10
// s".
struct ProgramAnswer {
  std::string text;
  std::string failure;  // empty: it ended with 0
};

// Runs a program found on PATH, without a shell, its stdin and stderr closed to it; killed, with
// what it started, where it takes longer. What it prints past 1 MB is lost.
ProgramAnswer ask_program(const std::vector<std::string>& command, double timeout_s);

}  // namespace weft
