// What files of other tools hold: JSON as Python writes it, tables as GLUE and RFC 4180 have them,
// bytes that are no UTF-8, records that are empty or broken.
#include "tests/io/document_files.h"

namespace weft {
namespace {

using namespace test;

// What json.dumps writes and json.loads reads (CPython 3.11): each line beside the text that
// json.loads(line)["text"].encode("utf-8", "replace") shows, a lone surrogate as U+FFFD.
TEST_F(Documents, JsonLinesAsPythonWritesThem) {
  const std::pair<const char*, const char*> lines[] = {
      {R"({"text": "a \ud83d b"})", "a \uFFFD b"},
      {R"({"text": "\ude00\ud83d"})", "\uFFFD\uFFFD"},
      {R"({"text": "\ud83d\ud83d\ude00"})", "\uFFFD\U0001F600"},
      {R"({"text": "\ud83d\u0041"})", "\uFFFDA"},
      {R"({"text": "\ud83d\ude00\u00e9"})", "\U0001F600\u00E9"},
      {R"({"text": "a", "score": NaN})", "a"},
      {R"({"text": "a", "score": [Infinity, -Infinity, 1e400, -0, 1E+2]})", "a"},
      {R"({"text": "a", "n": 123456789012345678901234567890})", "a"},
      {R"({"text": "a", "text": "b"})", "b"},  // the last of equal keys counts
      {R"( {"text" : "\"\\\/\b\f\n\r\t" , "x":{"y":[ ]}} )", "\"\\/\b\f\n\r\t"},
      {"{\"text\": \"caf\xE9 \xF0\x9F\x98\"}", "caf\uFFFD \uFFFD"}};
  for (const auto& [line, text] : lines) {
    SCOPED_TRACE(line);
    EXPECT_EQ(texts(read(".jsonl", line)), Texts{text});
  }
  const std::string deep = std::string(99, '[') + std::string(99, ']');
  EXPECT_EQ(read(".jsonl", "{\"text\": \"a\", \"x\": " + deep + "}").size(), 1u);
  expect_user_error([&] { read(".jsonl", "{\"text\": \"a\", \"x\": [" + deep + "]}"); },
                    {"in.jsonl", "line 1", "deeper than 100"});
}

TEST_F(Documents, IdsKeepTheirTypeAndDigits) {
  const std::tuple<const char*, const char*, const char*> ids[] = {
      {"7", "7", "7"},
      {"\"7\"", "7", ""},
      {"123456789012345678901234567890", "123456789012345678901234567890",
       "123456789012345678901234567890"},
      {"1.50", "1.50", "1.50"},
      {"true", "true", "true"},
      {"null", "", ""},
      {"NaN", "NaN", ""},
      {"\"M\xE9l\"", "M\uFFFDl", ""},
      {"[1, \"a\"]", "[1,\"a\"]", ""}};
  for (const auto& [written, id, json] : ids) {
    SCOPED_TRACE(written);
    const auto documents =
        read(".jsonl", fmt::format("{{\"text\": \"a\", \"id\": {}}}\n", written));
    EXPECT_EQ(documents[0].id, id);
    EXPECT_EQ(documents[0].id_json, json);
  }
}

// A record's number is its place in the file, whatever is empty or cannot be read.
TEST_F(Documents, RecordsKeepTheirNumbers) {
  const auto numbers = [](const std::vector<Document>& documents) {
    std::vector<std::int64_t> list;
    for (const Document& d : documents) list.push_back(d.number);
    return list;
  };
  using Numbers = std::vector<std::int64_t>;
  EXPECT_EQ(numbers(read(".txt", "a\n\nb\n")), (Numbers{0, 2}));
  EXPECT_EQ(numbers(read(".smi", "C\n\nCC x\n")), (Numbers{0, 2}));
  const auto one = read(".csv", "text\nabc\n\"\"\ndef\n\nghi\n");
  EXPECT_EQ(texts(one), (Texts{"abc", "", "def", "ghi"}));
  EXPECT_EQ(numbers(one), (Numbers{0, 1, 2, 4}));
  const auto two = read(".csv", "id,text\n,abc\n\n,\n,def\n");  // a blank line is no row of two
  EXPECT_EQ(texts(two), (Texts{"abc", "", "def"}));
  EXPECT_EQ(numbers(two), (Numbers{0, 1, 2}));
  EXPECT_EQ(numbers(read(".fa", ">a\nMK\n>b\n>c\nV\n")), (Numbers{0, 1, 2}));
  std::vector<std::pair<std::int64_t, std::string>> rejected;
  ReadOptions how;
  how.reject = [&](std::int64_t line, const std::string& sentence) {
    rejected.emplace_back(line, sentence.substr(sentence.find(": line ")));
  };
  const auto lines = read_as(
      ".jsonl", "{\"text\": \"a\"}\n\nbroken\n{\"text\": 5}\n{\"text\": \"\"}\n{\"x\": 1}\n", how);
  EXPECT_EQ(texts(lines), (Texts{"a", ""}));
  EXPECT_EQ(numbers(lines), (Numbers{0, 3}));
  ASSERT_EQ(rejected.size(), 6u);  // of the plain file and of its twin
  EXPECT_EQ(rejected[0].first, 3);
  EXPECT_TRUE(rejected[0].second.starts_with(": line 3 is not a JSON object"));
  EXPECT_EQ(rejected[1], (std::pair<std::int64_t, std::string>{
                             4, ": line 4: field 'text' is number, not text"}));
  EXPECT_EQ(rejected[2],
            (std::pair<std::int64_t, std::string>{6, ": line 6 has no field 'text'; it has: x"}));
  const auto rows = read_as(".csv", "id,text\n1,a\n2,b,c\n3\n4,d\n", how);
  EXPECT_EQ(texts(rows), (Texts{"a", "d"}));
  EXPECT_EQ(numbers(rows), (Numbers{0, 3}));
  EXPECT_TRUE(rejected[6].second.starts_with(": line 3 has 3 columns, but the header 2 (a "));
  EXPECT_EQ(rejected[7].second, ": line 4 has 1 columns, but 'text' is column 2");
}

// As csv.reader with quoting=csv.QUOTE_NONE reads them.
TEST_F(Documents, TabsHaveNoQuotesUnlessTold) {
  const std::string rows = "text\tlabel\n\"a\t1\nb\t0\nc\" d\t1\n\"e\" \"\t2\n";
  EXPECT_EQ(texts(read(".tsv", rows)), (Texts{"\"a", "b", "c\" d", "\"e\" \""}));
  ReadOptions how;
  how.quotes = "double";
  expect_user_error([&] { read_as(".tsv", rows, how); },
                    {"in.tsv", "line 4", "behind the quote", "opened in line 2", "--quotes none"});
  how.quotes = "none";
  EXPECT_EQ(texts(read_as(".csv", "text,x\n\"a,1\"\n", how)), Texts{"\"a"});
  how.quotes = "single";
  expect_user_error([&] { read_as(".csv", "text\na\n", how); },
                    {"--quotes", "'single'", "none, double"});
}

TEST_F(Documents, CsvThatIsNotRfc4180IsRefused) {
  expect_user_error([&] { read(".csv", "text\nx\n\"a\"b\n"); }, {"in.csv", "line 3", "--quotes"});
  expect_user_error([&] { read(".csv", "text,y\n\"a\nb\" ,1\n"); }, {"in.csv", "line 3"});
  expect_user_error([&] { read(".csv", "text\n\"a\n"); }, {"in.csv", "line 2", "never closed"});
  expect_user_error([&] { read(".csv", "text\na,b\n"); }, {"line 2", "2 columns", "header 1"});
  EXPECT_EQ(texts(read(".csv", "text\nsays \"no\" x\n")), Texts{"says \"no\" x"});
}

TEST_F(Documents, SecondTexts) {
  const auto rows = read(".csv", "text_pair,text\nb,a\n,c\n");
  EXPECT_EQ(rows[0].pair, "b");
  EXPECT_EQ(rows[1].pair, std::nullopt);
  const auto lines = read(".jsonl", "{\"text\": \"a\", \"text_pair\": \"b\"}\n{\"text\": \"c\"}\n");
  EXPECT_EQ(lines[0].pair, "b");
  EXPECT_EQ(lines[1].pair, std::nullopt);
  ReadOptions how;
  how.pair_field = "other";
  EXPECT_EQ(read_as(".tsv", "text\tother\na\tb\n", how)[0].pair, "b");
  expect_user_error([&] { read_as(".csv", "text\na\n", how); }, {"'other'", "--pair-field"});
  expect_user_error([&] { read_as(".jsonl", "{\"text\": \"a\"}", how); }, {"'other'", "line 1"});
  expect_user_error([&] { read_as(".txt", "a\n", how); }, {"'other'", "--pair-field", ".csv"});
}

TEST_F(Documents, JsonFilesHoldObjectsOrListsOfThem) {
  const auto one = read(".json", "\n{\"text\": \"a\",\n \"id\": 3}\n");
  EXPECT_EQ(texts(one), Texts{"a"});
  EXPECT_EQ(one[0].line, 2);
  const auto list = read(".JSON", "[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n{\"text\": \"c\"}");
  EXPECT_EQ(texts(list), (Texts{"a", "b", "c"}));
  EXPECT_EQ(list[1].line, 2);
  EXPECT_EQ(list[2].number, 2);
  EXPECT_TRUE(read(".json", "[]").empty());
  expect_user_error([&] { read(".json", "[\n1]"); }, {"in.json", "line 2", "no object"});
  expect_user_error([&] { read(".json", "{\"text\":\n"); }, {"in.json", "not valid JSON"});
}

TEST_F(Documents, ConversationsAreRefusedWithTheWayOut) {
  const std::string line = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n";
  for (const char* field : {"", "messages"})
    expect_user_error([&] { read(".jsonl", line, field); },
                      {"in.jsonl", "line 1", "conversation", "chat template"});
}

TEST_F(Documents, TheFormatMayBeNamed) {
  const fs::path file = folder_.mine() / "table.dat";
  put(file, "text,x\na,1\n");
  expect_user_error([&] { read_documents(file); }, {"table.dat", "--format"});
  EXPECT_EQ(texts(read_documents(file, {.format = "csv"})), Texts{"a"});
  expect_user_error([&] { read_documents(file, {.format = "xml"}); },
                    {"--format", "'xml'", "txt, jsonl, json, csv, tsv, fasta, smi"});
  EXPECT_EQ(texts(read(".TXT", "a\n")), Texts{"a"});
  EXPECT_TRUE(is_stream("/dev/stdin"));
  EXPECT_FALSE(is_stream(file));
}

// Whatever the bytes: documents are UTF-8, broken characters as bytes.decode(errors="replace").
TEST_F(Documents, EverythingIsMadeUtf8) {
  const std::string bytes = "a\xE9z \xF0\x9F", shown = "a\uFFFDz \uFFFD";
  EXPECT_EQ(read(".txt", bytes + "\n")[0].text, shown);
  EXPECT_EQ(read(".csv", "id,text\n" + bytes + "," + bytes + "\n")[0].id, shown);
  EXPECT_EQ(read(".tsv", "text\n" + bytes + "\n")[0].text, shown);
  EXPECT_EQ(read(".fasta", ">q\xE9 x\nMK\n")[0].id, "q\uFFFD");
  EXPECT_EQ(read(".smi", "CC q\xE9\n")[0].id, "q\uFFFD");
}

TEST_F(Documents, NothingGrowsWithoutBound) {
  ReadOptions how;
  how.max_bytes = 1000;
  const std::string a(600, 'a');
  EXPECT_EQ(read_as(".txt", a + "\n" + a, how).size(), 2u);
  for (const auto& [ending, content] : std::initializer_list<std::pair<const char*, std::string>>{
           {".txt", a + a},
           {".txt", "x\n" + a + a + "\n"},
           {".jsonl", "{\"text\": \"" + a + a + "\"}"},
           {".csv", "text\n\"" + a + "\n" + a + "\"\n"},
           {".fa", ">x\n" + a + "\n" + a + "\n"}})
    expect_user_error([&] { read_as(ending, content, how); },
                      {std::string("in") + ending, "longer than 1000 bytes"});
  how.unit = TextUnit::file;
  expect_user_error([&] { read_as(".txt", a + "\n" + a, how); }, {"line 1", "1000"});
  how.unit = TextUnit::paragraph;
  expect_user_error([&] { read_as(".txt", "\n" + a + "\n" + a, how); }, {"line 2", "1000"});
}

}  // namespace
}  // namespace weft
