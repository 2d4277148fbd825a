// Results that cannot be written are a failure (exit code 1), whichever command they are of.
#pragma once

#include <string>
#include <string_view>

namespace weft {

// Prints text of any length. An Error with the system's reason where it cannot: what is more than
// stdout's buffer fails here, and its reason is gone when the buffer is flushed.
void write_stdout(std::string_view text);

// Everything printed so far has left for stdout. An Error with the system's reason where it cannot.
void flush_stdout();

// The sentence where stdout has failed, else empty.
std::string stdout_failure();

}  // namespace weft
