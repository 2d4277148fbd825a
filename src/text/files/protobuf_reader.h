// Protocol buffers as they lie in a file, field after field, with nothing believed: a length past
// the end is a UserError.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

class ProtobufReader {
 public:
  ProtobufReader(std::string_view bytes, const std::string& origin)
      : bytes_(bytes), origin_(&origin) {}
  // The next field; false at the end. What it holds is read from below.
  bool next();
  std::uint32_t field() const { return field_; }
  // UserErrors where the field is of another type.
  std::int64_t integer() const;  // of an enum or boolean too
  float number() const;
  std::string_view content() const;  // a string, bytes or a message

 private:
  std::uint64_t varint();
  std::uint64_t fixed(std::size_t n);
  std::string_view bytes_;
  std::size_t at_ = 0;
  const std::string* origin_;
  std::uint32_t field_ = 0, type_ = 0;
  std::uint64_t value_ = 0;
  std::string_view content_;
};

}  // namespace weft
