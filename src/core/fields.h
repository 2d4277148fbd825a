// Options are described once: a struct of options visits its fields, and visitors make flags,
// --help, TOML and JSON of them.
//   void visit(FieldVisitor& v) { v.group("model"); v.field("layers", layers, "number of blocks");
//   }
// The name is the flag with underscores (batch_size: --batch-size).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft {

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void group(const char* name) = 0;
  virtual void field(const char* name, std::string& value, const char* help) = 0;
  virtual void field(const char* name, std::int64_t& value, const char* help) = 0;
  virtual void field(const char* name, double& value, const char* help) = 0;
  virtual void field(const char* name, bool& value, const char* help) = 0;
  virtual void field(const char* name, std::vector<std::string>& value, const char* help) = 0;
  // Unset unless given.
  virtual void field(const char* name, std::optional<std::int64_t>& value, const char* help) = 0;
  virtual void field(const char* name, std::optional<double>& value, const char* help) = 0;
  virtual void field(const char* name, std::optional<bool>& value, const char* help) = 0;
};

}  // namespace weft
