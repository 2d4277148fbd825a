// The options of a command as data, for what is written of them: man pages, shell completion.
#pragma once

#include <string>
#include <vector>

#include "core/fields.h"

namespace weft {

struct DescribedOption {
  // What stands behind the flag: nothing (yes or no), one of `words` or nothing, a number, a text.
  enum class Takes : std::uint8_t { nothing, word_or_nothing, number, text };
  std::string flag, group, help;
  std::string default_text = {};
  Takes takes = Takes::text;
  std::vector<std::string> words = {};  // that are allowed; empty: any
};

std::vector<DescribedOption> describe_options(const VisitFields& fields);

}  // namespace weft
