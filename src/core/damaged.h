// A file that was read to its end and does not hold what it should: what picks among files may skip
// it, and nothing else. The user's in that the file was named.
#pragma once

#include "core/check.h"

namespace weft {

class Damaged : public UserError {
 public:
  using UserError::UserError;
};

}  // namespace weft

// Throws weft::Damaged unless `condition` holds.
#define CHECK_WHOLE(condition, ...)                                    \
  do {                                                                 \
    if (!(condition)) throw ::weft::Damaged(fmt::format(__VA_ARGS__)); \
  } while (false)
