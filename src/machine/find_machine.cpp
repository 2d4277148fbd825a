#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "core/check.h"
#include "core/spelling.h"
#include "machine/machine.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// Folders that may be the launch kit of this program, the nearest first: of a build folder
// (build/weft, build/NAME/weft) the checkout's, of an installed prefix (bin/weft) share's.
std::vector<fs::path> launch_kits() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  std::vector<fs::path> kits;
  fs::path folder = program.parent_path();
  for (int up = 0; up < 4 && folder.has_relative_path(); ++up, folder = folder.parent_path())
    for (const char* kit : {"share/weft/launch", "launch"})
      if (fs::is_directory(folder / kit, error)) kits.push_back(folder / kit);
  return kits;
}

}  // namespace

Machine find_machine(const std::string& name) {
  if (name.ends_with(".toml")) return read_machine(name);
  std::error_code error;
  std::vector<std::string> names;
  for (const fs::path& kit : launch_kits())
    for (const fs::directory_entry& entry : fs::directory_iterator(kit, error)) {
      const fs::path file = entry.path() / "machine.toml";
      if (!fs::exists(file, error)) continue;
      if (entry.path().filename() == name) return read_machine(file);
      names.push_back(entry.path().filename().string());
    }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  user_error("there is no machine '{}'{}; allowed: a file that ends in .toml{}{}", name,
             suggestion(name, names), names.empty() ? "" : ", ", fmt::join(names, ", "));
}

std::optional<Machine> machine_of_run() {
  const char* name = std::getenv("WEFT_MACHINE");
  if (!name || !*name) return std::nullopt;
  return find_machine(name);
}

}  // namespace weft
