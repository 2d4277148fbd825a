// Who holds a lock (io/lock.h): what its file's first line says of a process, and whether that
// process still lives. Of io/ alone.
#pragma once

#include <cstdint>
#include <string>

namespace weft::lock_owner {

enum class Owner : std::uint8_t { lives, gone, unknown };

// This process as JSON: host, process, its start, boot, namespace, and the lock's token.
std::string line_of_this(const std::string& token);
std::string first_line(const std::string& content);
std::string name_of(const std::string& content);  // "process 7 on host a", or "an unknown process"
// Asked of /proc on the owner's own host; unknown from another, or where the content is no owner's.
Owner look_for(const std::string& content);

}  // namespace weft::lock_owner
