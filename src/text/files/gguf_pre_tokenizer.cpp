#include "text/files/gguf_pre_tokenizer.h"

#include <vector>

#include "core/check.h"

namespace weft {
namespace {

// The patterns as the models' own tokenizer.json files have them.
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re)"
    R"(|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

OrderedJson byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}
OrderedJson split(const char* pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}
OrderedJson single_digits() { return {{"type", "Digits"}, {"individual_digits", true}}; }
OrderedJson sequence(std::vector<OrderedJson> parts) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

OrderedJson gpt2() { return byte_level(true); }
OrderedJson digits_then_gpt2() { return sequence({single_digits(), byte_level(true)}); }
OrderedJson splits(std::vector<const char*> patterns) {
  std::vector<OrderedJson> parts;
  for (const char* pattern : patterns) parts.push_back(split(pattern));
  parts.push_back(byte_level(false));
  return sequence(std::move(parts));
}
OrderedJson nfc() { return {{"type", "NFC"}}; }

struct KnownPreTokenizer {
  std::vector<std::string> names;
  GgufPreTokenizer value;
};

const std::vector<KnownPreTokenizer>& table() {
  static const std::vector<KnownPreTokenizer> rows = {
      // "default" is what converters wrote before there was a table (GPT-2, GPT-NeoX); llama.cpp
      // itself splits it a little more finely.
      {{"default", "gpt-2", "phi-2", "roberta-bpe"}, {nullptr, gpt2()}},
      {{"mpt", "olmo"}, {nfc(), gpt2()}},  // GPT-NeoX's
      {{"smollm", "starcoder", "refact", "codeshell"}, {nullptr, digits_then_gpt2()}},
      {{"command-r"}, {nfc(), digits_then_gpt2()}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "lfm2"},
       {nullptr, splits({kLlama3}), true, true}},
      {{"smaug-bpe", "dbrx"}, {nullptr, splits({kLlama3})}},  // its words, not its begin token
      {{"qwen2"}, {nfc(), splits({kQwen2})}},
      {{"deepseek-r1-qwen"}, {nullptr, splits({kQwen2})}},
      {{"tekken"}, {nullptr, splits({kTekken}), true, true}},
      {{"gpt-4o", "llama4"}, {nullptr, splits({kGpt4o})}},
      {{"deepseek-coder"},
       {nullptr,
        sequence({split(R"([\r\n])"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
                  split("[一-龥ࠀ-一가-퟿]+"), single_digits(), byte_level(false)})}},
      {{"deepseek-v3"},
       {nullptr, splits({R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseekV3})}},
  };
  return rows;
}

}  // namespace

GgufPreTokenizer gguf_pre_tokenizer(const std::string& name, const std::string& origin) {
  std::string known;
  for (const KnownPreTokenizer& row : table()) {
    for (const std::string& one : row.names) {
      if (one == name) return row.value;
      known += (known.empty() ? "" : ", ") + one;
    }
  }
  user_error("{}: tokenizer.ggml.pre is '{}'; allowed: {}", origin, name, known);
}

}  // namespace weft
