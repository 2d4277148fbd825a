#include "text/token_model.h"

#include "core/check.h"
#include "text/json_values.h"

namespace weft {

std::unique_ptr<TokenModel> read_token_model(const Json& model, const std::string& origin) {
  CHECK_USER(model.is_object(), "{}: has no model", origin);
  std::string type = JsonReader(model, origin + ": model").string("type", "");
  if (type.empty())  // old files do not say it
    type = model.contains("merges")                     ? "BPE"
           : model.value("vocab", Json()).is_array()    ? "Unigram"
           : model.contains("max_input_chars_per_word") ? "WordPiece"
                                                        : "WordLevel";
  if (type == "BPE") return read_bpe(model, origin);
  if (type == "WordPiece") return read_wordpiece(model, origin);
  if (type == "Unigram") return read_unigram(model, origin);
  if (type == "WordLevel") return read_word_level(model, origin);
  user_error("{}: model type {} is not supported; allowed: BPE, WordPiece, Unigram, WordLevel",
             origin, in_message(type));
}

}  // namespace weft
