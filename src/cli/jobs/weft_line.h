// What a command line of weft in a job script asks for, by the options that the commands themselves
// visit.
#pragma once

#include "plan/job_lint.h"

namespace weft {

// Throws a UserError where the command does not take the words; true: there is such a command.
using CheckWords =
    std::function<bool(const std::string& command, const std::vector<std::string>& words)>;

// For the linter (plan/job_lint.h). Never throws; what is wrong is among the findings. Without
// `check` the options that only one command has are not looked at (train's are).
WeftLine read_weft_line(const WeftQuestion& question, const CheckWords& check = nullptr);

}  // namespace weft
