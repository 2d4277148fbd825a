// Rows for tokens that a model's files do not have yet, as transformers' resize_token_embeddings
// gives them by default (mean_resizing, version 5.24): tables get the mean of the old rows, and
// beside it, where there are more tokens than columns, noise of 1e-9 times their covariance; the
// bias of a tied head gets zeros, that of another one the old mean with a deviation of 1e-9 times
// the old one.
#pragma once

#include <cstdint>
#include <string>

#include "io/weights/stored_tensor.h"
#include "model/parameters.h"

namespace weft {

// Whether the parameter has a row (or a number) for each token.
bool is_by_token(const Parameter& parameter);

// The same parameter in a model of so many tokens.
Parameter with_tokens(const Parameter& parameter, std::int64_t n_tokens);

// What makes new rows: the same on every rank, whatever rows it holds.
struct NewTokens {
  std::int64_t n_old = 0;  // tokens in the files; 0: as many as in the model
  std::uint64_t seed = 0;
};

// out (rows of `range`, columns) = new rows [range.begin, range.end), all of them at n_old or
// behind, of a parameter that `old` is the first n_old rows of.
void fill_new_rows(const StoredTensor& old, const Parameter& parameter, bool tied_head,
                   const NewTokens& tokens, Range range, float* out);

}  // namespace weft
