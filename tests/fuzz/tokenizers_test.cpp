// Damaged tokenizer.json files of every shape (tests/data/tokenizers) and damaged files of folders
// (tests/data/tokenizer_folders.json): each is read, and then works, or is refused with one
// sentence of ours that names the file.
#include <gtest/gtest.h>

#include "core/check.h"
#include "io/json.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/json_mutants.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using test::fuzz;

const fs::path kData = fs::path(WEFT_TEST_DATA) / "tokenizers";
constexpr std::uint64_t kShapeMutants = 200;  // of each of two ways of damage
constexpr std::size_t kMostMessage = 700;     // bytes; a long name in it is cut

// One sentence, in our words: nothing of what a library says of itself.
void check_sentence(const std::string& said, const fs::path& folder) {
  CHECK(said.size() < kMostMessage && said.find('\n') == std::string::npos,
        "no sentence, but {} bytes: {}", said.size(), said.substr(0, 200));
  CHECK(said.find(folder.string()) != std::string::npos, "names no file: {}", said);
  for (const char* word : {"exception", "std::", "basic_string", "vector::", "_M_", "__n", "stoi",
                           "stol", "PCRE2", "format"})
    CHECK(said.find(word) == std::string::npos, "a library's words: {}", said);
}

// All that a program does with a tokenizer.
void use(const Tokenizer& t) {
  const std::string text =
      "The <s>naïve cat\xFF's <|endoftext|>[MASK] 12  \xF0\x9F\x90\x88 e\xCC\x81\xE6\x97\xA5 "
      "\n\n\t</s>";
  for (const std::string& piece :
       {text, std::string(), std::string(300, 'a'), std::string(300, ' ')}) {
    const Encoding e = t.encode(piece);
    CHECK(e.ids.size() == e.offsets.size() && e.ids.size() == e.type_ids.size(),
          "{} ids, {} offsets", e.ids.size(), e.offsets.size());
    for (std::size_t i = 0; i < e.ids.size(); ++i) {
      CHECK(e.ids[i] >= 0 && e.ids[i] < t.vocab_size(), "id {} of {}", e.ids[i], t.vocab_size());
      const auto [begin, end] = e.offsets[i];
      CHECK(begin >= 0 && begin <= end && end <= static_cast<std::int64_t>(piece.size()),
            "offsets {} {} of {} bytes", begin, end, piece.size());
    }
    std::string streamed;
    StreamDecoder stream(t, false);
    for (const std::int32_t id : e.ids) streamed += stream.push(id);
    streamed += stream.finish();
    CHECK(streamed == t.decode(e.ids), "streamed '{}', decoded '{}'", streamed, t.decode(e.ids));
    t.decode(e.ids, true);
  }
  t.encode_pair("a b", text);
  CHECK(tokenizer_from_json(t.to_json(), "again").hash() == t.hash(),
        "what it writes it reads otherwise");
}

class DamagedTokenizer : public testing::TestWithParam<const char*> {
 protected:
  void damage(const test::Mutant& mutant) {
    const Folder folder;
    fs::copy(kData / GetParam() / "tokenizer.json", folder / "tokenizer.json");
    fuzz(folder / "tokenizer.json", mutant,
         std::getenv("WEFT_FUZZ_MUTANTS") ? test::n_mutants() : kShapeMutants, [&] {
           try {
             use(load_tokenizer(folder.path()));
           } catch (const UserError& error) {
             check_sentence(error.what(), folder.path());
             throw;
           }
         });
  }
  std::string valid() const { return test::get(kData / GetParam() / "tokenizer.json"); }
};

TEST_P(DamagedTokenizer, ValuesAndKeys) {
  test::JsonMutator mutator(valid());
  damage([&](std::uint64_t number) { return mutator.mutant(number); });
}

TEST_P(DamagedTokenizer, Bytes) {
  test::Mutator mutator(valid(), true);
  damage([&](std::uint64_t number) { return mutator.mutant(number); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, DamagedTokenizer,
                         testing::Values("gpt2", "roberta", "llama3", "qwen2", "smollm", "llama2",
                                         "phi3", "mistral", "gemma", "bert_uncased", "bert_cased",
                                         "wordlevel", "t5", "xlmr"),
                         [](const auto& shape) { return std::string(shape.param); });

struct FolderFile {
  const char *folder, *file;
};

class DamagedFolder : public testing::TestWithParam<FolderFile> {
 protected:
  // The whole folder, of which one file is damaged.
  void damage(bool as_json) {
    const Json golden = read_json_object(fs::path(WEFT_TEST_DATA) / "tokenizer_folders.json");
    const auto found = std::find_if(golden["cases"].begin(), golden["cases"].end(),
                                    [&](const Json& c) { return c["name"] == GetParam().folder; });
    ASSERT_NE(found, golden["cases"].end());
    const Folder folder;
    for (const auto& [name, content] : (*found)["files"].items()) {
      const auto text = content.get<std::string>();
      test::put(folder / name, text.starts_with("@")
                                   ? test::get(fs::path(WEFT_TEST_DATA) / text.substr(1))
                                   : text);
    }
    const std::string valid = test::get(folder / GetParam().file);
    const auto mutant = [&]() -> test::Mutant {
      if (as_json)
        return [m = test::JsonMutator(valid)](std::uint64_t i) mutable { return m.mutant(i); };
      const bool is_text = fs::path(GetParam().file).extension() != ".model";
      return [m = test::Mutator(valid, is_text)](std::uint64_t i) mutable { return m.mutant(i); };
    }();
    fuzz(folder / GetParam().file, mutant,
         std::getenv("WEFT_FUZZ_MUTANTS") ? test::n_mutants() : kShapeMutants, [&] {
           try {
             use(load_tokenizer(folder.path()));
           } catch (const UserError& error) {
             check_sentence(error.what(), folder.path());
             throw;
           }
         });
  }
};

TEST_P(DamagedFolder, ValuesAndKeys) {
  if (fs::path(GetParam().file).extension() != ".json") GTEST_SKIP() << "no JSON";
  damage(true);
}
TEST_P(DamagedFolder, Bytes) { damage(false); }

INSTANTIATE_TEST_SUITE_P(
    Files, DamagedFolder,
    testing::Values(FolderFile{"spm_llama_both", "tokenizer.model"},
                    FolderFile{"spm_llama_both", "tokenizer_config.json"},
                    FolderFile{"spm_llama_both", "added_tokens.json"},
                    FolderFile{"spm_llama_special_map", "special_tokens_map.json"},
                    FolderFile{"spm_fast_not_legacy", "tokenizer.model"},
                    FolderFile{"spm_unigram", "tokenizer.model"},
                    FolderFile{"merges_prefix_bos", "tokenizer_config.json"},
                    FolderFile{"merges_prefix_bos", "vocab.json"},
                    FolderFile{"merges_prefix_bos", "merges.txt"},
                    FolderFile{"merges_of_gpt2", "config.json"},
                    FolderFile{"bert_ids", "vocab.txt"}, FolderFile{"esm", "vocab.txt"},
                    FolderFile{"bert_accents", "tokenizer_config.json"},
                    FolderFile{"json_decoder", "tokenizer_config.json"},
                    FolderFile{"json_map_wins", "special_tokens_map.json"},
                    FolderFile{"json_ids", "added_tokens.json"}),
    [](const auto& at) {
      std::string name = std::string(at.param.folder) + "_" + at.param.file;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

}  // namespace
}  // namespace weft
