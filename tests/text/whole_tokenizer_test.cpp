// Whole tokenizers in the shapes of the well-known ones, on hostile texts: what Hugging Face
// tokenizers makes of them (tests/data/make_tokenizers.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "core/check.h"
#include "core/utf8.h"
#include "io/json.h"
#include "src/io/files.h"
#include "text/characters/unicode.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;
const fs::path kData = fs::path(WEFT_TEST_DATA) / "tokenizers";

// As the golden file has them: characters from the end of the token before, then the token's
// characters.
std::vector<std::int64_t> in_characters(
    const std::string& text, const std::vector<std::pair<std::int64_t, std::int64_t>>& offsets) {
  std::vector<std::int64_t> character(text.size() + 1), out;
  std::int64_t n = 0, last = 0;
  for (std::size_t at = 0; at < text.size(); ++n) {
    const std::size_t bytes = character_at(text, at).bytes;
    std::fill_n(character.begin() + static_cast<std::ptrdiff_t>(at), bytes, n);
    at += bytes;
  }
  character.back() = n;
  for (const auto& [begin, end] : offsets) {
    const std::int64_t first = character[static_cast<std::size_t>(begin)];
    const std::int64_t stop =
        begin == end ? first : character[static_cast<std::size_t>(end - 1)] + 1;
    out.insert(out.end(), {first - last, stop - first});
    last = stop;
  }
  return out;
}

std::string decoded_or(const Json& decoded, const std::string& text) {
  return decoded.is_null() ? text : decoded.get<std::string>();
}

class WholeTokenizer : public testing::TestWithParam<const char*> {
 protected:
  const fs::path folder = kData / GetParam();
  const Tokenizer t = load_tokenizer(folder);
  const Json golden = read_json_object(folder / "golden.json");
  const std::vector<std::string> texts =
      parse_json(read_text_file(kData / "texts.json")).get<std::vector<std::string>>();
};

TEST_P(WholeTokenizer, GivesTheReferencesIdsOffsetsAndTexts) {
  ASSERT_GE(texts.size(), 150u);
  ASSERT_EQ(golden["cases"].size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Json& expected = golden["cases"][i];
    const Encoding e = t.encode(texts[i]);
    ASSERT_EQ(e.ids, expected[0].get<Ids>()) << texts[i];
    if (!expected[1].is_null()) {
      EXPECT_EQ(in_characters(texts[i], e.offsets), expected[1].get<std::vector<std::int64_t>>())
          << texts[i];
    }
    EXPECT_EQ(t.decode(e.ids), decoded_or(expected[2], texts[i]));
    const Json& bare = golden["without_special"][i];
    const Ids ids = t.encode(texts[i], false).ids;
    EXPECT_EQ(ids.size(), bare[0].get<std::size_t>()) << texts[i];
    EXPECT_EQ(ids, t.ids(texts[i]));
    EXPECT_EQ(t.decode(ids, true), decoded_or(bare[1], texts[i]));
  }
  for (const Json& pair : golden["pairs"]) {
    const std::string &first = texts[pair[0].get<std::size_t>()],
                      &second = texts[pair[1].get<std::size_t>()];
    const Encoding e = t.encode_pair(first, second);
    EXPECT_EQ(e.ids, pair[2].get<Ids>()) << first << " | " << second;
    EXPECT_EQ(e.type_ids, pair[4].get<Ids>()) << first << " | " << second;
  }
}

// What comes out is whole characters, and together the text; so with any ids a model may give.
TEST_P(WholeTokenizer, StreamsWhatItDecodes) {
  std::mt19937 generator(5);
  std::vector<std::pair<Ids, bool>> lists;  // and whether their text is UTF-8
  for (const std::string& text : texts) lists.emplace_back(t.encode(text).ids, true);
  for (int i = 0; i < 400; ++i) {
    Ids ids(generator() % 30);
    for (std::int32_t& id : ids)
      id = static_cast<std::int32_t>(generator() % static_cast<std::uint32_t>(t.vocab_size()));
    lists.emplace_back(std::move(ids), false);
  }
  for (const auto& [ids, is_utf8] : lists)
    for (const bool skip : {false, true}) {
      StreamDecoder stream(t, skip);
      std::string all, shown;
      const auto put = [&](const std::string& part) {
        if (is_utf8) {
          EXPECT_EQ(made_utf8(part), part);
        }
        all += part;
        shown += made_utf8(part);
      };
      for (const std::int32_t id : ids) put(stream.push(id));
      put(stream.finish());
      ASSERT_EQ(all, t.decode(ids, skip)) << Json(ids);
      ASSERT_EQ(shown, made_utf8(all)) << Json(ids);
    }
}

// Bytes that are no UTF-8: kept where every byte has a token (Qwen's normalizer and RoBERTa's
// <mask>, which takes a space with it, change what is around them), else U+FFFD for each.
TEST_P(WholeTokenizer, BrokenCharactersAreKeptOrReplaced) {
  std::mt19937 generator(9);
  const std::string broken[] = {"\xFF",     "\xE6\x97",     "\xF0\x9F\x91", "\x80",
                                "\xC0\xAF", "\xED\xA0\x80", "\xC3"};
  const std::string_view shape = GetParam();
  const bool bytes = t.kind() == "byte-level BPE",
             keeps_all = shape != "qwen2" && shape != "roberta";
  for (std::string text : texts) {
    for (int i = 0; i < 3; ++i)
      text.insert(generator() % (text.size() + 1), broken[generator() % std::size(broken)]);
    const Encoding e = t.encode(text, false);
    if (!bytes) {
      ASSERT_EQ(e.ids, t.ids(made_utf8(text)));
    } else if (keeps_all) {
      ASSERT_EQ(t.decode(e.ids), text);
    }
    for (const auto& [begin, end] : e.offsets)
      ASSERT_TRUE(begin <= end && end <= static_cast<std::int64_t>(text.size()));
    StreamDecoder stream(t, false);
    std::string streamed;
    for (const std::int32_t id : e.ids) streamed += stream.push(id);
    ASSERT_EQ(streamed + stream.finish(), t.decode(e.ids));
  }
}

TEST_P(WholeTokenizer, SavedAndLoadedIsTheSame) {
  const fs::path scratch = fs::temp_directory_path() /
                           ("weft_whole_" + std::string(GetParam()) + std::to_string(::getpid()));
  save_tokenizer(t, scratch);
  const Tokenizer again = load_tokenizer(scratch);
  EXPECT_EQ(again.hash(), t.hash());
  EXPECT_EQ(again.vocab_size(), t.vocab_size());
  for (const std::string& text : texts) {
    const Encoding a = again.encode(text), b = t.encode(text);
    ASSERT_EQ(a.ids, b.ids) << text;
    ASSERT_EQ(a.offsets, b.offsets) << text;
    ASSERT_EQ(again.decode(a.ids, true), t.decode(b.ids, true)) << text;
  }
  fs::remove_all(scratch);
}

INSTANTIATE_TEST_SUITE_P(Shapes, WholeTokenizer,
                         testing::Values("gpt2", "roberta", "llama3", "qwen2", "smollm", "llama2",
                                         "phi3", "mistral", "gemma", "bert_uncased", "bert_cased",
                                         "wordlevel", "t5", "xlmr", "esm"),
                         [](const auto& shape) { return std::string(shape.param); });

}  // namespace
}  // namespace weft
