// Results that cannot be written are a failure (exit code 1), whichever command they are of.
#pragma once

#include <string>

namespace weft {

// Everything printed so far has left for stdout. An Error with the system's reason where it cannot.
void flush_stdout();

// The sentence where stdout has failed, else empty.
std::string stdout_failure();

}  // namespace weft
