// No declaration has more than 8 parameters: past that they are a struct with a name (ops.h and its
// back ends apart, whose lists of tensors are their documentation).
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "tests/core/sources.h"

namespace {

using weft::test::Source;

// The text of a source without comments and what stands between quotes.
std::string code_of(const std::vector<std::string>& lines) {
  static const std::regex quoted(R"("(\\.|[^"\\])*"|'(\\.|[^'\\])+')");
  std::string code;
  for (const std::string& line : lines) {
    const std::string plain = std::regex_replace(line, quoted, "0");
    code += plain.substr(0, plain.find("//")) + "\n";
  }
  return code;
}

// The parts of a list between its brackets, which `at` stands behind; nothing where no list is.
std::vector<std::string> parts_of(const std::string& code, std::size_t at) {
  std::vector<std::string> parts(1);
  int brackets = 0, angles = 0;
  for (; at < code.size() && code[at] != ';'; ++at) {
    const char c = code[at];
    if (c == ')' && brackets == 0) return parts;
    if (c == '(' || c == '[' || c == '{') ++brackets;
    if (c == ')' || c == ']' || c == '}') --brackets;
    if (c == '<') ++angles;
    if (c == '>' && angles > 0) --angles;
    if (c == ',' && brackets == 0 && angles == 0)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return {};
}

// Names of the functions with more than `most` parameters: a type, a name, and a list whose parts
// are all a type with a name behind it.
std::vector<std::string> crowded(const std::string& code, std::size_t most) {
  static const std::regex head(R"([\w>&*\]]\s+[&*]?([A-Za-z_]\w*)\()");
  static const std::regex parameter(R"(\s*(const )?[\w:<>,\s]*[\w>&*]\s+[&*]*\w+\s*(=[^=]*)?\s*)");
  std::vector<std::string> names;
  for (std::sregex_iterator it(code.begin(), code.end(), head), end; it != end; ++it) {
    const auto parts = parts_of(code, static_cast<std::size_t>(it->position()) + it->str().size());
    if (parts.size() <= most) continue;
    bool declares = true;
    for (const std::string& part : parts) declares &= std::regex_match(part, parameter);
    if (declares) names.push_back((*it)[1]);
  }
  return names;
}

TEST(Declarations, TheCount) {
  EXPECT_EQ(crowded("void f(int a, View b, const T& c);", 2), std::vector<std::string>{"f"});
  EXPECT_TRUE(crowded("void f(int a, View b, const T& c);", 3).empty());
  EXPECT_TRUE(crowded("  return f(a, b, c);", 2).empty());
  EXPECT_EQ(crowded("T g(std::map<int, int> a,\n  int b = 3) {", 1), std::vector<std::string>{"g"});
  EXPECT_TRUE(crowded("T g(std::map<int, int> a) {", 1).empty());
}

TEST(Declarations, HaveAtMostEightParameters) {
  int read = 0;
  for (const Source& source : weft::test::sources()) {
    if (source.room == "kernels" || source.room == "tests") continue;
    ++read;
    for (const std::string& name : crowded(code_of(source.lines), 8))
      ADD_FAILURE() << source.path << ": " << name
                    << " has more than 8 parameters; give them a struct with a name";
  }
  EXPECT_GE(read, 300);
}

}  // namespace
