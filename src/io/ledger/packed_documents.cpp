#include "io/ledger/packed_documents.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/checksum.h"

namespace weft {
namespace {

// Numbers and texts of any bytes, one behind another.
class Packer {
 public:
  std::string packed;
  void put(std::int64_t number) {
    packed.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  void put(std::string_view text) {
    put(static_cast<std::int64_t>(text.size()));
    packed += text;
  }
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view packed) : packed_(packed) {}
  std::int64_t number() {
    std::int64_t number = 0;
    const std::string_view bytes = take(sizeof number);
    std::memcpy(&number, bytes.data(), bytes.size());
    return number;
  }
  std::string text() { return std::string(take(size())); }
  std::size_t size() {  // of what follows, a byte each at least
    const std::int64_t n = number();
    CHECK(n >= 0 && static_cast<std::size_t>(n) <= packed_.size() - at_,
          "packed texts are damaged: {} of {} bytes", n, packed_.size() - at_);
    return static_cast<std::size_t>(n);
  }

 private:
  std::string_view take(std::size_t n) {
    CHECK(n <= packed_.size() - at_, "packed texts end early");
    return packed_.substr(std::exchange(at_, at_ + n), n);
  }

  std::string_view packed_;
  std::size_t at_ = 0;
};

}  // namespace

std::int64_t EqualTexts::next(const Document& d) {
  const auto given = [&](const char* key) {
    return d.options.is_object() && d.options.contains(key) && !d.options[key].is_null();
  };
  const bool whole_number =
      given("num_return_sequences") && d.options["num_return_sequences"].is_number_integer();
  const std::int64_t n =
      whole_number
          ? std::max<std::int64_t>(d.options["num_return_sequences"].get<std::int64_t>(), 1)
          : each_;
  all_ += n;
  if (given("seed")) return 0;
  const bool batch = given("custom_id") && given("body") && d.options["custom_id"] == d.text;
  std::int64_t& before = n_[text_checksum(batch ? json_text(d.options["body"]) : d.text)];
  return std::exchange(before, before + n);
}

std::string pack(const GivenTexts& given) {
  Packer out;
  out.put(static_cast<std::int64_t>(given.documents.size()));
  for (const Document& d : given.documents) {
    for (const std::string* text : {&d.text, &d.id, &d.id_json}) out.put(*text);
    out.put(d.pair ? 1 : 0);
    if (d.pair) out.put(*d.pair);
    // CBOR keeps NaN and infinities.
    const std::vector<std::uint8_t> options =
        d.options.is_null() ? std::vector<std::uint8_t>() : Json::to_cbor(d.options);
    out.put(std::string_view(reinterpret_cast<const char*>(options.data()), options.size()));
    for (const std::int64_t number : {d.line, d.number, d.earlier_draws}) out.put(number);
  }
  out.put(static_cast<std::int64_t>(given.rejected.size()));
  for (const RejectedRecord& r : given.rejected) {
    out.put(r.line);
    out.put(r.reason);
  }
  return std::move(out.packed);
}

GivenTexts unpack(std::string_view packed) {
  Unpacker in(packed);
  GivenTexts given;
  given.documents.resize(in.size());
  for (Document& d : given.documents) {
    for (std::string* text : {&d.text, &d.id, &d.id_json}) *text = in.text();
    if (in.number() != 0) d.pair = in.text();
    if (const std::string options = in.text(); !options.empty())
      d.options = Json::from_cbor(options);
    for (std::int64_t* number : {&d.line, &d.number, &d.earlier_draws}) *number = in.number();
  }
  given.rejected.resize(in.size());
  for (RejectedRecord& r : given.rejected) {
    r.line = in.number();
    r.reason = in.text();
  }
  return given;
}

}  // namespace weft
