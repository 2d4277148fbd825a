// What ranks read and were told: the same on all, or a sentence that names host and rank.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/fields.h"

namespace weft {

// `body` reads a file. What one rank throws, all throw: Damaged (core/damaged.h) only where every
// rank that fails finds it damaged. Collective.
void read_together(Communicator& world, Stream& stream, const std::function<void()>& body);

// What every rank must have read or been told alike: "--lr" and "0.001", "--data" and a hash.
struct Fact {
  std::string name, value;
};
// Collective. `facts` names the same things on every rank; one rank alone is not asked. Where a
// value differs every rank throws a UserError with the name, and with host, rank and value of the
// first rank that stands against most.
void compare(Communicator& world, const std::function<std::vector<Fact>()>& facts, Stream& stream);
// One fact a visited option, by its flag, without those named.
std::vector<Fact> option_facts(const std::function<void(FieldVisitor&)>& visit,
                               const std::set<std::string>& left_out);

}  // namespace weft
