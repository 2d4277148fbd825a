#include "text/files/sentencepiece_model.h"

#include <cmath>
#include <string_view>

#include "core/check.h"
#include "core/utf8.h"
#include "io/files.h"
#include "text/characters/charsmap.h"
#include "text/files/protobuf_reader.h"
#include "text/token_list.h"

namespace weft {
namespace {

constexpr std::size_t kMaxPieceBytes =
    1000;  // SentencePiece's own limit is 16 characters by default

SentencePiece read_piece(std::string_view bytes, std::size_t id, const std::string& origin) {
  SentencePiece piece;
  ProtobufReader reader(bytes, origin);
  while (reader.next()) {
    if (reader.field() == 1) piece.text = reader.content();
    if (reader.field() == 2) piece.score = static_cast<double>(reader.number());
    if (reader.field() == 3) piece.type = reader.integer();
  }
  CHECK_USER(!piece.text.empty() && piece.text.size() <= kMaxPieceBytes && is_utf8(piece.text),
             "{}: token {} has {} bytes; allowed: UTF-8 of 1 to {}", origin, id, piece.text.size(),
             kMaxPieceBytes);
  CHECK_USER(std::isfinite(piece.score), "{}: the score of token '{}' is not finite", origin,
             piece.text);
  CHECK_USER(piece.type >= SentencePiece::kNormal && piece.type <= SentencePiece::kByte,
             "{}: token '{}' has type {}; allowed: {} to {}", origin, piece.text, piece.type,
             static_cast<int>(SentencePiece::kNormal), static_cast<int>(SentencePiece::kByte));
  return piece;
}

SentencePieceModel read_model(std::string_view bytes, const std::string& origin) {
  SentencePieceModel m;
  ProtobufReader reader(bytes, origin);
  while (reader.next()) {
    if (reader.field() == 1) {
      m.pieces.push_back(read_piece(reader.content(), m.pieces.size(), origin));
      CHECK_USER(static_cast<std::int64_t>(m.pieces.size()) <= kMaxTokenId,
                 "{}: has more than {} tokens", origin, kMaxTokenId);
    } else if (reader.field() == 2) {
      ProtobufReader trainer(reader.content(), origin);
      while (trainer.next()) {
        if (trainer.field() == 3) m.model_type = trainer.integer();
        if (trainer.field() == 24) m.whitespace_as_suffix = trainer.integer() != 0;
        if (trainer.field() == 35) m.byte_fallback = trainer.integer() != 0;
        if (trainer.field() == 40) m.unk_id = trainer.integer();
        if (trainer.field() == 41) m.bos_id = trainer.integer();
        if (trainer.field() == 42) m.eos_id = trainer.integer();
      }
    } else if (reader.field() == 3) {
      ProtobufReader normalizer(reader.content(), origin);
      while (normalizer.next()) {
        if (normalizer.field() == 2) m.charsmap = normalizer.content();
        if (normalizer.field() == 3) m.add_dummy_prefix = normalizer.integer() != 0;
        if (normalizer.field() == 4) m.remove_extra_whitespaces = normalizer.integer() != 0;
        if (normalizer.field() == 5) m.escape_whitespaces = normalizer.integer() != 0;
      }
    }
  }
  const auto n = static_cast<std::int64_t>(m.pieces.size());
  CHECK_USER(n > 0, "{}: has no tokens, or is no SentencePiece model", origin);
  CHECK_USER(m.model_type == 1 || m.model_type == 2,
             "{}: is a SentencePiece model of type {}; allowed: 1 (unigram), 2 (BPE)", origin,
             m.model_type);
  CHECK_USER(!m.whitespace_as_suffix, "{}: treat_whitespace_as_suffix is true; not supported",
             origin);
  CHECK_USER(m.unk_id >= 0 && m.unk_id < n, "{}: unk_id is {}; allowed: 0 to {}", origin, m.unk_id,
             n - 1);
  CHECK_USER(m.bos_id < n && m.eos_id < n, "{}: bos_id and eos_id are {} and {}; allowed: up to {}",
             origin, m.bos_id, m.eos_id, n - 1);
  return m;
}

}  // namespace

SentencePieceModel read_sentencepiece_model(const std::filesystem::path& file) {
  const std::string origin = file.string(), bytes = read_text_file(file);
  SentencePieceModel m = read_model(bytes, origin);
  if (!m.charsmap.empty())
    Charsmap(m.charsmap, origin);  // refused here rather than where the JSON is read
  return m;
}

}  // namespace weft
