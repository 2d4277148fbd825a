// Errors that all ranks share: where one rank fails in a step that the others do not, all of them
// throw the same sentence.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/check.h"

namespace weft {

// Collective. Where a rank brings an error (not empty), every rank throws UserError with the first
// such rank's text.
void agree(Communicator& world, const std::string& error, Stream& stream);

// `body` on rank 0 alone; what it throws, all throw. Collective.
void on_first_rank(Communicator& world, Stream& stream, const std::function<void()>& body);

// Every rank's text, in rank order. Collective.
std::vector<std::string> gather_texts(Communicator& world, const std::string& text, Stream& stream);

}  // namespace weft
