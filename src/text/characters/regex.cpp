#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/characters/regex.h"

#include <pcre2.h>

#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "core/check.h"
#include "core/utf8.h"
#include "text/characters/unicode.h"
#include "text/characters/unicode_properties.h"

namespace weft {
namespace {

constexpr std::size_t kMaxPattern = 1 << 16;

// White_Space, without U+180E, which PCRE2's \s has and Oniguruma's has not; and all that is not in
// it.
constexpr const char* kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f})"
    R"(\x{3000})";
constexpr const char* kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::int32_t kLastCode = 0x10FFFF;

// The characters that PCRE2 takes for those of a class.
CodeRanges matches_of_class(const std::string& set) {
  static const std::string all = [] {
    std::string text;
    for (std::int32_t c = 0; c <= kLastCode; ++c)
      if (c < 0xD800 || c > 0xDFFF) append_utf8(text, static_cast<std::uint32_t>(c));
    return text;
  }();
  int error = 0;
  PCRE2_SIZE where = 0;
  const std::string pattern = "[" + set + "]+";
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &where, nullptr),
      pcre2_code_free);
  CodeRanges out;
  if (!code) return out;  // a category that this PCRE2 has not
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
  CHECK(data, "out of memory for a regex");
  for (std::size_t at = 0; at < all.size();) {
    const int n = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(all.data()), all.size(), at,
                              PCRE2_NO_UTF_CHECK, data.get(), nullptr);
    if (n == PCRE2_ERROR_NOMATCH) break;
    CHECK(n > 0, "PCRE2 error {}", n);
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(data.get());
    std::size_t last = found[1] - 1;
    while ((static_cast<std::uint8_t>(all[last]) & 0xC0u) == 0x80u) --last;
    const std::int32_t first = character_at(all, found[0]).code, end = character_at(all, last).code;
    if (first < 0xD800 && end > 0xDFFF) {  // the surrogates between are no characters
      out.emplace_back(first, 0xD7FF);
      out.emplace_back(0xE000, end);
    } else {
      out.emplace_back(first, end);
    }
    at = found[1];
  }
  return out;
}

// Ranges as PCRE2 reads them within a class.
std::string written(const CodeRanges& ranges) {
  std::string out;
  for (const auto& [first, last] : ranges)
    out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", first, last);
  return out;
}

CodeRanges complement(const CodeRanges& ranges) {
  CodeRanges out;
  std::int32_t at = 0;
  for (const auto& [first, last] : ranges) {
    if (at < first) out.emplace_back(at, first - 1);
    at = last + 1;
  }
  if (at <= kLastCode) out.emplace_back(at, kLastCode);
  return out;
}

// `wanted`, within a class: as PCRE2's own `set`, which it looks up quickly, and what it lacks of
// them, or in full where it has others too.
std::string class_of_ranges(const std::string& set, const CodeRanges& wanted) {
  const CodeRanges own = matches_of_class(set);
  CodeRanges lacking;
  std::size_t i = 0;
  const auto part_of_wanted = [&](const std::pair<std::int32_t, std::int32_t>& range) {
    return std::any_of(wanted.begin(), wanted.end(), [&](const auto& w) {
      return w.first <= range.first && range.second <= w.second;
    });
  };
  if (own.empty() || !std::all_of(own.begin(), own.end(), part_of_wanted)) return written(wanted);
  for (const auto& [first, last] : wanted) {
    std::int32_t at = first;
    for (; i < own.size() && own[i].second <= last; at = own[i++].second + 1)
      if (at < own[i].first) lacking.emplace_back(at, own[i].first - 1);
    if (at <= last) lacking.emplace_back(at, last);
  }
  return set + written(lacking);
}

// What a class of Oniguruma's holds, within a class of PCRE2's. Their Unicode versions differ, and
// PCRE2's \w has neither marks nor connectors.
std::string word_set() {
  static const std::string set =
      class_of_ranges(R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})", ranges_of_flag(kRegexWord));
  return set;
}

std::string category_set(const std::string& name, const CodeRanges& ranges) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  const std::lock_guard lock(mutex);
  auto found = known.find(name);
  if (found == known.end())
    found = known.emplace(name, class_of_ranges("\\p{" + name + "}", ranges)).first;
  return found->second;
}

bool is_script(std::string_view name) {
  return name.size() > 2 && name != "Any" && name.find(':') == std::string_view::npos &&
         name.find('=') == std::string_view::npos;
}

// `scripts`: writes \p{Han} as \p{sc:Han}, which newer PCRE2 needs to mean the script alone.
std::string rewrite(const std::string& p, bool scripts, const std::string& origin) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const char c = p[i];
    if (c == '\\' && i + 1 < p.size()) {
      const char e = p[++i];
      const std::string set = e == 's'               ? kSpace
                              : e == 'S'             ? kNotSpace
                              : e == 'w' || e == 'W' ? word_set()
                              : e == 'd' || e == 'D' ? category_set("Nd", *ranges_of_category("Nd"))
                              : e == 'h' || e == 'H' ? "0-9a-fA-F"
                                                     : "";
      if (e == 'b' && !in_class) {
        out += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", word_set());
      } else if (set.empty()) {
        if ((e != 'p' && e != 'P') || i + 1 >= p.size() || p[i + 1] != '{') {
          out += {'\\', e};
          continue;
        }
        const std::size_t end = p.find('}', i);
        CHECK_USER(end != std::string::npos, "{}: the regex '{}' has a property without '}}'",
                   origin, in_message(p));
        std::string name = p.substr(i + 2, end - i - 2);
        bool negated = name.starts_with('^');
        if (negated) name.erase(0, 1);
        if (e == 'P') negated = !negated;
        i = end;
        if (const auto category = ranges_of_category(name)) {
          if (in_class && negated)
            out += written(complement(*category));
          else if (in_class)
            out += category_set(name, *category);
          else
            out += (negated ? "[^" : "[") + category_set(name, *category) + "]";
          continue;
        }
        const CodeRanges newer = newer_of_script(name);
        if (scripts && is_script(name)) name = "sc:" + name;
        const std::string property = "\\p{" + name + "}" + written(newer);
        if (negated)
          out += (in_class || newer.empty()) ? "\\P{" + name + "}" : "[^" + property + "]";
        else
          out += in_class || newer.empty() ? property : "[" + property + "]";
      } else {
        CHECK_USER(!in_class || (e != 'W' && e != 'H' && e != 'D'),
                   "{}: the regex '{}' has \\{} in a class, which is not supported", origin,
                   in_message(p), e);
        const bool negated = e == 'W' || e == 'H' || e == 'D';
        out += in_class ? set : (negated ? "[^" : "[") + set + "]";
      }
      continue;
    }
    if (in_class) {
      const bool posix = c == '[' && i + 1 < p.size() && p[i + 1] == ':';
      CHECK_USER(
          (c != '[' || posix) && p.compare(i, 2, "&&") != 0,
          "{}: the regex '{}' has a set within a class ('[' or '&&'), which is not supported",
          origin, in_message(p));
      if (posix) {
        const std::size_t end = p.find(":]", i);
        CHECK_USER(end != std::string::npos, "{}: the regex '{}' has a class without an end",
                   origin, in_message(p));
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
  std::string origin;
  pcre2_code* code = nullptr;
  ~Impl() { pcre2_code_free(code); }
};

namespace {

// What one search may take. A tokenizer.json comes from anywhere, and a pattern may go back and
// forth through a text without end: PCRE2's own limits are per place where a match may begin, and
// of no size in particular. Patterns that are in use take a step or two a byte, and a MB/s.
constexpr std::uint32_t kLeastSteps = 100'000, kMostSteps = 1'000'000'000;
constexpr std::size_t kStepsPerByte = 32;  // from one place
constexpr std::size_t kLeastHeapKib = 32 << 10, kMostHeapKib = 1 << 20;
constexpr double kLeastSeconds = 5, kSecondsPerByte = 2e-6;  // of this thread's time
constexpr int kOutOfTime = -10'000;                          // no number of PCRE2's own

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

struct RegexScan::State {
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> limits;
  std::uint32_t n_places = 0;
  double began = -1, seconds = kLeastSeconds;  // for all texts of the scan together
};

namespace {

// Called wherever a match may begin: stops a search that is out of time.
int watch(pcre2_callout_block*, void* scan) {
  auto* state = static_cast<RegexScan::State*>(scan);
  constexpr std::uint32_t kPlacesPerLook = 64;
  if (++state->n_places % kPlacesPerLook != 0) return 0;
  const double now = thread_seconds();
  if (state->began < 0) state->began = now;
  return now - state->began > state->seconds ? kOutOfTime : 0;
}

}  // namespace

Regex::Regex(std::string pattern, const std::string& origin)
    : pattern_(std::move(pattern)), impl_(std::make_unique<Impl>()) {
  impl_->origin = origin;
  CHECK_USER(pattern_.size() <= kMaxPattern, "{}: a regex has {} bytes; allowed: {}", origin,
             pattern_.size(), kMaxPattern);
  int error = 0;
  PCRE2_SIZE where = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  for (const bool scripts : {true, false}) {
    // With a callout in front of the first alternative, which every place is tried for.
    const std::string text = "(?C1)" + rewrite(pattern_, scripts, origin);
    // Lines: Oniguruma's ^ and $ are those of a line, always.
    impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_MATCH_INVALID_UTF,
                                &error, &where, context);
    if (impl_->code) break;
  }
  pcre2_compile_context_free(context);
  if (!impl_->code) {
    unsigned char message[128] = {};
    pcre2_get_error_message(error, message, sizeof message);
    user_error("{}: the regex '{}' cannot be read ({})", origin, in_message(pattern_),
               reinterpret_cast<const char*>(message));
  }
  pcre2_jit_compile(impl_->code,
                    PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter serves
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

RegexScan::RegexScan(const Regex& regex)
    : regex_(regex),
      state_(new State{
          {pcre2_match_data_create_from_pattern(regex.impl_->code, nullptr), pcre2_match_data_free},
          {pcre2_match_context_create(nullptr), pcre2_match_context_free}}) {
  CHECK(state_->data && state_->limits, "out of memory for a regex");
  pcre2_set_callout(state_->limits.get(), watch, state_.get());
}
RegexScan::~RegexScan() = default;

void RegexScan::begin(std::string_view text) {
  text_ = text;
  at_ = 0;
  matched_ = false;
  state_->seconds += kSecondsPerByte * static_cast<double>(text.size());
  const std::size_t steps =
      kLeastSteps + std::min<std::size_t>(text.size(), kMostSteps / kStepsPerByte) * kStepsPerByte;
  pcre2_set_match_limit(state_->limits.get(),
                        static_cast<std::uint32_t>(std::min<std::size_t>(steps, kMostSteps)));
  const std::size_t kib = std::min(kLeastHeapKib + text.size() / 4, kMostHeapKib);
  pcre2_set_heap_limit(state_->limits.get(), static_cast<std::uint32_t>(kib));
}

int RegexScan::match(std::uint32_t options) {
  return pcre2_match(regex_.impl_->code,
                     reinterpret_cast<PCRE2_SPTR>(text_.data() ? text_.data() : ""), text_.size(),
                     at_, options, state_->data.get(), state_->limits.get());
}

bool RegexScan::next(std::size_t& match_begin, std::size_t& match_end) {
  while (at_ <= text_.size()) {
    int n = match(0);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT) n = match(PCRE2_NO_JIT);
    if (n == PCRE2_ERROR_NOMATCH) return false;
    CHECK_USER(n > 0,
               "{}: the regex '{}' takes too {} for a text of {} bytes; such patterns are not "
               "supported",
               regex_.impl_->origin, in_message(regex_.pattern_),
               n == PCRE2_ERROR_HEAPLIMIT || n == PCRE2_ERROR_NOMEMORY ? "much memory" : "long",
               text_.size());
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state_->data.get());
    match_begin = found[0];
    match_end = found[1];
    CHECK_USER(match_begin <= match_end && match_end >= at_,
               "{}: the regex '{}' moves the match's beginning (\\K), which is not supported",
               regex_.impl_->origin, in_message(regex_.pattern_));
    const bool empty = match_begin == match_end;
    const std::size_t step =
        empty && match_end < text_.size() ? character_at(text_, match_end).bytes : 1;
    at_ = match_end + (empty ? step : 0);
    if (empty && matched_ && last_end_ == match_end) continue;
    matched_ = true;
    last_end_ = match_end;
    return true;
  }
  return false;
}

void each_match(const Regex& regex, std::string_view text,
                const std::function<void(std::size_t, std::size_t)>& found) {
  RegexScan scan(regex);
  scan.begin(text);
  for (std::size_t begin = 0, end = 0; scan.next(begin, end);) found(begin, end);
}

}  // namespace weft
