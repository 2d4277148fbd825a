// The Precompiled normalizer of tokenizer.json: SentencePiece's table applied to a text that knows
// its places.
#include "core/check.h"
#include "text/characters/charsmap.h"
#include "text/characters/unicode.h"
#include "text/normalizer.h"

namespace weft {
namespace {

// A new character and how many more there are for it: 0 takes the place of one old character, -n of
// n more behind that, 1 is put in.
struct Step {
  std::string_view character;
  std::int64_t change;
};

std::int64_t n_characters(std::string_view text) {
  std::int64_t n = 0;
  for (std::size_t at = 0; at < text.size(); at += character_at(text, at).bytes) ++n;
  return n;
}

// The reference's places, its own oddities included: new characters take the old ones' places one
// by one, the last old one's when there are more of them; of what is left out only the first has a
// place, and what is left out before everything is forgotten.
void put_with_places(const NormalizedText& text, const std::vector<Change>& changes,
                     Rewriter& out) {
  const std::string_view old = text.text();
  std::vector<Step> steps;
  std::size_t at = 0;
  for (const Change& c : changes) {
    const std::int64_t n_old = n_characters(old.substr(at, c.bytes));
    std::int64_t n_new = 0;
    for (std::size_t i = 0, n; i < c.replacement.size(); i += n, ++n_new) {
      n = character_at(c.replacement, i).bytes;
      steps.push_back({std::string_view(c.replacement).substr(i, n), n_new < n_old ? 0 : 1});
    }
    if (n_new < n_old && !steps.empty()) steps.back().change -= n_old - n_new;
    at += c.bytes;
  }
  at = 0;
  for (const Step& step : steps) {
    out.put_at(step.character, step.change <= 0 ? text.place_at(at)
                               : at > 0         ? text.place_at(at - 1)
                                                : text.start());
    for (std::int64_t i = step.change; i <= 0; ++i) at += character_at(old, at).bytes;
  }
}

class Precompiled : public Normalizer {
 public:
  Precompiled(const std::string& base64, const std::string& origin)
      : base64_(base64), table_(bytes_of_base64(base64, origin), origin) {}

  void apply(NormalizedText& text) const override {
    std::vector<Change> changes;
    table_.apply(text.text(), changes);
    Rewriter out(text);
    if (text.aligned())
      put_with_places(text, changes, out);
    else
      for (const Change& c : changes) out.put_at(c.replacement, {});
    out.finish();
  }
  OrderedJson to_json() const override {
    return {{"type", "Precompiled"}, {"precompiled_charsmap", base64_}};
  }

 private:
  std::string base64_;
  Charsmap table_;
};

}  // namespace

std::unique_ptr<Normalizer> read_precompiled(const Json& json, const std::string& origin) {
  const Json map = json.value("precompiled_charsmap", Json());
  CHECK_USER(map.is_string(), "{}: the normalizer Precompiled has no precompiled_charsmap", origin);
  return std::make_unique<Precompiled>(map.get<std::string>(), origin);
}

}  // namespace weft
