// What the start line of every command's run log says.
#pragma once

#include "cli/command.h"
#include "io/json.h"

namespace weft {

// The words as a shell would read them again.
std::string shell_words(const std::vector<std::string>& words);

// "weft attention --model gpt2 …", and "weft 0.1.0 (commit)": what a page says of itself.
std::string command_line(const Invocation& invocation, const std::string& what);
std::string made_by();

// The hosts that ranks run on, each once, in the order of their first ranks. Collective.
std::vector<std::string> hosts_of(Communicator& world);

// Of the command `what` ("train"): version and libraries, its command line, device, processor, and
// the machine that WEFT_MACHINE names (UserError where there is none of that name).
// Where and when it runs adds add_place() (io/run_log.h).
OrderedJson run_facts(const Invocation& invocation, const std::string& what);

}  // namespace weft
