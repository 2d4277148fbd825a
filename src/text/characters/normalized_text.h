// Text under normalization, and where each of its bytes came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Bytes [begin, end) of the original text.
struct Place {
  std::uint32_t begin = 0, end = 0;
};

// As the reference's NormalizedString. A text that nothing has changed is a view of the original
// and has no places; one that is not `aligned` never has any (only ids are asked for).
class NormalizedText {
 public:
  NormalizedText(std::string_view original, std::size_t base, bool aligned)
      : view_(original), base_(static_cast<std::uint32_t>(base)), aligned_(aligned) {}
  std::string_view text() const { return owned_ ? std::string_view(own_) : view_; }
  bool aligned() const { return aligned_; }
  NormalizedText slice(std::size_t begin, std::size_t end) const;  // valid as long as this one
  // Where the bytes [begin, end), at least one, came from.
  Place place(std::size_t begin, std::size_t end) const;
  Place place_at(std::size_t at) const;           // of the character that byte `at` is part of
  Place start() const { return {base_, base_}; }  // for what is put before everything
  void become(std::string text, std::vector<Place> places);

 private:
  std::string_view view_;
  std::string own_;
  std::vector<Place> places_;  // a byte; empty: as in the original, from base_
  std::uint32_t base_ = 0;
  bool owned_ = false, aligned_ = true;
};

// Writes the next state of a text from left to right.
class Rewriter {
 public:
  explicit Rewriter(NormalizedText& text) : text_(text) { out_.reserve(text.text().size() + 16); }
  void keep(std::size_t begin, std::size_t end);  // bytes of the old text, with their places
  void put(std::string_view what,
           std::size_t at);  // new bytes that share the place of old byte `at`
  void put_at(std::string_view what, Place place);
  std::size_t size() const { return out_.size(); }
  void finish() { text_.become(std::move(out_), std::move(places_)); }

 private:
  NormalizedText& text_;
  std::string out_;
  std::vector<Place> places_;
};

}  // namespace weft
