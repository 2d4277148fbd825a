// A registry parameter in the tensors of Hugging Face's files: found, checked, and read a slice at
// a time. By one process alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/shard.h"
#include "core/device.h"
#include "formats/hf_tensors.h"
#include "formats/weight_source.h"

namespace weft {

// A parameter that one tensor holds, by its name in the registry ("head.weight"); none where the
// files do not have it.
std::optional<StoredTensor> find_stored(const TensorSource& source, const ModelConfig& config,
                                        const std::string& parameter);

// The tensors that it is stored in; none where it belongs to a head that may be kept (`kept` then
// says which). UserErrors: missing, a wrong shape. Valid as long as the source lives.
std::vector<StoredTensor> find_parameter(const TensorSource& source, const ModelConfig& config,
                                         const Parameter& parameter, const std::string& origin,
                                         MissingHead missing = MissingHead::error,
                                         KeptTensor* kept = nullptr);
// out = the slice of it, as the registry lays it out. UserError: a number that is not finite.
void read_parameter(const std::vector<StoredTensor>& tensors, const ModelConfig& config,
                    const Parameter& parameter, const Slice& slice, float* out, Stream& stream);
// The ranges of a slice along one dim: all of it where it is not cut there.
std::vector<Range> ranges_along(const Slice& slice, int dim);

}  // namespace weft
