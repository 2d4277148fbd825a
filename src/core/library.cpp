#include "core/library.h"

#include <dlfcn.h>

#include <utility>

#include "core/check.h"

namespace weft {

Library::Library(std::string name, const std::vector<std::string>& folders)
    : name_(std::move(name)) {
  handle_ = dlopen(name_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_) return;
  const char* said = dlerror();
  absence_ = fmt::format("{} cannot be loaded ({})", name_, said ? said : "no reason given");
  for (const std::string& folder : folders) {
    if (handle_ || folder.empty()) continue;
    handle_ = dlopen((folder + "/" + name_).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (handle_) absence_.clear();
}

void* Library::find(const char* function) const {
  CHECK_USER(handle_, "{}", absence_);
  void* address = dlsym(handle_, function);
  CHECK_USER(address, "{} has no {}: it is of another version than this weft was built for", name_,
             function);
  return address;
}

}  // namespace weft
