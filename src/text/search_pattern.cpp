#include "text/search_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/check.h"
#include "text/json_values.h"
#include "text/unicode.h"

namespace weft {

struct SearchPattern::Compiled {
  std::string origin;
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

SearchPattern::SearchPattern(const std::string& regex, std::string origin)
    : compiled_(std::make_unique<Compiled>()) {
  int error = 0;
  PCRE2_SIZE at = 0;
  compiled_->origin = std::move(origin);
  constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(),
                                  kOptions, &error, &at, nullptr);
  if (!compiled_->code) {
    PCRE2_UCHAR message[200] = {};
    pcre2_get_error_message(error, message, sizeof message);
    user_error("{}: '{}' is not a regular expression ({}, at byte {})", compiled_->origin,
               in_message(regex), reinterpret_cast<const char*>(message), at);
  }
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);  // without it the interpreter runs
}
SearchPattern::~SearchPattern() = default;
SearchPattern::SearchPattern(SearchPattern&&) noexcept = default;
SearchPattern& SearchPattern::operator=(SearchPattern&&) noexcept = default;

void SearchPattern::each(std::string_view text,
                         const std::function<void(std::size_t, std::size_t)>& found) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr), pcre2_match_data_free);
  CHECK(match, "no memory for a regular expression's match");
  std::size_t last_end = std::string_view::npos;
  for (std::size_t at = 0; at <= text.size();) {
    const int n = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                              text.size(), at, 0, match.get(), nullptr);
    if (n == PCRE2_ERROR_NOMATCH) return;
    CHECK_USER(n >= 0, "{}: the regular expression needs too many steps (PCRE2 error {})",
               compiled_->origin, n);
    const std::size_t begin = pcre2_get_ovector_pointer(match.get())[0],
                      end = pcre2_get_ovector_pointer(match.get())[1];
    CHECK_USER(
        begin <= end && end >= at,
        "{}: the regular expression moves the match's beginning (\\K), which is not supported",
        compiled_->origin);
    if (begin != end || begin != last_end) found(begin, end);
    last_end = end;
    at = end > begin ? end : end + (end < text.size() ? character_at(text, end).bytes : 1);
  }
}

}  // namespace weft
