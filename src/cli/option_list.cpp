#include "cli/option_list.h"

#include <fmt/format.h>

namespace weft {
namespace {

using Takes = DescribedOption::Takes;

Takes takes(const bool&) { return Takes::nothing; }
Takes takes(const FlagWord&) { return Takes::word_or_nothing; }
Takes takes(const std::int64_t&) { return Takes::number; }
Takes takes(const double&) { return Takes::number; }
Takes takes(const std::string&) { return Takes::text; }
Takes takes(const std::vector<std::string>&) { return Takes::text; }
template <class T>
Takes takes(const std::optional<T>&) {
  return takes(T{});
}

std::string default_text(const std::string& value) { return value; }
std::string default_text(std::int64_t value) { return std::to_string(value); }
std::string default_text(double value) { return fmt::format("{}", value); }

class Describe : public UniformVisitor<Describe> {
 public:
  template <class T, class A>
  void each(const char* name, T& value, const A& allowed, const char* help) {
    DescribedOption o{.flag = flag_of(name), .group = group_, .help = help, .takes = takes(value)};
    if constexpr (requires { default_text(value); }) o.default_text = default_text(value);
    if constexpr (std::is_same_v<A, Words>) o.words = allowed.known;
    if constexpr (std::is_same_v<T, FlagWord>) o.words = value.allowed;
    options.push_back(std::move(o));
  }
  std::vector<DescribedOption> options;
};

}  // namespace

std::vector<DescribedOption> describe_options(const VisitFields& fields) {
  Describe describe;
  fields(describe);
  return std::move(describe.options);
}

}  // namespace weft
