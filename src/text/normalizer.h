// Normalizers of tokenizer.json: Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase,
// Strip, StripAccents, BertNormalizer, Nmt, ByteLevel and Precompiled.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/json.h"
#include "text/characters/normalized_text.h"

namespace weft {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& text) const = 0;  // thread-safe
  virtual OrderedJson to_json() const = 0;
};

// null for null; a type it does not know is a UserError naming it.
std::unique_ptr<Normalizer> read_normalizer(const Json& json, const std::string& origin);
// By type, null where the type is none of these: NFC, NFD, NFKC, NFKD, StripAccents,
// BertNormalizer, Nmt, Lowercase.
std::unique_ptr<Normalizer> read_unicode_normalizer(const std::string& type, const Json& json,
                                                    const std::string& origin);
std::unique_ptr<Normalizer> read_precompiled(const Json& json, const std::string& origin);

// Character-wise steps that other parts use too.
void replace_characters_of_bytes(
    NormalizedText& text);  // each byte by its character (byte_level.h)

}  // namespace weft
