#include "text/token_decoder.h"

#include <algorithm>
#include <functional>

#include "core/check.h"
#include "core/utf8.h"
#include "text/characters/byte_level.h"
#include "text/characters/regex.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"

namespace weft {
namespace {

using Tokens = std::vector<std::string>;

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  if (pattern.empty()) return std::string(text);
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t found = text.find(pattern, at);
    out += text.substr(at, found - at);
    if (found == std::string_view::npos) return out;
    out += content;
    at = found + pattern.size();
  }
}

// What WordPiece and CTC undo of spaced-out English, in the reference's order.
std::string clean_up(std::string text) {
  constexpr std::pair<const char*, const char*> kChanges[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kChanges) text = replace_all(text, from, to);
  return text;
}

// A decoder is its canonical JSON and a function.
class Decoder : public TokenDecoder {
 public:
  Decoder(OrderedJson json, std::function<Tokens(Tokens)> decode)
      : json_(std::move(json)), decode_(std::move(decode)) {}
  Tokens chain(Tokens tokens) const override { return decode_(std::move(tokens)); }
  OrderedJson to_json() const override { return json_; }

 private:
  OrderedJson json_;
  std::function<Tokens(Tokens)> decode_;
};
using Made = std::unique_ptr<TokenDecoder>;

Tokens fuse(const Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  return {std::move(all)};
}

// A token of the byte alphabet is its bytes; any other is itself (an added token).
Made byte_level(const JsonReader& reader) {
  OrderedJson json = {{"type", "ByteLevel"},
                      {"add_prefix_space", reader.boolean("add_prefix_space", true)},
                      {"trim_offsets", reader.boolean("trim_offsets", true)},
                      {"use_regex", reader.boolean("use_regex", true)}};
  return std::make_unique<Decoder>(std::move(json), [](Tokens tokens) {
    for (std::string& token : tokens)
      if (auto bytes = bytes_of_characters(token)) token = std::move(*bytes);
    return fuse(tokens);
  });
}

Made wordpiece(const JsonReader& reader) {
  const std::string prefix = reader.string("prefix", "##");
  const bool cleanup = reader.boolean("cleanup", true);
  return std::make_unique<Decoder>(
      OrderedJson{{"type", "WordPiece"}, {"prefix", prefix}, {"cleanup", cleanup}},
      [=](Tokens tokens) {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          if (i > 0) {
            if (tokens[i].starts_with(prefix))
              tokens[i].erase(0, prefix.size());
            else
              tokens[i].insert(tokens[i].begin(), ' ');
          }
          if (cleanup) tokens[i] = clean_up(std::move(tokens[i]));
        }
        return tokens;
      });
}

// One character of a decoder's options.
std::string one_character(const JsonReader& reader, const char* key, const char* otherwise) {
  const std::string text = reader.string(key, otherwise);
  const bool one = !text.empty() && character_at(text, 0).bytes == text.size();
  CHECK_USER(one, "{}: {} is '{}'; allowed: one character", reader.origin(), key, in_message(text));
  return text;
}

Made metaspace(const JsonReader& reader) {
  const std::string replacement = one_character(reader, "replacement", "▁");
  // Old files say add_prefix_space; where both are there they must agree, as in the reference.
  const bool prefix = reader.boolean("add_prefix_space", true);
  const std::string scheme = reader.string("prepend_scheme", prefix ? "always" : "never");
  const bool known = scheme == "always" || scheme == "first" || scheme == "never";
  CHECK_USER(known, "{}: prepend_scheme is '{}'; allowed: always, first, never", reader.origin(),
             in_message(scheme));
  CHECK_USER(prefix || scheme == "never",
             "{}: add_prefix_space is false but prepend_scheme is '{}'; allowed: never",
             reader.origin(), in_message(scheme));
  const OrderedJson json = {{"type", "Metaspace"},
                            {"replacement", replacement},
                            {"prepend_scheme", scheme},
                            {"split", reader.boolean("split", true)}};
  return std::make_unique<Decoder>(json, [=](Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], replacement, i == 0 && scheme != "never" ? "" : " ");
    return tokens;
  });
}

Made replace(const JsonReader& reader) {
  const Json pattern = reader.json().value("pattern", Json());
  const std::string content = reader.string("content", "");
  CHECK_USER(reader.has("content"), "{}: content is missing", reader.origin());
  const bool known = pattern.is_object() && pattern.size() == 1 &&
                     (pattern.contains("String") || pattern.contains("Regex"));
  CHECK_USER(known && pattern.begin()->is_string(), "{}: pattern is {}; allowed: String, Regex",
             reader.origin(), brief(pattern));
  const auto text = pattern.begin()->get<std::string>();
  const OrderedJson json = {
      {"type", "Replace"}, {"pattern", {{pattern.begin().key(), text}}}, {"content", content}};
  if (pattern.contains("String"))
    return std::make_unique<Decoder>(json, [=](Tokens tokens) {
      for (std::string& token : tokens) token = replace_all(token, text, content);
      return tokens;
    });
  const auto regex = std::make_shared<const Regex>(text, reader.origin());
  return std::make_unique<Decoder>(json, [=](Tokens tokens) {
    for (std::string& token : tokens) {
      if (token.empty())
        continue;  // the reference looks for nothing there, not even for an empty match
      std::string out;
      std::size_t copied = 0;
      each_match(*regex, token, [&](std::size_t begin, std::size_t end) {
        out.append(token, copied, begin - copied).append(content);
        copied = end;
      });
      token = out.append(token, copied);
    }
    return tokens;
  });
}

// <0x0A>: the byte, -1 for any other token. As the reference's parser, which takes a plus sign for
// a digit's place ("<0x+A>").
int byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Tokens byte_fallback(const Tokens& tokens) {
  Tokens out;
  std::string run;
  const auto end_run = [&] {
    if (run.empty()) return;
    if (is_utf8(run))
      out.push_back(run);
    else
      out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
    run.clear();
  };
  for (const std::string& token : tokens) {
    const int byte = byte_of(token);
    if (byte >= 0) {
      run += static_cast<char>(byte);
    } else {
      end_run();
      out.push_back(token);
    }
  }
  end_run();
  return out;
}

Made strip(const JsonReader& reader) {
  const std::string content = one_character(reader, "content", "");
  const std::int64_t start = reader.integer("start", 0, INT32_MAX),
                     stop = reader.integer("stop", 0, INT32_MAX);
  return std::make_unique<Decoder>(
      OrderedJson{{"type", "Strip"}, {"content", content}, {"start", start}, {"stop", stop}},
      [=](Tokens tokens) {
        for (std::string& token : tokens) {
          std::string_view kept = token;
          for (std::int64_t i = 0; i < start && kept.starts_with(content); ++i)
            kept.remove_prefix(content.size());
          for (std::int64_t i = 0; i < stop && kept.ends_with(content); ++i)
            kept.remove_suffix(content.size());
          token = std::string(kept);
        }
        return tokens;
      });
}

Made bpe(const JsonReader& reader) {
  const std::string suffix = reader.string("suffix", "</w>");
  return std::make_unique<Decoder>(
      OrderedJson{{"type", "BPEDecoder"}, {"suffix", suffix}}, [=](Tokens tokens) {
        for (std::size_t i = 0; i < tokens.size(); ++i)
          tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
        return tokens;
      });
}

Made ctc(const JsonReader& reader) {
  const std::string pad = reader.string("pad_token", "<pad>"),
                    delimiter = reader.string("word_delimiter_token", "|");
  const bool cleanup = reader.boolean("cleanup", true);
  const OrderedJson json = {{"type", "CTC"},
                            {"pad_token", pad},
                            {"word_delimiter_token", delimiter},
                            {"cleanup", cleanup}};
  return std::make_unique<Decoder>(json, [=](Tokens tokens) {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    Tokens out;
    for (const std::string& token : tokens) {
      std::string text = replace_all(token, pad, "");
      if (cleanup) text = replace_all(clean_up(std::move(text)), delimiter, " ");
      if (!text.empty()) out.push_back(std::move(text));
    }
    return out;
  });
}

Made read_decoder(const Json& json, const std::string& origin);

Made sequence(const JsonReader& reader) {
  const auto list = reader.json().find("decoders");
  CHECK_USER(list != reader.json().end() && list->is_array(), "{}: decoders is not a list",
             reader.origin());
  std::vector<std::shared_ptr<const TokenDecoder>> parts;
  OrderedJson json = {{"type", "Sequence"}, {"decoders", OrderedJson::array()}};
  for (const Json& part : *list) {
    parts.push_back(read_decoder(part, reader.origin()));
    json["decoders"].push_back(parts.back()->to_json());
  }
  return std::make_unique<Decoder>(std::move(json), [parts](Tokens tokens) {
    for (const auto& part : parts) tokens = part->chain(std::move(tokens));
    return tokens;
  });
}

Made read_decoder(const Json& json, const std::string& origin) {
  CHECK_USER(json.is_object(), "{} is not an object", origin);
  const JsonReader reader(json, origin);
  const std::string type = reader.string("type", "");
  if (type == "ByteLevel") return byte_level(reader);
  if (type == "WordPiece") return wordpiece(reader);
  if (type == "Metaspace") return metaspace(reader);
  if (type == "Replace") return replace(reader);
  if (type == "ByteFallback")
    return std::make_unique<Decoder>(OrderedJson{{"type", type}}, byte_fallback);
  if (type == "Fuse") return std::make_unique<Decoder>(OrderedJson{{"type", type}}, fuse);
  if (type == "Strip") return strip(reader);
  if (type == "BPEDecoder") return bpe(reader);
  if (type == "CTC") return ctc(reader);
  CHECK_USER(type == "Sequence",
             "{}: type {} is not supported; allowed: ByteLevel, WordPiece, Metaspace, Replace, "
             "ByteFallback, Fuse, Strip, BPEDecoder, CTC, Sequence",
             origin, type.empty() ? "(none)" : in_message(type));
  return sequence(reader);
}

}  // namespace

std::unique_ptr<TokenDecoder> read_token_decoder(const Json& json, const std::string& origin) {
  return json.is_null() ? nullptr : read_decoder(json, origin + ": decoder");
}

}  // namespace weft
