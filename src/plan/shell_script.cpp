#include "plan/shell_script.h"

#include <algorithm>
#include <array>

namespace weft {
namespace {

// Caught below; what is nested deeper or stops inside a quote is not read.
struct Lost {
  int line;
  std::string because;
};

constexpr int kMaxDepth = 60;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

struct Token {
  enum class Kind { word, op, newline, end } kind = Kind::end;
  std::string text;
  int line = 0;
};

class Lexer {
 public:
  Lexer(std::string_view text, int line) : text_(text), line_(line) {}

  Token next() {
    skip_blanks();
    if (at_ >= text_.size()) return {Token::Kind::end, "", line_};
    const char c = text_[at_];
    if (c == '\n') {
      Token token{Token::Kind::newline, "\n", line_};
      ++at_, ++line_;
      skip_here_documents();
      return token;
    }
    if (const std::string op = operator_here(); !op.empty()) {
      Token token{Token::Kind::op, op, line_};
      at_ += op.size();
      if (op == "<<" || op == "<<-") pending_.push_back(here_end(op == "<<-"));
      return token;
    }
    Token token{Token::Kind::word, "", line_};
    token.text = word();
    if (line_ > token.line) texts_.push_back({token.line + 1, line_});
    const bool descriptor = (peek() == '<' || peek() == '>') &&
                            token.text.find_first_not_of("0123456789") == std::string::npos;
    return descriptor ? next() : token;  // of 2>&1: the 2
  }
  int line() const { return line_; }
  const std::vector<LineRange>& texts() const { return texts_; }

 private:
  struct HereEnd {
    std::string word;
    bool tabs;
  };

  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool has(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void skip_blanks() {
    for (;;) {
      while (is_blank(peek())) ++at_;
      if (has("\\\n")) {
        at_ += 2, ++line_;
      } else if (has("\\\r\n")) {
        at_ += 3, ++line_;
      } else if (peek() == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else {
        return;
      }
    }
  }

  std::string operator_here() const {
    static constexpr std::array<std::string_view, 22> kOps = {
        "<<<", "<<-", "&>>", ";;&", "&&", "||", ";;", ";&", "<<", ">>", "<&",
        ">&",  "&>",  ">|",  "|&",  "<>", ";",  "&",  "|",  "<",  ">",  "("};
    if (has("<(") || has(">(")) return "";  // a substitution: part of a word
    for (const std::string_view op : kOps)
      if (has(op)) return std::string(op);
    return peek() == ')' ? ")" : "";
  }

  HereEnd here_end(bool tabs) {
    skip_blanks();
    std::string end;
    for (const char c : word())
      if (c != '\'' && c != '"' && c != '\\') end += c;
    return {end, tabs};
  }

  void skip_here_documents() {
    for (const HereEnd& here : pending_) {
      const int began = line_;
      while (at_ < text_.size()) {
        const std::size_t end = std::min(text_.find('\n', at_), text_.size());
        std::string_view line = text_.substr(at_, end - at_);
        at_ = std::min(end + 1, text_.size());
        ++line_;
        if (line.ends_with('\r')) line.remove_suffix(1);
        while (here.tabs && line.starts_with('\t')) line.remove_prefix(1);
        if (line == here.word) break;
      }
      if (line_ > began) texts_.push_back({began, line_ - 1});
    }
    pending_.clear();
  }

  void take(std::string& out) {
    if (text_[at_] == '\n') ++line_;
    out += text_[at_++];
  }

  // Through the bracket that closes the one at hand, quotes and nesting within it.
  void balanced(std::string& out, char open, char close, int depth) {
    if (depth > kMaxDepth) throw Lost{line_, "it is nested too deeply"};
    const int began = line_;
    take(out);
    int nesting = 1;
    while (nesting > 0) {
      if (at_ >= text_.size()) throw Lost{began, std::string("a '") + open + "' is not closed"};
      const char c = text_[at_];
      if (c == '\\' && at_ + 1 < text_.size()) {
        take(out);
        take(out);
      } else if (c == '\'' || c == '"' || c == '`') {
        quoted(out, depth + 1);
      } else {
        nesting += c == open ? 1 : c == close ? -1 : 0;
        take(out);
      }
    }
  }

  void quoted(std::string& out, int depth) {
    if (depth > kMaxDepth) throw Lost{line_, "it is nested too deeply"};
    const char quote = text_[at_];
    const int began = line_;
    take(out);
    for (;;) {
      if (at_ >= text_.size()) throw Lost{began, std::string("a ") + quote + " is not closed"};
      const char c = text_[at_];
      if (c == '\\' && quote != '\'' && at_ + 1 < text_.size()) {
        take(out);
        take(out);
      } else if (c == '$' && quote == '"' && (peek(1) == '(' || peek(1) == '{')) {
        take(out);
        balanced(out, peek(), peek() == '(' ? ')' : '}', depth + 1);
      } else if (c == '`' && quote == '"') {
        quoted(out, depth + 1);
      } else {
        take(out);
        if (c == quote) return;
      }
    }
  }

  std::string word() {
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (has("\\\n") || has("\\\r\n")) {
        at_ += peek(1) == '\r' ? 3 : 2, ++line_;
      } else if (c == '\\' && at_ + 1 < text_.size()) {
        take(out);
        take(out);
      } else if (c == '\'' || c == '"' || c == '`') {
        quoted(out, 0);
      } else if (c == '$' && (peek(1) == '(' || peek(1) == '{')) {
        take(out);
        balanced(out, peek(), peek() == '(' ? ')' : '}', 0);
      } else if ((c == '<' || c == '>') && peek(1) == '(' && out.empty()) {
        take(out);
        balanced(out, '(', ')', 0);
      } else if (c == '(' && out.ends_with('=')) {
        balanced(out, '(', ')', 0);  // an array
      } else if (is_blank(c) || c == '\n' || std::string_view(";&|<>()").find(c) < 7) {
        break;
      } else {
        take(out);
      }
    }
    if (out.empty()) throw Lost{line_, "there is a word missing"};
    return out;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_;
  std::vector<HereEnd> pending_;
  std::vector<LineRange> texts_;
};

class Parser {
 public:
  Parser(std::string_view text, int line) : lexer_(text, line) {}
  void begin() { advance(); }
  const std::vector<LineRange>& texts() const { return lexer_.texts(); }

  // Commands up to one of the closing words (or the end); what was read stays where it gets lost.
  void list(ShellList& out, const std::vector<std::string>& closing, int depth) {
    if (depth > kMaxDepth) throw Lost{token_.line, "it is nested too deeply"};
    ShellJoin join = ShellJoin::next;
    const int began = token_.line;
    for (;;) {
      skip_newlines(join == ShellJoin::next);
      if (token_.kind == Token::Kind::end) {
        if (!closing.empty()) throw Lost{began, "'" + closing[0] + "' is missing"};
        return;
      }
      if (is_one_of(closing)) return;
      out.emplace_back();
      out.back().join = join;
      command(out.back(), depth);
      join = ShellJoin::next;
      if (is_op("&&"))
        join = ShellJoin::and_then;
      else if (is_op("||"))
        join = ShellJoin::or_else;
      else if (is_op("|") || is_op("|&"))
        join = ShellJoin::pipe;
      else if (is_op("&"))
        out.back().background = true;
      else if (!is_op(";") && token_.kind != Token::Kind::newline &&
               token_.kind != Token::Kind::end && !is_one_of(closing))
        throw Lost{token_.line, "'" + token_.text + "' was not expected"};
      if (token_.kind == Token::Kind::op && !is_one_of(closing)) advance();
    }
  }

 private:
  void advance() { token_ = lexer_.next(); }
  bool is_op(const char* op) const { return token_.kind == Token::Kind::op && token_.text == op; }
  bool is_word(const char* word) const {
    return token_.kind == Token::Kind::word && token_.text == word;
  }
  bool is_one_of(const std::vector<std::string>& closing) const {
    return (token_.kind == Token::Kind::word || token_.kind == Token::Kind::op) &&
           std::find(closing.begin(), closing.end(), token_.text) != closing.end();
  }
  void skip_newlines(bool semicolons) {
    while (token_.kind == Token::Kind::newline || (semicolons && is_op(";"))) advance();
  }
  void expect(const char* word) {
    if (!is_word(word) && !is_op(word))
      throw Lost{token_.line, "'" + std::string(word) + "' is missing"};
    advance();
  }

  void redirects(ShellNode& node) {
    static const std::vector<std::string> kRedirects = {"<",  "<<<", "<<", "<<-", ">",  ">>",
                                                        "<&", ">&",  "&>", "&>>", ">|", "<>"};
    while (token_.kind == Token::Kind::op &&
           std::find(kRedirects.begin(), kRedirects.end(), token_.text) != kRedirects.end()) {
      const std::string op = token_.text;
      advance();
      if (op == "<<" || op == "<<-") continue;  // its word was read with it
      if (token_.kind != Token::Kind::word) throw Lost{token_.line, "a redirection has no file"};
      if (op == "<<<" || op == "<") node.inputs.push_back(op + token_.text);
      advance();
    }
  }

  void command(ShellNode& node, int depth) {
    while (is_word("!") || is_word("time")) {
      node.negated ^= is_word("!");
      advance();
    }
    node.line = token_.line;
    if (is_word("if"))
      if_(node, depth);
    else if (is_word("for") || is_word("select"))
      for_(node, depth);
    else if (is_word("while") || is_word("until"))
      while_(node, depth);
    else if (is_word("case"))
      case_(node, depth);
    else if (is_word("{"))
      group(node, ShellKind::group, "}", depth);
    else if (is_op("("))
      group(node, ShellKind::subshell, ")", depth);
    else if (is_word("function"))
      function(node, depth);
    else
      simple(node, depth);
    redirects(node);
  }

  void simple(ShellNode& node, int depth) {
    for (;;) {
      redirects(node);
      const bool test = !node.words.empty() && node.words[0] == "[[" && node.words.back() != "]]";
      if (token_.kind == Token::Kind::word) {
        node.words.push_back(token_.text);
        advance();
      } else if (test && token_.kind == Token::Kind::op) {  // [[ a && b ]]
        node.words.push_back(token_.text);
        advance();
      } else if (is_op("(") && node.words.size() == 1) {  // name() { … }
        node.name = node.words[0];
        node.words.clear();
        advance();
        expect(")");
        return function_body(node, depth);
      } else {
        break;
      }
    }
    if (node.words.empty() && node.inputs.empty() && token_.kind == Token::Kind::op &&
        !is_op(";") && !is_op("&"))
      throw Lost{token_.line, "'" + token_.text + "' was not expected"};
  }

  void function(ShellNode& node, int depth) {
    advance();
    node.name = token_.text;
    advance();
    if (is_op("(")) {
      advance();
      expect(")");
    }
    function_body(node, depth);
  }

  void function_body(ShellNode& node, int depth) {
    node.kind = ShellKind::function;
    skip_newlines(false);
    command(node.body.emplace_back(), depth + 1);
  }

  void group(ShellNode& node, ShellKind kind, const char* close, int depth) {
    node.kind = kind;
    advance();
    list(node.body, {close}, depth + 1);
    expect(close);
  }

  void if_(ShellNode& node, int depth) {
    node.kind = ShellKind::if_;
    advance();
    list(node.condition, {"then"}, depth + 1);
    expect("then");
    list(node.body, {"fi", "else", "elif"}, depth + 1);
    if (is_word("elif")) {
      node.others.emplace_back();
      node.others.back().line = token_.line;
      return if_(node.others.back(), depth + 1);  // takes the fi
    }
    if (is_word("else")) {
      advance();
      list(node.others, {"fi"}, depth + 1);
    }
    expect("fi");
  }

  void while_(ShellNode& node, int depth) {
    node.kind = ShellKind::while_;
    advance();
    list(node.condition, {"do"}, depth + 1);
    expect("do");
    list(node.body, {"done"}, depth + 1);
    expect("done");
  }

  void for_(ShellNode& node, int depth) {
    node.kind = ShellKind::for_;
    advance();
    if (is_op("(")) {  // for ((i = 0; …)): its variable is not followed
      int open = 0;
      do {
        open += is_op("(") ? 1 : is_op(")") ? -1 : 0;
        if (token_.kind == Token::Kind::end) throw Lost{token_.line, "')' is missing"};
        advance();
      } while (open > 0);
    } else {
      node.name = token_.text;
      advance();
      skip_newlines(false);
      if (is_word("in")) {
        advance();
        while (token_.kind == Token::Kind::word) {
          node.words.push_back(token_.text);
          advance();
        }
      } else {
        node.words.emplace_back("\"$@\"");
      }
    }
    skip_newlines(true);
    expect("do");
    list(node.body, {"done"}, depth + 1);
    expect("done");
  }

  void case_(ShellNode& node, int depth) {
    node.kind = ShellKind::case_;
    advance();
    node.words.push_back(token_.text);
    advance();
    skip_newlines(false);
    expect("in");
    for (;;) {
      skip_newlines(true);
      if (is_word("esac")) break;
      if (token_.kind == Token::Kind::end) throw Lost{token_.line, "'esac' is missing"};
      ShellArm& arm = node.arms.emplace_back();
      if (is_op("(")) advance();
      while (token_.kind == Token::Kind::word || is_op("|")) {
        if (token_.kind == Token::Kind::word) arm.patterns.push_back(token_.text);
        advance();
      }
      expect(")");
      list(arm.body, {"esac", ";;", ";&", ";;&"}, depth + 1);
      if (token_.kind == Token::Kind::op) advance();
    }
    expect("esac");
  }

  Lexer lexer_;
  Token token_;
};

}  // namespace

ShellScript parse_shell(std::string_view text, int first_line) {
  ShellScript script;
  Parser parser(text, first_line);
  try {
    parser.begin();
    parser.list(script.commands, {}, 0);
  } catch (const Lost& lost) {
    script.stopped_at = lost.line;
    script.because = lost.because;
  }
  script.texts = parser.texts();
  return script;
}

}  // namespace weft
