// Damaged tokenizer.json files of every shape (tests/data/tokenizers): each is read, and then
// works, or is refused with one sentence.
#include <gtest/gtest.h>

#include "core/check.h"
#include "io/json.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/json_mutants.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using test::fuzz;

const fs::path kData = fs::path(WEFT_TEST_DATA) / "tokenizers";
constexpr std::uint64_t kShapeMutants = 200;  // of each of two ways of damage
constexpr std::size_t kMostMessage = 700;     // bytes; a long name in it is cut

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
  CHECK(Tokenizer::from_json(t.to_json(), "again").hash() == t.hash(),
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
             use(Tokenizer::load(folder.path()));
           } catch (const UserError& error) {
             const std::string said = error.what();
             CHECK(said.size() < kMostMessage && said.find('\n') == std::string::npos,
                   "no sentence, but {} bytes: {}", said.size(), said.substr(0, 200));
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

}  // namespace
}  // namespace weft
