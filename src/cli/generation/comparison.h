// The continuations of a sweep beside each other: as a table for the terminal, Markdown, CSV, HTML.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft {

// One continuation, and what can be counted of it.
struct ComparedText {
  std::size_t combination = 0;
  std::string prompt, text;       // text: the continuation
  std::vector<std::int32_t> ids;  // new ones
  std::vector<double> logprobs;   // of each, by the model itself
};

struct Comparison {
  std::string title;                             // "weft generate"
  std::vector<std::string> settings;             // names of what differs: temperature
  std::vector<std::vector<std::string>> values;  // of each combination, one a setting
  std::vector<double> seconds;                   // that each combination took, or -1
  std::vector<ComparedText> texts;
};

// Distinct n-grams of the texts' ids over all of them (Li et al. 2016); NaN where there are none.
double distinct_ngrams(const std::vector<const ComparedText*>& texts, std::size_t n);
// The share of a text's n-grams that it had before (Welleck et al. 2020); NaN where there are none.
double repeated_ngrams(const std::vector<std::int32_t>& ids, std::size_t n);
// e^-mean of the log-probabilities of all tokens; NaN where there are none.
double perplexity(const std::vector<const ComparedText*>& texts);

// The file's ending says the form: .md, .csv, .html; empty: for a terminal.
std::string comparison_table(const Comparison& comparison, const std::string& file);
// UserError where the ending is another.
void check_table_name(const std::string& file);

}  // namespace weft
