#include "text/files/protobuf_reader.h"

#include <bit>

#include "core/check.h"

namespace weft {
namespace {

enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

}  // namespace

std::uint64_t ProtobufReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    CHECK_USER(at_ < bytes_.size(), "{}: is cut off, or no SentencePiece model", *origin_);
    const auto byte = static_cast<std::uint8_t>(bytes_[at_++]);
    value |= static_cast<std::uint64_t>(byte & 0x7Fu) << shift;
    if (byte < 0x80) return value;
  }
  user_error("{}: is no SentencePiece model (a number has more than 64 bits)", *origin_);
}

std::uint64_t ProtobufReader::fixed(std::size_t n) {
  CHECK_USER(bytes_.size() - at_ >= n, "{}: is cut off, or no SentencePiece model", *origin_);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < n; ++i)
    value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(bytes_[at_ + i])) << (8 * i);
  at_ += n;
  return value;
}

bool ProtobufReader::next() {
  if (at_ == bytes_.size()) return false;
  const std::uint64_t key = varint();
  CHECK_USER(key >> 3 != 0 && key >> 3 < (1u << 29), "{}: is no SentencePiece model (field {})",
             *origin_, key >> 3);
  field_ = static_cast<std::uint32_t>(key >> 3);
  type_ = static_cast<std::uint32_t>(key & 7);
  if (type_ == kVarint) {
    value_ = varint();
  } else if (type_ == kFixed64 || type_ == kFixed32) {
    value_ = fixed(type_ == kFixed64 ? 8 : 4);
  } else {
    CHECK_USER(type_ == kLength, "{}: is no SentencePiece model (wire type {})", *origin_, type_);
    const std::uint64_t size = varint();
    CHECK_USER(size <= bytes_.size() - at_, "{}: is cut off, or no SentencePiece model", *origin_);
    content_ = bytes_.substr(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
  }
  return true;
}

std::int64_t ProtobufReader::integer() const {
  CHECK_USER(type_ == kVarint, "{}: is no SentencePiece model (field {} is not a whole number)",
             *origin_, field_);
  return static_cast<std::int64_t>(value_);
}
float ProtobufReader::number() const {
  CHECK_USER(type_ == kFixed32, "{}: is no SentencePiece model (field {} is not a number)",
             *origin_, field_);
  return std::bit_cast<float>(static_cast<std::uint32_t>(value_));
}
std::string_view ProtobufReader::content() const {
  CHECK_USER(type_ == kLength, "{}: is no SentencePiece model (field {} is not a text)", *origin_,
             field_);
  return content_;
}

}  // namespace weft
