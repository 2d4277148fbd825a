// Chat templates against what transformers' own Jinja makes of them
// (tests/data/make_chat_templates.py), and against bad templates.
#include "text/jinja/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "core/check.h"
#include "src/io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
const fs::path kData = fs::path(WEFT_TEST_DATA) / "chat_templates";

OrderedJson golden(const char* file) { return parse_ordered_json(read_text_file(kData / file)); }

// The text, or nothing where the template or the messages are refused.
std::optional<std::string> rendered(const std::string& tmpl, const OrderedJson& messages,
                                    bool prompt, const OrderedJson& variables) {
  try {
    return apply_chat_template(tmpl, messages, prompt, variables);
  } catch (const UserError&) {
    return std::nullopt;
  }
}

std::optional<std::string> expected(const OrderedJson& text) {
  return text.is_null() ? std::nullopt : std::optional(text.get<std::string>());
}

std::string error_of(const std::string& tmpl, const OrderedJson& messages = OrderedJson::array(),
                     const OrderedJson& variables = OrderedJson::object()) {
  try {
    return "no error, but: " + apply_chat_template(tmpl, messages, false, variables);
  } catch (const UserError& e) {
    return e.what();
  }
}

std::string repeat(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

TEST(ChatTemplate, ConversationsRenderAsInTransformers) {
  const OrderedJson data = golden("conversations.json");
  std::size_t texts = 0, refusals = 0;
  for (const OrderedJson& one : data["templates"]) {
    for (const OrderedJson& c : one["cases"]) {
      const auto text =
          rendered(one["template"], c["messages"], c["add_generation_prompt"], c["variables"]);
      EXPECT_EQ(text, expected(c["text"])) << one["name"] << ": " << c["case"];
      ++(text ? texts : refusals);
    }
  }
  EXPECT_GE(data["templates"].size(), 14u);
  EXPECT_GE(texts, 140u);
  EXPECT_GE(refusals, 10u);  // roles that do not take turns, a system message where there is none
}

TEST(ChatTemplate, ExpressionsAndTagsMeanWhatTheyMeanInJinja) {
  const OrderedJson data = golden("expressions.json");
  ASSERT_GE(data["cases"].size(), 340u);
  for (const OrderedJson& c : data["cases"]) {
    EXPECT_EQ(rendered(c[0], data["messages"], true, data["variables"]), expected(c[1])) << c[0];
  }
}

TEST(ChatTemplate, TakesRolesAndContents) {
  const std::vector<ChatMessage> messages = {{"user", "Hi"}, {"assistant", "Hello"}};
  const std::string tmpl =
      "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt "
      "%}{{ eos }}{% endif %}";
  EXPECT_EQ(apply_chat_template(tmpl, messages, false, {{"eos", "</s>"}}),
            "user:Hi;assistant:Hello;");
  EXPECT_EQ(apply_chat_template(tmpl, messages, true, {{"eos", "</s>"}}),
            "user:Hi;assistant:Hello;</s>");
}

TEST(ChatTemplate, NestsAsDeepAsPeopleWrite) {
  EXPECT_EQ(rendered("{{ " + repeat("(", 90) + "1" + repeat(")", 90) + " }}", OrderedJson::array(),
                     true, OrderedJson::object()),
            "1");
  EXPECT_EQ(rendered("{{ 0" + repeat(" + 1", 300) + " }}", OrderedJson::array(), true,
                     OrderedJson::object()),
            "300");
  EXPECT_EQ(rendered(repeat("{% if true %}", 50) + "x" + repeat("{% endif %}", 50),
                     OrderedJson::array(), true, OrderedJson::object()),
            "x");
}

TEST(ChatTemplate, KnowsTheTime) {
  const std::string year = apply_chat_template("{{ strftime_now('%Y|%d %b') }}",
                                               OrderedJson::array(), false, OrderedJson::object());
  EXPECT_GE(std::stoi(year.substr(0, 4)), 2024);
  EXPECT_EQ(year[4], '|');
  EXPECT_GE(year.size(), 10u);
}

TEST(ChatTemplate, ErrorsNameTheLineAndTheConstruct) {
  EXPECT_EQ(error_of("a\n{{ 1 | shout }}"),
            "chat template, line 2: the filter 'shout' is unknown or not supported");
  EXPECT_EQ(error_of("{{ 1 is loud }}"),
            "chat template, line 1: the test 'loud' is unknown or not supported");
  EXPECT_EQ(error_of("\n\n{% include 'x' %}"),
            "chat template, line 3: the tag 'include' is unknown or not supported");
  EXPECT_EQ(error_of("{{ a.b }}"), "chat template, line 1: 'a' is undefined");
  EXPECT_EQ(error_of("{{ messages[0].role }}"),
            "chat template, line 1: 'list object' has no element 0");
  EXPECT_EQ(error_of("{% if true %}\n{% for x in y %}\n{% endif %}"),
            "chat template, line 3: the tag 'endif' is unknown or not supported");
  EXPECT_EQ(error_of("x\n{% if true %}\n"),
            "chat template, line 2: a block is not closed by {% endif %}");
  EXPECT_EQ(error_of("{{ 'a'.explode() }}"),
            "chat template, line 1: 'str object' has no attribute 'explode'");
  EXPECT_EQ(error_of("{{ raise_exception('Only user!') }}"), "chat template, line 1: Only user!");
  EXPECT_EQ(error_of("{% set l = [] %}{{ l.append(1) }}"),
            "chat template, line 1: 'append' would change a list; templates may not (build a new "
            "one with +, or keep it in a namespace)");
  EXPECT_EQ(error_of("{{ 1 }}", OrderedJson::object()),
            "the messages of a chat are {}; allowed: a list of objects");
  EXPECT_EQ(error_of("", parse_ordered_json("[18446744073709551615]")),
            "the chat's messages or variables: the number 18446744073709551615 is too large");
  OrderedJson deep = 1;
  for (int i = 0; i < 300; ++i) deep = OrderedJson::array({deep});
  EXPECT_EQ(error_of("", deep),
            "the chat's messages or variables: lists and dicts are nested more than 100 deep");
  EXPECT_NE(error_of(std::string(2 << 20, 'a')).find("allowed: 1048576"), std::string::npos);
}

// Each of these would take for ever, all memory or all of the stack.
TEST(ChatTemplate, BadTemplatesEnd) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor "
       "%}{% endfor %}{% endfor %}",
       "does not end in reasonable time"},
      {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself too often"},
      {"{% macro f(x) %}{{ f(x + 'abc') }}{{ f(x) }}{% endmacro %}{{ f('') }}",
       "calls itself too often"},
      {"{{ 'a' * 99999999999 }}", "more text than is reasonable"},
      {"{{ 'a' * 9999999999999999 }}", "too large"},
      {"{{ 'a' * 600000000 }}", "more text than is reasonable"},
      {"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
       "endfor %}",
       "more text than is reasonable"},
      {"{% for i in range(99999) %}{{ 'x' * 4000 }}{% endfor %}", "prints more than 64 MiB"},
      {"{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ ns.l }}",
       "nested more than 100 deep"},
      {"{% set ns = namespace(l=[0]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
       "endfor %}{{ ns.l }}",
       "reasonable"},
      {"{% set ns = namespace(l=[0]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
       "endfor %}{{ ns.l | tojson }}",
       "reasonable"},
      {"{% set a = namespace(l=[0]) %}{% set b = namespace(l=[0]) %}{% for i in range(60) %}{% set "
       "a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}"
       "{{ a.l == b.l }}",
       "reasonable time"},
      {"{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ m }}{% endmacro %}{% set "
       "ns.m = m %}{{ ns }}",
       "cannot be printed"},
      {"{{ range(99999) | unique | list | length }}", "reasonable time"},
      {"{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}", "nested too deeply"},
      {"{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}", "nested too deeply"},
      {"{{ " + repeat("-", 5000) + "1 }}", "nested too deeply"},
      {"{{ " + repeat("not ", 5000) + "1 }}", "nested too deeply"},
      {"{{ 1" + repeat(" + 1", 5000) + " }}", "more than 400 deep"},
      {"{{ a" + repeat(".b", 5000) + " }}", "more than 400 deep"},
      {"{{ 1" + repeat(" | abs", 5000) + " }}", "more than 400 deep"},
      {"{{ 1" + repeat(" if 1 else 1", 5000) + " }}", "nested too deeply"},
      {repeat("{% if true %}", 5000) + repeat("{% endif %}", 5000),
       "blocks are nested more than 60 deep"},
      {"{{ 9 ** 99 }}", "too large"},
      {"{{ 99999999999999999999 }}", "too large"},
      {"{{ '%99999999999d' % 1 }}", "width"},
      {"{{ 'x' | indent(999999999) }}", "too large"},
      {"{{ 'x'.center(99999999999) }}", "too large"},
      {"{{ [1, 2] | batch(99999999999, 0) | list }}", "reasonable"},
  };
  for (const auto& [tmpl, says] : bad) {
    const auto start = std::chrono::steady_clock::now();
    const std::string message = error_of(tmpl);
    EXPECT_NE(message.find(says), std::string::npos)
        << tmpl.substr(0, 120) << ": " << message.substr(0, 300);
    EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 60.0)
        << tmpl.substr(0, 120);
  }
}

// Any part of a template, and any template with some characters changed, renders or is a UserError.
TEST(ChatTemplate, BrokenTemplatesAreUserErrors) {
  const OrderedJson data = golden("conversations.json");
  std::mt19937 random(7);
  std::size_t refused = 0, tried = 0;
  for (const OrderedJson& one : data["templates"]) {
    const auto whole = one["template"].get<std::string>();
    const OrderedJson& c = one["cases"][random() % one["cases"].size()];
    for (int i = 0; i < 150; ++i, ++tried) {
      std::string tmpl = whole;
      if (i % 3 == 0) {
        tmpl.resize(random() % (whole.size() + 1));
      } else {
        for (std::size_t changes = 1 + random() % 4; changes > 0; --changes) {
          static const std::string kPieces = "{}%#-+'\"()[]|.~,:= \n\\ax0\xC3\xFF";
          tmpl[random() % tmpl.size()] = kPieces[random() % kPieces.size()];
        }
      }
      refused += !rendered(tmpl, c["messages"], true, c["variables"]);
    }
  }
  EXPECT_GT(refused, tried / 4);
  EXPECT_LT(refused, tried);
}

}  // namespace
}  // namespace weft
