// The Precompiled normalizer of tokenizer.json: SentencePiece's table applied to a text that knows its places.
#include "core/check.h"
#include "text/normalizer.h"
#include "text/precompiled.h"

namespace weft {
namespace {

class PrecompiledNormalizer : public Normalizer {
 public:
  PrecompiledNormalizer(const std::string& base64, const std::string& origin) : base64_(base64), table_(bytes_of_base64(base64, origin), origin) {}

  void apply(NormalizedText& text) const override {
    std::vector<Change> changes;
    table_.apply(text.text(), changes);
    const std::string_view old = text.text();
    Rewriter out(text);
    std::size_t at = 0;
    for (const Change& c : changes) {
      const std::size_t end = at + c.bytes;
      if (old.substr(at, c.bytes) == c.replacement) out.keep(at, end);
      else if (!c.replacement.empty()) out.put_at(c.replacement, c.bytes > 0 ? text.place(at, end) : text.start());
      at = end;
    }
    out.finish();
  }
  OrderedJson to_json() const override { return {{"type", "Precompiled"}, {"precompiled_charsmap", base64_}}; }

 private:
  std::string base64_;
  Precompiled table_;
};

}  // namespace

std::unique_ptr<Normalizer> read_precompiled(const Json& json, const std::string& origin) {
  const Json map = json.value("precompiled_charsmap", Json());
  CHECK_USER(map.is_string(), "{}: the normalizer Precompiled has no precompiled_charsmap", origin);
  return std::make_unique<PrecompiledNormalizer>(map.get<std::string>(), origin);
}

}  // namespace weft
