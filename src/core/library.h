// A shared library that is loaded when it is first needed: one that is not on every machine, and
// that only some commands need. It stays loaded.
#pragma once

#include <string>
#include <vector>

namespace weft {

class Library {
 public:
  // Looks where the system's loader does, then in `folders`, in order; "" is none.
  explicit Library(std::string name, const std::vector<std::string>& folders = {});

  std::string absence() const { return absence_; }  // why it cannot be used, a clause; "": it can
  // The address of a function. A UserError where the library or the function is not there.
  void* find(const char* function) const;

 private:
  std::string name_, absence_;
  void* handle_ = nullptr;
};

}  // namespace weft
