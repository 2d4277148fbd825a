// A file in blocks gives the texts that reading it whole gives: places, numbers, ids, rejects.
#include "io/ledger/input_blocks.h"

#include <zlib.h>

#include "tests/io/ledger/job_folder.h"

namespace weft::test {
namespace {

struct Read {
  std::vector<std::string> texts;  // "line number id text"
  std::vector<std::string> rejects;
  std::vector<std::int64_t> draws;
  bool operator==(const Read&) const = default;
};

void add(Read& to, const Document& d) {
  to.texts.push_back(fmt::format("{} {} {} {}", d.line, d.number,
                                 d.id.empty() ? std::to_string(d.number) : d.id, d.text));
  to.draws.push_back(d.earlier_draws);
}

class InputBlocksTest : public JobFolder {
 protected:
  Read whole(const std::string& file, ReadOptions how = {}) {
    Read all;
    EqualTexts equal(1);
    how.reject = [&](std::int64_t, const std::string& s) { all.rejects.push_back(s); };
    read_documents(file, how, [&](Document&& d) {
      d.earlier_draws = equal.next(d);
      add(all, d);
    });
    return all;
  }
  Read in_blocks(const std::string& file, std::int64_t size, const ReadOptions& how = {}) {
    const InputBlocks cut = InputBlocks::cut(file, how, {size, 0}, 1, *this / "beside");
    const InputBlocks blocks(parse_json(json_text(cut.json())), *this / "beside");
    Read all;
    std::int64_t n = 0;
    for (std::size_t b = blocks.n_blocks(); b-- > 0;) {  // any block before any other
      const GivenTexts texts = blocks.read(b, how);
      EXPECT_EQ(static_cast<std::int64_t>(texts.size()), blocks.n_texts(b));
      n += blocks.n_texts(b);
      Read block;
      for (const Document& d : texts.documents) add(block, d);
      for (const RejectedRecord& r : texts.rejected) block.rejects.push_back(r.reason);
      all.texts.insert(all.texts.begin(), block.texts.begin(), block.texts.end());
      all.rejects.insert(all.rejects.begin(), block.rejects.begin(), block.rejects.end());
      all.draws.insert(all.draws.begin(), block.draws.begin(), block.draws.end());
    }
    EXPECT_EQ(n, blocks.n_texts());
    return all;
  }
  void alike(const std::string& name, const std::string& content, const ReadOptions& how = {}) {
    const std::string file = *this / name;
    if (name.ends_with(".gz")) {
      gzFile out = gzopen(file.c_str(), "wb");
      gzwrite(out, content.data(), static_cast<unsigned>(content.size()));
      gzclose(out);
    } else {
      put(file, content);
    }
    const Read expected = whole(file, how);
    EXPECT_FALSE(expected.texts.empty());
    for (const std::int64_t size : {1, 2, 5, 100}) {
      const Read read = in_blocks(file, size, how);
      EXPECT_EQ(read.texts, expected.texts) << name << ", blocks of " << size;
      EXPECT_EQ(read.rejects, expected.rejects) << name << ", blocks of " << size;
      EXPECT_EQ(read.draws, expected.draws) << name << ", blocks of " << size;
    }
  }
};

TEST_F(InputBlocksTest, GiveWhatTheWholeFileGives) {
  const std::string lines = "a\n\nb\nb\r\n\n\nlonger than the others\nb\nlast";
  const std::string objects =
      "\n{\"text\": \"a\"}\n{\"prompt\": \"b\", \"id\": 7}\n\n{\"text\": \"a\"}\nnone\n"
      "{\"text\": 5}\n{\"text\": \"a\", \"seed\": 3}\n{\"text\": \"\"}\n{\"text\": \"a\"}";
  ReadOptions kept;
  kept.keep_options = true;
  alike("t.txt", lines);
  alike("mark.txt", "\xEF\xBB\xBF" + lines);
  alike("t.txt.gz", lines);
  alike("t.jsonl", objects, kept);
  alike("t.jsonl.gz", objects, kept);
  alike("t.csv", "id,text\n1,a\n2,\"two\nlines\"\n3,c\n4,a\n", {.field = "text"});
  alike("t.fasta", ">one x\nAC\nGT\n>two\nA\n>three\nAC\n");
  alike("t.json", "[{\"text\": \"a\"}, {\"text\": 1}, {\"text\": \"c\"}]");
  ReadOptions paragraphs;
  paragraphs.unit = TextUnit::paragraph;
  alike("p.txt", "a\nb\n\nc\n\n\nd\n", paragraphs);
}

TEST_F(InputBlocksTest, GrowWithTheFile) {
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += fmt::format("{}\n", i);
  put(*this / "t.txt", lines);
  const InputBlocks blocks = InputBlocks::cut(*this / "t.txt", {}, {8, 1}, 0, *this / "beside");
  EXPECT_EQ(blocks.n_texts(), 20000);
  EXPECT_EQ(blocks.n_texts(0), 8);
  EXPECT_EQ(blocks.n_texts(511), 8);
  EXPECT_EQ(blocks.n_texts(512), 16);
  EXPECT_LT(blocks.n_blocks(), 1700u);
  EXPECT_FALSE(fs::exists(*this / "beside")) << "plain lines are read where they lie";
}

// Nobody stands by while there are texts to share.
TEST_F(InputBlocksTest, AreSmallWhereTextsAreFew) {
  for (const char* name : {"t.txt", "t.csv"}) {
    for (const auto& [n, sharers, size] :
         {std::tuple(5, 1, 1), {64, 1, 4}, {64, 4, 1}, {1000, 2, 8}, {128, 1, 8}}) {
      std::string lines = name == std::string("t.csv") ? "text\n" : "";
      for (int i = 0; i < n; ++i) lines += fmt::format("{}\n", i);
      put(*this / name, lines);
      const InputBlocks blocks =
          InputBlocks::cut(*this / name, {.field = name == std::string("t.csv") ? "text" : ""},
                           {8, sharers}, 0, *this / "beside");
      EXPECT_EQ(blocks.n_texts(), n) << name;
      EXPECT_EQ(blocks.n_texts(0), size) << name << ": " << n << " texts for " << sharers;
    }
  }
}

TEST_F(InputBlocksTest, PackedTextsThatAreDamagedAreAnError) {
  put(*this / "t.csv", "text\na\nb\n");
  const InputBlocks blocks =
      InputBlocks::cut(*this / "t.csv", {.field = "text"}, {8, 0}, 0, *this / "beside");
  std::string packed = get(*this / "beside");
  const GivenTexts given = unpack(packed);
  EXPECT_EQ(given.documents.size(), 2u);
  for (std::size_t n = 0; n < packed.size(); ++n)
    EXPECT_TRUE(failure_of([&] { unpack(std::string_view(packed).substr(0, n)); })) << n;
  put(*this / "beside", packed.substr(1));
  EXPECT_TRUE(failure_of([&] { blocks.read(0, {}); }));
}

}  // namespace
}  // namespace weft::test
