// JSON files, typed reading, files that appear whole or not at all, and the run log.
#include "io/json.h"
#include "src/io/files.h"

#include <sys/resource.h>

#include <csignal>

#include "io/run_log.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

TEST(Json, ReadsAnObject) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "config.json";
  put(file, R"({"n_layer": 12, "name": "gpt2", "eps": 1e-5})");
  const Json json = read_json_object(file);
  EXPECT_EQ(json["n_layer"], 12);
  EXPECT_EQ(json["name"], "gpt2");
  const std::string large(3'000'001, 'x');  // more than a block
  put(file, large);
  EXPECT_EQ(read_text_file(file), large);
  put(file, "");
  EXPECT_EQ(read_text_file(file), "");
}

TEST(Json, ErrorsNameTheFileAndTheLine) {
  const SharedFolder folder;
  const fs::path dir = folder.mine(), file = dir / "config.json";
  expect_user_error([&] { read_json_object(dir / "absent.json"); },
                    {"absent.json", "no such file"});
  expect_user_error([&] { read_json_object(dir); }, {dir.string(), "folder"});
  const std::pair<const char*, const char*> broken[] = {
      {"", "line 1"},
      {"{", "line 1"},
      {"{\"a\": 1,\n\n \"b\": }\n", "line 3"},
      {"[1, 2]", "array"},
      {"null", "null"},
      {"{\"a\": 1e999}", "config.json"},
      {"{\"a\": \"\xff\xfe\"}", "line 1"},
      {"{\"a\": 1} x", "line 1"},
  };
  for (const auto& [text, word] : broken) {
    put(file, text);
    expect_user_error([&] { read_json_object(file); }, {"config.json", word});
  }
  put(file, std::string(200'000, '['));  // depth must not become recursion
  expect_user_error([&] { read_json_object(file); }, {"config.json"});
  std::string deep = "{\"a\":";
  deep += std::string(200'000, '[') + std::string(200'000, ']') + "}";
  put(file, deep);
  expect_user_error([&] { read_json_object(file); }, {"config.json", "line 1"});
  put(file, R"({"a": ")" + std::string(200'000, '[') +
                R"(", "b": [[[["\\"]]]]})");  // brackets in a string are text
  EXPECT_EQ(read_json_object(file)["a"].get<std::string>().size(), 200'000u);
}

TEST(Json, AnUnreadableFileIsAnError) {
  if (!fs::exists("/proc/self/mem")) GTEST_SKIP() << "no /proc";
  EXPECT_THROW(read_text_file("/proc/self/mem"), Error);  // opens, but address 0 cannot be read
}

TEST(Json, ReaderChecksTypeAndRange) {
  const Json json =
      parse_json(R"({"n": -3, "x": 0.5, "whole": 2e3, "flag": true, "s": "gelu", "none": null, )"
                 R"("big": 18446744073709551615, "f": 1.5, "wide": 1e300})");
  const JsonReader reader(json, "config.json");
  EXPECT_EQ(reader.integer("whole", 1, 5000), 2000);
  EXPECT_EQ(reader.integer("absent", 1, 5, 4), 4);
  EXPECT_EQ(reader.integer("none", 1, 5, 4), 4);
  EXPECT_EQ(reader.number("x", 0, 1, 9), 0.5);
  EXPECT_EQ(reader.number("absent", 0, 1, 9), 9);
  EXPECT_TRUE(reader.boolean("flag", false));
  EXPECT_EQ(reader.string("s", "relu"), "gelu");
  EXPECT_EQ(reader.string("none", "relu"), "relu");
  EXPECT_FALSE(reader.has("none"));
  expect_user_error([&] { reader.integer("n", 1, 65536); }, {"config.json: n is -3", "1 to 65536"});
  expect_user_error([&] { reader.integer("absent", 1, 65536); },
                    {"config.json: absent", "missing"});
  expect_user_error([&] { reader.integer("f", 1, 65536); }, {"f is 1.5"});
  expect_user_error([&] { reader.integer("wide", 1, INT64_MAX); }, {"wide"});
  expect_user_error([&] { reader.integer("big", 0, INT64_MAX); }, {"big is 18446744073709551615"});
  expect_user_error([&] { reader.integer("s", 1, 2); }, {"s is \"gelu\""});
  expect_user_error([&] { reader.number("x", 1, 2, 1); }, {"x is 0.5", "1 to 2"});
  expect_user_error([&] { reader.number("flag", 1, 2, 1); }, {"flag is true"});
  expect_user_error([&] { reader.boolean("n", true); }, {"n is -3", "true, false"});
  expect_user_error([&] { reader.string("n", ""); }, {"n is -3", "string"});
}

TEST(Json, DamagedFilesNeverCrash) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "config.json";
  const std::string whole =
      R"({"architectures": ["GPT2LMHeadModel"], "n_embd": 64, "layer_norm_epsilon": 1e-05, )"
      R"("rope": {"type": "yarn", "factor": 4.0},
                                "name": "\u00e9\ud83d\ude00", "tie": true, "none": null, )"
      R"("eos": [1, -2, 3.5e10]})";
  const int refused =
      open_damaged(file, whole, 600, static_cast<std::uint64_t>(folder.rank()) + 1, [&] {
        const Json json = read_json_object(file);
        const JsonReader reader(json, file.string());
        reader.integer("n_embd", 1, 1 << 20, 1);
        reader.number("layer_norm_epsilon", 0, 1, 1e-5);
        reader.boolean("tie", false);
        reader.string("name", "");
      });
  EXPECT_GT(refused, 100);
  EXPECT_LT(refused, 600);
}

TEST(RunLog, AppendsLinesAndCutsAnUnfinishedOne) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "run.jsonl";
  {
    RunLog log(file);
    log.write({{"step", 1}, {"loss", 2.5}});
    EXPECT_EQ(get(file), "{\"step\":1,\"loss\":2.5}\n");  // there before the log is closed
    log.write({{"step", 2}});
  }
  const std::string whole = get(file);
  for (const std::size_t extra : {std::size_t{1}, std::size_t{4095}, std::size_t{4096},
                                  std::size_t{4097}, std::size_t{10'000}}) {
    put(file, whole + std::string(extra, 'x'));
    RunLog log(file);
    EXPECT_EQ(get(file), whole) << extra;
  }
  {
    RunLog log(file);
    log.write({{"step", 3}});
  }
  EXPECT_EQ(get(file), whole + "{\"step\":3}\n");
  put(file, "{\"step\":");
  RunLog again(file);
  EXPECT_EQ(get(file), "");
}

// What the library throws while values are taken is the file's damage, in our words.
TEST(Json, DamageNamesTheFileAndNoLibrary) {
  const auto said = [](const std::function<void()>& body) {
    const std::optional<Failure> failure = failure_of([&] { reading_json("config.json", body); });
    EXPECT_TRUE(failure && failure->kind == FailureKind::user);
    return failure.value_or(Failure{}).text;
  };
  const Json json = parse_json(R"({"a": "text", "b": [1]})");
  for (const std::string& text :
       {said([&] { json.at("a").get<int>(); }), said([&] { json.at("absent"); }),
        said([&] { json.value("a", 3); }), said([&] { json.at("b").at(7); }),
        said([] { [[maybe_unused]] const Json huge = parse_json("{\"a\": 1e999}"); })}) {
    EXPECT_TRUE(text.starts_with("config.json: is damaged")) << text;
    EXPECT_EQ(text.find("json.exception"), std::string::npos) << text;
  }
  EXPECT_EQ(reading_json("x", [] { return 7; }), 7);
  EXPECT_EQ(failure_of([] { reading_json("x", [] { user_error("ours"); }); }).value().text, "ours");
}

TEST(Json, BriefCutsAtCharacters) {
  EXPECT_EQ(brief(Json({1, "a"})), "[1,\"a\"]");
  EXPECT_EQ(brief(Json("ééé"), 4), "\"é");
  EXPECT_EQ(brief(Json("\xFF")), "\"\xEF\xBF\xBD\"");
}

TEST(RunLog, WritesNothingWithoutAPathAndNamesOneThatCannotBe) {
  const SharedFolder folder;
  RunLog none, empty{fs::path()};
  none.write({{"step", 1}});
  empty.write({{"step", 1}});
  expect_user_error([&] { RunLog log(folder.mine() / "absent" / "run.jsonl"); }, {"run.jsonl"});
  expect_user_error([&] { RunLog log(folder.mine()); }, {folder.mine().string()});
}

// A limit on file sizes is a full disk: lines wait, whole, and are there when it is gone.
TEST(RunLog, LinesWaitForRoom) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "run.jsonl";
  RunLog log(file);
  log.write({{"step", 1}});
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 15;  // in the middle of the second line
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  log.write({{"step", 2}});
  log.write({{"step", 3}});
  const std::string full = get(file);
  const auto unfinished = failure_of([&] { log.finish(); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(full, "{\"step\":1}\n");
  ASSERT_TRUE(unfinished);
  EXPECT_EQ(unfinished->kind, FailureKind::program);
  log.write({{"step", 4}});
  EXPECT_EQ(get(file), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n");
  log.finish();
}

TEST(RunLog, TextThatIsNotUtf8IsStillALine) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "run.jsonl";
  RunLog log(file);
  log.write({{"text", "a\xff\nb"}});
  const Json line = parse_json(get(file));
  EXPECT_EQ(line["text"], "a\xEF\xBF\xBD\nb");
}

}  // namespace
}  // namespace weft
