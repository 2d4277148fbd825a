// Which of the words there are a mistyped one was meant to be.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace weft {

// Which candidate the word was meant to be: it differs in case, dashes or underscores alone, or in
// a letter or two of a long word. Nothing for the candidates themselves and for other words.
std::optional<std::string> near_miss(const std::string& word,
                                     const std::vector<std::string>& candidates);

// The nearest of the candidates, as " (did you mean 'x'?)", or nothing when none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace weft
