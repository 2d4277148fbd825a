#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include <utility>

#include "core/check.h"
#include "text/unicode.h"

namespace weft {
namespace {

constexpr std::size_t kMaxPattern = 1 << 16;

// White_Space, without U+180E, which PCRE2's \s has and Oniguruma's has not; and all that is not in it.
constexpr const char* kSpace = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr const char* kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Oniguruma's \w: Alphabetic, marks, decimal digits, connectors. PCRE2's has neither marks nor connectors.
constexpr const char* kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

bool is_script(std::string_view name) {
  if (!name.empty() && name[0] == '^') name.remove_prefix(1);
  return name.size() > 2 && name != "Any" && name.find(':') == std::string_view::npos && name.find('=') == std::string_view::npos;
}

// `scripts`: writes \p{Han} as \p{sc:Han}, which newer PCRE2 needs to mean the script alone.
std::string rewrite(const std::string& p, bool scripts, const std::string& origin) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const char c = p[i];
    if (c == '\\' && i + 1 < p.size()) {
      const char e = p[++i];
      const std::string set = e == 's' ? kSpace : e == 'S' ? kNotSpace : e == 'w' || e == 'W' ? kWord : e == 'h' || e == 'H' ? "0-9a-fA-F" : "";
      if (e == 'b' && !in_class) {
        out += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWord);
      } else if (set.empty()) {
        out += {'\\', e};
        if ((e != 'p' && e != 'P') || i + 1 >= p.size() || p[i + 1] != '{') continue;
        const std::size_t end = p.find('}', i);
        CHECK_USER(end != std::string::npos, "{}: the regex '{}' has a property without '}}'", origin, p.substr(0, 100));
        std::string name = p.substr(i + 2, end - i - 2);
        const bool negated = name.starts_with('^');
        if (scripts && is_script(name)) name = (negated ? "^sc:" : "sc:") + name.substr(negated);
        out += "{" + name + "}";
        i = end;
      } else {
        CHECK_USER(!in_class || (e != 'W' && e != 'H'), "{}: the regex '{}' has \\{} in a class, which is not supported", origin, p.substr(0, 100), e);
        const bool negated = e == 'W' || e == 'H';
        out += in_class ? set : (negated ? "[^" : "[") + set + "]";
      }
      continue;
    }
    if (in_class) {
      const bool posix = c == '[' && i + 1 < p.size() && p[i + 1] == ':';
      CHECK_USER((c != '[' || posix) && p.compare(i, 2, "&&") != 0, "{}: the regex '{}' has a set within a class ('[' or '&&'), which is not supported", origin,
                 p.substr(0, 100));
      if (posix) {
        const std::size_t end = p.find(":]", i);
        CHECK_USER(end != std::string::npos, "{}: the regex '{}' has a class without an end", origin, p.substr(0, 100));
        out += p.substr(i, end + 2 - i);
        i = end + 1;
        continue;
      }
      if (c == ']') in_class = false;
    } else if (c == '[') {
      in_class = true;
      out += c;
      if (i + 1 < p.size() && p[i + 1] == '^') out += p[++i];
      if (i + 1 < p.size() && p[i + 1] == ']') out += p[++i];
      continue;
    }
    out += c;
  }
  return out;
}

}  // namespace

struct Regex::Impl {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;
  ~Impl() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

Regex::Regex(std::string pattern, const std::string& origin) : pattern_(std::move(pattern)), impl_(std::make_unique<Impl>()) {
  CHECK_USER(pattern_.size() <= kMaxPattern, "{}: a regex has {} bytes; allowed: {}", origin, pattern_.size(), kMaxPattern);
  int error = 0;
  PCRE2_SIZE where = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  for (const bool scripts : {true, false}) {
    const std::string text = rewrite(pattern_, scripts, origin);
    // Lines: Oniguruma's ^ and $ are those of a line, always.
    impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_MATCH_INVALID_UTF,
                                &error, &where, context);
    if (impl_->code) break;
  }
  pcre2_compile_context_free(context);
  if (!impl_->code) {
    unsigned char message[128] = {};
    pcre2_get_error_message(error, message, sizeof message);
    user_error("{}: the regex '{}' cannot be read ({})", origin, pattern_.substr(0, 200), reinterpret_cast<const char*>(message));
  }
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter serves
  impl_->limits = pcre2_match_context_create(nullptr);
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::string escape_regex(std::string_view literal) {
  std::string out;
  for (char c : literal) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~ ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

RegexScan::RegexScan(const Regex& regex) : regex_(regex), data_(pcre2_match_data_create_from_pattern(regex.impl_->code, nullptr)) {
  CHECK(data_, "out of memory for a regex");
}
RegexScan::~RegexScan() { pcre2_match_data_free(static_cast<pcre2_match_data*>(data_)); }

void RegexScan::begin(std::string_view text) {
  text_ = text;
  at_ = 0;
  matched_ = false;
}

bool RegexScan::next(std::size_t& match_begin, std::size_t& match_end) {
  auto* data = static_cast<pcre2_match_data*>(data_);
  while (at_ <= text_.size()) {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data() ? text_.data() : "");
    int n = pcre2_match(regex_.impl_->code, subject, text_.size(), at_, 0, data, regex_.impl_->limits);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT) n = pcre2_match(regex_.impl_->code, subject, text_.size(), at_, PCRE2_NO_JIT, data, regex_.impl_->limits);
    if (n == PCRE2_ERROR_NOMATCH) return false;
    CHECK_USER(n > 0, "the regex '{}' gives up on a text of {} bytes (PCRE2 error {})", regex_.pattern_.substr(0, 200), text_.size(), n);
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(data);
    match_begin = found[0];
    match_end = found[1];
    const bool empty = match_begin == match_end;
    const std::size_t step = empty && match_end < text_.size() ? character_at(text_, match_end).bytes : 1;
    at_ = match_end + (empty ? step : 0);
    if (empty && matched_ && last_end_ == match_end) continue;
    matched_ = true;
    last_end_ = match_end;
    return true;
  }
  return false;
}

}  // namespace weft
