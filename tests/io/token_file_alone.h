// A token file that one process writes alone, whatever the others do.
#pragma once

#include "io/token_file.h"

namespace weft::test {

inline void write_token_file_alone(const std::filesystem::path& file, const TokenFileInfo& info,
                                   const TokenFilePart& part) {
  const auto self = make_self_communicator();
  Stream stream;
  write_token_file(file, info, part, *self, stream);
}

}  // namespace weft::test
