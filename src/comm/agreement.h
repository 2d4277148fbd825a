// Failures that all ranks share: where one rank fails in a step that the others do not, all of them
// throw the same sentence, of the same kind (core/check.h).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/check.h"

namespace weft {

// Collective over `world`, as all of these. Where a rank brings a failure, every rank throws the
// first such rank's: a UserError, Error or Interrupted as it was there.
void throw_together(Communicator& world, const std::optional<Failure>& mine, Stream& stream);

// `body` on rank 0 alone; what it throws, all throw. Collective: `body` itself must not be.
void on_first_rank(Communicator& world, Stream& stream, const std::function<void()>& body);

// Every rank's text, in rank order. Collective; throws only where the group fails (Error).
std::vector<std::string> gather_texts(Communicator& world, const std::string& text, Stream& stream);

}  // namespace weft
