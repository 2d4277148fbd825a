// Texts from files of every ending, plain and gzip, and what is said about those that are broken.
#include "io/documents.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/io/document_files.h"

namespace weft {
namespace {

using namespace test;

TEST_F(Documents, TextIsALineEach) {
  const auto documents = read(".txt", "one\n\n two \r\nthree");
  EXPECT_EQ(texts(documents), (Texts{"one", " two ", "three"}));
  EXPECT_EQ(documents[1].line, 3);
  EXPECT_EQ(documents[2].line, 4);
  EXPECT_TRUE(documents[0].options.is_null());
  EXPECT_TRUE(read(".txt", "").empty());
  EXPECT_TRUE(read(".txt", "\n\r\n\n").empty());
  EXPECT_EQ(texts(read(".txt", "\xEF\xBB\xBFone\n")),
            Texts{"one"});  // the byte order mark of some editors
  EXPECT_EQ(texts(read(".txt", "\xEF\xBB")), Texts{"\uFFFD"});
}

TEST_F(Documents, TextByParagraphAndByFile) {
  const fs::path file = folder_.mine() / "in.txt";
  const auto by = [&](const std::string& content, TextUnit unit) {
    put(file, content);
    ReadOptions how;
    how.unit = unit;
    return read_documents(file, how);
  };
  const std::string content = "\xEF\xBB\xBFone\n two\r\n\n\n \t\r\nthree\n\nfour";
  const auto paragraphs = by(content, TextUnit::paragraph);
  EXPECT_EQ(texts(paragraphs), (Texts{"one\n two", "three", "four"}));
  EXPECT_EQ(paragraphs[0].line, 1);
  EXPECT_EQ(paragraphs[1].line, 6);
  EXPECT_EQ(paragraphs[2].line, 8);
  EXPECT_EQ(texts(by("\n\n a \n\n", TextUnit::paragraph)), Texts{" a "});
  EXPECT_EQ(texts(by(content, TextUnit::file)), Texts{"one\n two\n\n\n \t\nthree\n\nfour"});
  EXPECT_EQ(texts(by("a\n\nb\n", TextUnit::file)),
            Texts{"a\n\nb\n"});                                     // its last newline is its own
  EXPECT_EQ(texts(by("a\rb\r", TextUnit::file)), Texts{"a\rb\r"});  // no line ends there
  for (const TextUnit unit : {TextUnit::line, TextUnit::paragraph, TextUnit::file})
    for (const char* nothing : {"", "\n", "\r\n\n"}) EXPECT_TRUE(by(nothing, unit).empty());
  EXPECT_EQ(text_unit("line"), TextUnit::line);
  EXPECT_EQ(text_unit("paragraph"), TextUnit::paragraph);
  EXPECT_EQ(text_unit("file"), TextUnit::file);
  expect_user_error([] { text_unit("page"); }, {"--documents", "'page'", "line, paragraph, file"});
}

TEST_F(Documents, Utf16IsRefused) {
  for (const char* mark : {"\xFF\xFE", "\xFE\xFF"})
    expect_user_error([&] { read(".txt", std::string(mark) + "a"); },
                      {"in.txt", "UTF-16", "iconv"});
}

// Whatever the cuts, the parts together are the whole, in order; and the shares are even where
// documents are small.
TEST_F(Documents, PartsJoinToTheWhole) {
  std::string lines, jsonl, csv = "id,text\n", fasta;
  for (int i = 0; i < 3000; ++i) {
    const std::string body(static_cast<std::size_t>(i * i % 97), static_cast<char>('a' + i % 26));
    lines += body + (i % 5 ? "\n" : "\r\n\n");
    jsonl += "{\"text\": \"" + body + "\"}\n" + (i % 7 ? "" : "\n");
    csv += fmt::format("{},\"{}\n,\"\"{}\"\n", i, body, i);
    fasta += fmt::format(">r{}\n{}\nACGT\n", i, body);
  }
  const std::tuple<const char*, std::string, TextUnit> inputs[] = {
      {"p.txt", lines, TextUnit::line}, {"p.txt", lines, TextUnit::paragraph},
      {"p.txt", lines, TextUnit::file}, {"p.jsonl", jsonl, TextUnit::line},
      {"p.csv", csv, TextUnit::line},   {"p.fa", fasta, TextUnit::line}};
  for (const auto& [name, content, unit] : inputs)
    for (const bool packed : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {} {}", name, static_cast<int>(unit), packed));
      const fs::path file = folder_.mine() / (std::string(name) + (packed ? ".gz" : ""));
      if (packed)
        put_gzip(file, content);
      else
        put(file, content);
      ReadOptions how;
      how.unit = unit;
      const Texts whole = texts(read_documents(file, how));
      const auto size = static_cast<std::int64_t>(fs::file_size(file));
      for (const std::int64_t n : {1, 2, 3, 7, 5000}) {
        Texts joined;
        std::size_t least = whole.size(), most = 0;
        for (std::int64_t k = 0; k < n; ++k) {
          how.part = {size * k / n, k + 1 == n ? INT64_MAX : size * (k + 1) / n};
          if (n == 5000 && how.part.begin == how.part.end) continue;
          const std::size_t before = joined.size();
          read_documents(file, how, [&](Document&& d) { joined.push_back(std::move(d.text)); });
          least = std::min(least, joined.size() - before);
          most = std::max(most, joined.size() - before);
          if (n == 5000 && k > 40) break;  // enough of the many small ones
        }
        if (n == 5000) {
          joined.resize(std::min(joined.size(), whole.size()));
          EXPECT_TRUE(std::equal(joined.begin(), joined.end(), whole.begin()));
          continue;
        }
        EXPECT_EQ(joined, whole);
        if (!packed && unit != TextUnit::file) {
          EXPECT_LT(most - least, whole.size() / 10);
        }
      }
    }
}

TEST_F(Documents, ErrorsAreOfThePartThatHoldsThem) {
  const fs::path file = folder_.mine() / "in.jsonl";
  put(file, "{\"text\": \"a\"}\n{broken\n");
  int seen = 0;
  ReadOptions how;
  how.part = {0, 5};
  read_documents(file, how, [&](Document&&) { ++seen; });
  EXPECT_EQ(seen, 1);
  how.part = {5, INT64_MAX};
  expect_user_error([&] { read_documents(file, how, [&](Document&&) { ++seen; }); },
                    {"in.jsonl", "line 2"});
  EXPECT_EQ(seen, 1);
}

TEST_F(Documents, LinesLongerThanTheBufferAndAcrossIt) {
  std::string content;
  Texts expected;
  for (int i = 0; i < 40; ++i) {
    expected.push_back(
        std::string(static_cast<std::size_t>(i * i * 700 + 1), static_cast<char>('a' + i % 26)));
    content += expected.back() + (i % 3 ? "\n" : "\r\n");
  }
  EXPECT_EQ(texts(read(".txt", content)), expected);
}

TEST_F(Documents, JsonLines) {
  ReadOptions keep;
  keep.keep_options = true;
  const auto documents =
      read_as(".jsonl",
              "{\"text\": \"a\\nb\", \"id\": 7, \"max_tokens\": 3}\n\n{\"prompt\": "
              "\"p\", \"id\": \"x\"}\n",
              keep);
  EXPECT_EQ(texts(documents), (Texts{"a\nb", "p"}));
  EXPECT_EQ(documents[0].id, "7");
  EXPECT_EQ(documents[1].id, "x");
  EXPECT_EQ(documents[1].line, 3);
  EXPECT_EQ(documents[0].options["max_tokens"], 3);
  EXPECT_EQ(texts(read(".jsonl", "{\"text\": \"a\", \"other\": \"b\"}", "other")), Texts{"b"});
  expect_user_error([&] { read(".jsonl", "{\"text\": \"a\"}\n{\"texts\": \"b\", \"n\": 1}\n"); },
                    {"in.jsonl", "line 2", "'text'", "n, texts"});
  expect_user_error([&] { read(".jsonl", "{\"text\": \"a\"}\n", "body"); },
                    {"in.jsonl", "line 1", "'body'", "text"});
  expect_user_error([&] { read(".jsonl", "{\"text\": 5}\n"); }, {"in.jsonl", "line 1", "number"});
  for (const char* line :
       {"{\"text\": ", "[1]", "7", "{\"text\": 1e999}", "{\"text\": \"a\"} {\"text\": \"b\"}",
        "{\"text\": \"a\", \"n\": 01}", "{\"text\": \"a\", \"n\": -}", "{\"text\": \"a\",}",
        "{\"text\": \"a\", \"n\": .5}", "{\"text\": \"a\", \"n\": nan}", "{\"text\": \"a\tb\"}",
        "{\"text\": \"\\x41\"}", "{\"text\": \"\\u12g4\"}", "{'text': \"a\"}"})
    expect_user_error([&] { read(".jsonl", std::string("{\"text\": \"a\"}\n") + line); },
                      {"in.jsonl", "line 2"});
}

TEST_F(Documents, TablesFollowRfc4180) {
  const auto documents = read(".csv",
                              "id,text,x\n1,plain,\n2,\"a,b \"\"c\"\"\",y\r\n3,\"two\nlines\r\nand "
                              "more\",z\n\n4,\"\",w\n5,last,");
  EXPECT_EQ(texts(documents), (Texts{"plain", "a,b \"c\"", "two\nlines\r\nand more", "", "last"}));
  EXPECT_EQ(documents[2].id, "3");
  EXPECT_EQ(documents[2].line, 4);
  EXPECT_EQ(documents[4].line, 9);
  ReadOptions quoted;
  quoted.quotes = "double";
  EXPECT_EQ(texts(read_as(".tsv", "\xEF\xBB\xBFtext\tlabel\na, b\t1\n\"q\tr\"\t2\n", quoted)),
            (Texts{"a, b", "q\tr"}));
  EXPECT_EQ(texts(read(".csv", "a,b\n1,2\n", "b")), Texts{"2"});
  EXPECT_TRUE(read(".csv", "").empty());
  EXPECT_TRUE(read(".csv", "text\n").empty());
  expect_user_error([&] { read(".csv", "a,b\n1,2\n"); }, {"in.csv", "'text'", "a, b"});
  expect_user_error([&] { read(".csv", "a,text\n1,2\n3\n"); }, {"in.csv", "line 3", "'text'"});
  expect_user_error([&] { read(".csv", "text\nx\n\"open\nnever closed\n"); }, {"in.csv", "line 3"});
}

TEST_F(Documents, FastaIsARecordEach) {
  for (const char* ending : {".fasta", ".fa", ".faa", ".fna", ".fas", ".ffn", ".frn", ".FAS"}) {
    const auto documents =
        read(ending, "\n; a comment\n>sp|P1 first protein\nMKV L\nAA\r\n\n>second\nGG*\n>empty\n");
    EXPECT_EQ(texts(documents), (Texts{"MKVLAA", "GG*", ""}));
    EXPECT_EQ(documents[0].id, "sp|P1");
    EXPECT_EQ(documents[1].id, "second");
    EXPECT_EQ(documents[0].line, 3);
    EXPECT_EQ(documents[1].line, 7);
  }
  expect_user_error([&] { read(".fasta", "MKV\n>x\n"); }, {"in.fasta", "line 1", "FASTA"});
}

TEST_F(Documents, MissingFoldersAndUnknownEndings) {
  expect_user_error([&] { read_documents(folder_.mine() / "absent.txt"); },
                    {"absent.txt", "no such file"});
  expect_user_error([&] { read_documents(folder_.mine() / "in.parquet"); },
                    {"in.parquet", ".jsonl", ".fasta"});
  expect_user_error([&] { read_documents(folder_.mine() / "in.gz"); }, {"in.gz", ".jsonl"});
  fs::create_directories(folder_.mine() / "folder.txt");
  expect_user_error([&] { read_documents(folder_.mine() / "folder.txt"); },
                    {"folder.txt", "folder"});
}

TEST_F(Documents, BrokenGzip) {
  const fs::path file = folder_.mine() / "in.txt.gz";
  std::string content;
  std::uint64_t state = 9;
  for (int i = 0; i < 20'000; ++i)
    content +=
        fmt::format("{}\n", (state = state * 6364136223846793005u + 1442695040888963407u) >> 20);
  put_gzip(file, content);
  const std::string whole = get(file);
  EXPECT_EQ(read_documents(file).size(), 20'000u);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{5}, std::size_t{12},
                                whole.size() / 2, whole.size() - 8, whole.size() - 1}) {
    SCOPED_TRACE(cut);
    put(file, whole.substr(0, cut));
    expect_user_error([&] { read_documents(file); }, {"in.txt.gz"});
  }
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 0x10);
  put(file, flipped);
  expect_user_error([&] { read_documents(file); }, {"in.txt.gz"});
  put(file, "just text\n");
  expect_user_error([&] { read_documents(file); }, {"in.txt.gz", "not gzip"});
}

TEST_F(Documents, ReadAsAStream) {
  const fs::path file = folder_.mine() / "in.txt.gz";
  put_gzip(file, std::string(1 << 20, 'a') + "\n" + std::string(4 << 20, '\n') + "last\n");
  int seen = 0;
  EXPECT_THROW(read_documents(file, {},
                              [&](Document&&) {
                                if (++seen == 1) throw std::runtime_error("enough");
                              }),
               std::runtime_error);
  EXPECT_EQ(seen, 1);
}

TEST_F(Documents, StandardInputIsNeverGuessedAndStaysOpen) {
  const std::tuple<const char*, const char*, Texts> inputs[] = {
      {"one\ntwo\n", "", {"one", "two"}},       {"{\"text\": \"a\"}\n", "", {"{\"text\": \"a\"}"}},
      {"{\"text\": \"a\"}\n", "jsonl", {"a"}},  {"\xEF\xBB\xBF{\"text\": \"a\"}\n", "jsonl", {"a"}},
      {">id\nMK\nV\n", "", {">id", "MK", "V"}}, {">id\nMK\nV\n", "fasta", {"MKV"}},
      {"id,text\n1,a\n", "csv", {"a"}},         {"", "", {}}};
  const int before = ::dup(STDIN_FILENO);
  for (const auto& [content, format, expected] : inputs) {
    const fs::path file = folder_.mine() / "stdin";
    put(file, content);
    const int fd = ::open(file.c_str(), O_RDONLY);
    ::dup2(fd, STDIN_FILENO);
    ::close(fd);
    ReadOptions how;
    how.format = format;
    EXPECT_EQ(texts(read_documents("-", how)), expected);
    EXPECT_NE(::fcntl(STDIN_FILENO, F_GETFD), -1) << "stdin was closed";
  }
  if (before >= 0) {
    ::dup2(before, STDIN_FILENO);
    ::close(before);
  }
}

TEST_F(Documents, DamagedFilesNeverCrash) {
  const std::pair<const char*, const char*> whole[] = {
      {"d.jsonl",
       "{\"text\": \"a\\u00e9 b\", \"id\": 7}\n{\"text\": \"\\ud83d\\ude00\", \"n\": [1, "
       "2.5e3]}\n"},
      {"d.csv", "id,text\n1,\"a, \"\"b\"\"\"\n2,\"c\nd\"\n3,e\n"},
      {"d.fasta", ">one first\nMKV\nLA\n>two\nGG\n"}};
  for (const auto& [name, content] : whole) {
    const fs::path file = folder_.mine() / name;
    open_damaged(file, content, 300, static_cast<std::uint64_t>(folder_.rank()) + 5,
                 [&] { read_documents(file); });
  }
  const fs::path packed = folder_.mine() / "d.txt.gz";
  put_gzip(packed, "one\ntwo\nthree and some more\n");
  EXPECT_GT(open_damaged(packed, get(packed), 300, static_cast<std::uint64_t>(folder_.rank()) + 5,
                         [&] { read_documents(packed); }),
            100);
}

}  // namespace
}  // namespace weft
