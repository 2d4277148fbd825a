// What a file of JSON lines holds, field by field, as arrays in an HDF5 file.
//
//   /FIELD           (lines) int64, fp64 or strings; of a field that holds lists their items, those
//                    of one line behind those of the one before
//   /FIELD_offsets   (lines + 1) int64, of such a field: where each line's items begin
//
// true and false are 1 and 0. What a line lacks, and null, is NaN, an empty text or an empty list.
// A field with values of several kinds, or with objects, holds their JSON. A '/' or NUL in a
// field's name is '_' there, and a name that is taken gets a '_' behind it. A text ends at its
// first NUL.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace weft {

// Reads the lines twice; memory does not grow with them. The file is whole or not there.
// UserError: a line that is no JSON object.
void write_result_arrays(const std::filesystem::path& lines, const std::filesystem::path& arrays,
                         const std::vector<std::pair<std::string, std::string>>& attributes);

}  // namespace weft
