#include "cli/text_inputs.h"

#include "core/check.h"

namespace weft {
namespace {

std::optional<std::string> second_text(const Document& d, std::size_t i,
                                       const std::vector<std::string>& pairs) {
  if (!pairs.empty()) return pairs[i];
  if (!d.options.is_object() || !d.options.contains("text_pair") ||
      d.options["text_pair"].is_null())
    return std::nullopt;
  CHECK_USER(d.options["text_pair"].is_string(), "text {}: text_pair is {}; it must be a string",
             d.id, d.options["text_pair"].dump().substr(0, 60));
  return d.options["text_pair"].get<std::string>();
}

}  // namespace

void WholeTextOptions::visit(FieldVisitor& v, const char* group) {
  model.visit(v);
  texts.visit(v, false);
  v.group(group);
  v.field("truncation", truncation, "cut texts that are longer than the model's context");
}

TextInputs read_inputs(Session& session, const TextOptions& options,
                       const std::vector<std::string>& pairs, bool truncate) {
  TextInputs in;
  in.documents = read_texts(options, session.grid.world(), session.stream);
  CHECK_USER(pairs.empty() || pairs.size() == in.documents.size(),
             "--text-pair is given {} times for {} texts; allowed: once a text", pairs.size(),
             in.documents.size());
  const Tokenizer& tokenizer = session.need_tokenizer();
  const auto dp = static_cast<std::size_t>(session.grid.shape().dp),
             mine = static_cast<std::size_t>(session.grid.dp().rank());
  for (std::size_t i = 0; i < in.documents.size(); ++i) {
    const Document& d = in.documents[i];
    const std::optional<std::string> pair = second_text(d, i, pairs);
    EncodeOptions how;
    if (truncate) {
      Truncation cut;
      cut.max_length = static_cast<decltype(cut.max_length)>(session.config.context);
      how.truncation = cut;
    }
    Encoding e = std::move(tokenizer.encode(d.text, pair, how).front());
    session.check_ids("text " + d.id, e.ids);
    session.check_length("text " + d.id, e.ids.size());
    if (i % dp != mine) continue;
    in.texts.push_back(
        {e.ids, session.config.token_types > 0 ? e.type_ids : std::vector<std::int32_t>{}});
    in.encodings.push_back(std::move(e));
    in.numbers.push_back(i);
  }
  return in;
}

}  // namespace weft
