// GGUF files written by hand, so that every claim in them can be made wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace weft::test {

struct GgufFile {
  std::uint32_t version = 3, alignment = 32;
  std::uint64_t n_keys = 0, n_tensors = 0;  // what the header claims
  std::string keys, tensors, data;

  static std::string text(const std::string& s) { return number<std::uint64_t>(s.size()) + s; }
  template <class T>
  static std::string number(T x) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &x, sizeof(T));
    return bytes;
  }

  GgufFile& key(const std::string& name, std::uint32_t type, const std::string& value) {
    keys += text(name) + number(type) + value;
    ++n_keys;
    return *this;
  }
  GgufFile& text_key(const std::string& name, const std::string& value) {
    return key(name, 8, text(value));
  }
  GgufFile& int_key(const std::string& name, std::uint32_t value) {
    return key(name, 4, number(value));
  }
  GgufFile& float_key(const std::string& name, float value) { return key(name, 6, number(value)); }

  // dims: fastest first, as the file has them.
  GgufFile& entry(const std::string& name, const std::vector<std::uint64_t>& dims,
                  std::uint32_t type, std::uint64_t offset) {
    tensors += text(name) + number(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t d : dims) tensors += number(d);
    tensors += number(type) + number(offset);
    ++n_tensors;
    return *this;
  }
  GgufFile& floats(const std::string& name, const std::vector<std::uint64_t>& dims,
                   const std::vector<float>& values) {
    data.resize((data.size() + alignment - 1) / alignment * alignment, '\0');
    entry(name, dims, 0, data.size());
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
    return *this;
  }

  std::string bytes() const {
    std::string file =
        "GGUF" + number(version) + number(n_tensors) + number(n_keys) + keys + tensors;
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data;
  }
};

}  // namespace weft::test
