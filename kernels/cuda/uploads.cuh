// Tables that one launch reads, made by the host for it.
#pragma once

#include <span>

#include "kernels/cuda/upload_ring.h"

namespace weft::cuda {

// A copy of the table on the stream's device, for the launches before the next upload.
template <class Table>
auto uploaded(const Table& table, Stream& stream) {
  const std::span rows(table);
  using Row = typename decltype(rows)::value_type;
  return static_cast<const Row*>(
      stream.attached<UploadRing>().upload(rows.data(), rows.size_bytes(), stream));
}

}  // namespace weft::cuda
