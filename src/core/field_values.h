// The values of visited fields (core/fields.h) as JSON.
#pragma once

#include "core/fields.h"
#include "core/json.h"

namespace weft {

// Every field by its name; those that are unset unless given are left out where they are.
OrderedJson field_values(const VisitFields& fields);

}  // namespace weft
