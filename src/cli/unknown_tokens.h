// How much of a corpus its tokenizer knows.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "comm/communicator.h"
#include "text/tokenizer.h"

namespace weft {

class UnknownTokens {
 public:
  explicit UnknownTokens(const Tokenizer& tokenizer);
  // The tokens of a text (nothing around it). `place` names it in messages.
  void add(const std::string& text, std::span<const std::int32_t> ids, const std::string& place);
  // Of all ranks: warns on rank 0 where nearly all tokens are unknown, with the share, an example
  // and what would help. Returns their number. Collective.
  std::int64_t report(Communicator& world, Stream& stream) const;
  std::string token() const;  // how the unknown token is spelled

 private:
  double share_of(const std::string& text) const;
  std::string advice() const;

  const Tokenizer& tokenizer_;
  std::optional<std::int32_t> id_;
  std::int64_t n_ = 0, n_unknown_ = 0;
  std::string example_, place_;  // the first text of which most is unknown
};

}  // namespace weft
