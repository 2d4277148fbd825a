// What the tensor-parallel ranks of a replica exchange inside a layer.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/context.h"

namespace weft {

// Sum over the tensor-parallel ranks, booked as communication.
void all_reduce_tp(const Context& ctx, View x);

// Rows of a micro-batch that row-wise layers take together: B sequences of T tokens, or T tokens of
// one.
struct RowPiece {
  std::int64_t begin = 0, B = 0, T = 0;  // rows [begin, begin + B·T)
  std::int64_t n() const { return B * T; }
  std::int64_t end() const { return begin + n(); }
};
// All rows of (B, T), or two halves of `least` rows or more: whole sequences, of one sequence its
// tokens.
std::vector<RowPiece> halves_of_rows(std::int64_t B, std::int64_t T, std::int64_t least);
// The same where sums of one half can run while the other computes (a GPU of several
// tensor-parallel ranks). Only what drops nothing is cut within a sequence, since a dropout counts
// the elements of one.
std::vector<RowPiece> row_pieces(const Context& ctx, std::int64_t B, std::int64_t T, bool drops);

// Sums over the tensor-parallel ranks that may be under way behind the stream: whoever reads or
// writes what is summed makes the stream wait first. On a CPU, and on one rank, all are done when
// start returns.
class RowSums {
 public:
  // x: rows [begin, begin + x.dim(0)) of the tensor that is summed. Collective.
  void start(const Context& ctx, View x, std::int64_t begin = 0);
  void wait(const RowPiece& rows);  // for the sums of these
  void wait();                      // for all

 private:
  struct Sum {
    std::int64_t begin, end;
    std::unique_ptr<Transfer> transfer;
  };
  std::vector<Sum> under_way_;
};

// Every rank's columns side by side, in rank order: exact, unlike a sum, so inference on a grid has
// one rank's bits.
void gather_columns_tp(const Context& ctx, View whole,  // (N, W)
                       View packed,  // (N · Σ held) scratch; may be empty when N is 1 and held is
                       ConstView part,                          // (N, held[rank])
                       std::span<const std::int64_t> widths,    // of each rank; they sum to W
                       std::span<const std::int64_t> held = {}  // columns in memory, of which the
                                                                // first count; empty: widths
);

}  // namespace weft
