// The rules of the house that a reader of the sources can check: includes point down only, no back
// end's header in a public header, no file too long to read.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "tests/core/sources.h"

namespace {

namespace fs = std::filesystem;
using weft::test::in_house;
using weft::test::Source;
using weft::test::sources;

// A room and the rooms within it: from low to high, those of one number beside each other.
const std::map<std::string, int> kLayers = {
    {"core", 0},    {"comm", 1},    {"kernels", 2}, {"io", 2},   {"model", 3}, {"machine", 3},
    {"text", 3},    {"formats", 4}, {"data", 4},    {"plan", 5}, {"train", 5}, {"infer", 5},
    {"inspect", 5}, {"report", 5},  {"serve", 6},   {"cli", 7}};
const std::map<std::string, int> kLayersWithin = {{"core", 0},
                                                  {"core/system", 1},
                                                  {"comm", 0},
                                                  {"comm/nccl/library", 0},
                                                  {"comm/nccl", 1},
                                                  {"io/hdf5", 0},
                                                  {"io", 1},
                                                  {"io/weights", 2},
                                                  {"io/ledger", 2},
                                                  {"text/characters", 0},
                                                  {"text", 1},
                                                  {"text/jinja", 1},
                                                  {"text/files", 2},
                                                  {"text/learn", 3},
                                                  {"model", 0},
                                                  {"model/inference", 1},
                                                  {"formats/families", 0},
                                                  {"formats/gguf", 1},
                                                  {"formats", 2},
                                                  {"infer/choice", 0},
                                                  {"infer/search", 0},
                                                  {"infer", 1},
                                                  {"cli", 0},
                                                  {"cli/texts", 1},
                                                  {"cli/generation", 2},
                                                  {"cli/jobs", 1},
                                                  {"cli/inspect", 1}};

// The named file of an #include line, or nothing.
std::string included(const std::string& line) {
  static const std::regex pattern(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"].*)");
  std::smatch match;
  return std::regex_match(line, match, pattern) ? match[1].str() : "";
}

// Empty where a file of the folder `from` may include `file`, else why not.
std::string objection(const std::string& from, const std::string& file) {
  const std::string room = from.substr(0, from.find('/')), to = file.substr(0, file.find('/'));
  if (room == "cli" && to == "benchmarks") return "";  // `weft bench` calls them
  if (file.find('/') == std::string::npos || !kLayers.contains(to))
    return to == "tests" || to == "benchmarks" ? "is no part of the program" : "";
  int mine = kLayers.at(room), its = kLayers.at(to);
  if (to == room) {
    const std::string folder = file.substr(0, file.rfind('/'));
    if (folder == from || !kLayersWithin.contains(from)) return "";
    mine = kLayersWithin.at(from), its = kLayersWithin.at(folder);
  }
  if (its < mine) return "";
  return its == mine ? "points sideways" : "points up";
}

TEST(Includes, TheRuleItself) {
  EXPECT_EQ(objection("train", "model/config.h"), "");
  EXPECT_EQ(objection("train", "train/data.h"), "");
  EXPECT_EQ(objection("core", "vector"), "");
  EXPECT_EQ(objection("io", "sys/mman.h"), "");
  EXPECT_EQ(objection("io", "comm/communicator.h"), "");
  EXPECT_EQ(objection("io/weights", "io/json.h"), "");
  EXPECT_EQ(objection("io", "io/weights/gguf.h"), "points up");
  EXPECT_EQ(objection("io", "io/hdf5/hdf5.h"), "");
  EXPECT_EQ(objection("io/hdf5", "io/files.h"), "points up");
  EXPECT_EQ(objection("text/files", "text/learn/trainer.h"), "points up");
  EXPECT_EQ(objection("text/jinja", "text/tokenizer.h"), "points sideways");
  EXPECT_EQ(objection("text/characters", "text/tokenizer.h"), "points up");
  EXPECT_EQ(objection("infer", "text/files/companions.h"), "");
  EXPECT_EQ(objection("kernels", "io/json.h"), "points sideways");
  EXPECT_EQ(objection("train", "infer/engine.h"), "points sideways");
  EXPECT_EQ(objection("core", "io/json.h"), "points up");
  EXPECT_EQ(objection("model", "cli/session.h"), "points up");
  EXPECT_EQ(objection("cli", "benchmarks/bench.h"), "");
  EXPECT_EQ(objection("train", "benchmarks/bench.h"), "is no part of the program");
  EXPECT_EQ(included("#include \"core/check.h\""), "core/check.h");
  EXPECT_EQ(included("  # include <mpi.h>  // why"), "mpi.h");
  EXPECT_EQ(included("// #include <mpi.h>"), "");
}

TEST(Includes, PointDownOnly) {
  std::set<std::string> rooms;
  for (const Source& source : sources()) {
    if (!in_house(source)) continue;
    ASSERT_TRUE(kLayers.contains(source.room))
        << source.path << ": room " << source.room << " has no layer in architecture.md";
    EXPECT_TRUE(source.room == "kernels" || source.folder == source.room ||
                kLayersWithin.contains(source.folder))
        << source.path << ": " << source.folder << " has no layer within its room";
    rooms.insert(source.room);
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
      const std::string file = included(source.lines[i]);
      if (file.empty()) continue;
      EXPECT_EQ(objection(source.folder, file), "")
          << source.path << ":" << i + 1 << " includes " << file;
      EXPECT_FALSE(file.starts_with("src/") || file.starts_with(".."))
          << source.path << ":" << i + 1 << ": " << file << " should be named from its room";
    }
  }
  EXPECT_GE(rooms.size(), 9u) << "the sources were not found";
}

TEST(Includes, NoBackEndInAPublicHeader) {
  static const std::regex back_end(
      R"((mpi|hdf5|H5\w*|nccl\w*|cuda\w*|cublas\w*|oneapi/.*|dnnl\w*|omp)\.(h|hpp))");
  constexpr const char* kMpi = "comm/mpi_communicator.h";  // for sources, never for a header
  int shown = 0;
  for (const Source& source : sources()) {
    if (!in_house(source) || !source.is_header() ||
        source.path.filename().string().ends_with("-inl.h"))
      continue;
    const bool shows_mpi = source.path == fs::path("src") / kMpi;
    shown += shows_mpi;
    EXPECT_TRUE(std::find(source.lines.begin(), source.lines.end(), "#pragma once") !=
                source.lines.end())
        << source.path << " lacks #pragma once";
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
      const std::string file = included(source.lines[i]);
      EXPECT_FALSE(file == kMpi || (std::regex_match(file, back_end) && !shows_mpi))
          << source.path << ":" << i + 1 << " includes " << file
          << "; a back end's header belongs in a .cpp";
    }
  }
  EXPECT_EQ(shown, 1);
}

// What opens, renames or removes a file, or makes a folder: by POSIX, C, iostreams or <filesystem>.
bool touches_files(const std::string& line) {
  static const std::regex call(
      R"(((^|[^\w:.>])::(open|creat|rename\w*|unlink\w*|link|mkdir|rmdir|truncate)\s*\()"
      R"(|\bf(re)?open\s*\(|\b[io]?fstream\b)"
      R"(|\b(fs|filesystem)::(rename|remove|remove_all|copy|copy_file|resize_file)\s*\()"
      R"(|\b(fs|filesystem)::create_\w+\s*\())");
  const std::string code = line.substr(0, line.find("//"));
  const auto has = [&](const char* word) { return code.find(word) != std::string::npos; };
  if (!has("::") && !has("open") && !has("stream")) return false;  // expressions are slow
  return std::regex_search(code, call);
}

TEST(Sources, FilesAreOpenedInIoAlone) {
  for (const char* line :
       {"const int fd = ::open(out.c_str(), O_WRONLY);", "  ::unlink(beside.c_str());",
        "std::ifstream in(file);", "#include <fstream>", "std::fopen(\"x\", \"r\")",
        "if (!fs::remove(all[i], error))", "std::filesystem::create_directories(dir);",
        "if (::rename(a, b) != 0)"})
    EXPECT_TRUE(touches_files(line)) << line;
  for (const char* line : {"Hdf5File::open(file)", "folder_.open(recipe);", "impl->open(x)",
                           "// as std::ifstream does", "remove_file(file);", "list.remove(1);",
                           "std::remove_if(a, b, c)"})
    EXPECT_FALSE(touches_files(line)) << line;
  // Below io/, and what they read is the kernel's word on this process (/proc, cgroups).
  const std::set<fs::path> allowed = {"src/core/system/hardware.cpp", "src/core/system/memory.cpp",
                                      "src/core/system/process.cpp"};
  int in_io = 0;
  for (const Source& source : sources()) {
    if (!in_house(source) || allowed.contains(source.path)) continue;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
      if (!touches_files(source.lines[i])) continue;
      EXPECT_EQ(source.room, "io") << source.path << ":" << i + 1 << ": " << source.lines[i]
                                   << "; io/files.h has a function for it";
      in_io += source.room == "io";
    }
  }
  EXPECT_GT(in_io, 10) << "the sources were not found";
}

// An exception that leaves an OpenMP region ends the program on the spot: outside the kernels,
// whose bodies do not throw, core/parallel.h alone opens one.
TEST(Sources, OpenMpRegionsAreParallelFors) {
  int found = 0;
  for (const Source& source : sources()) {
    const std::string room = source.path.begin()->string();
    if (room != "src" && room != "benchmarks") continue;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
      static const std::regex region(R"(^\s*#\s*pragma\s+omp\b.*|.*\b_Pragma\s*\(.*)");
      if (!std::regex_match(source.lines[i], region)) continue;
      EXPECT_EQ(source.path, "src/core/parallel.h") << source.path << ":" << i + 1;
      ++found;
    }
  }
  EXPECT_EQ(found, 1);
}

// What a family does differently stands in its row (formats/families*.cpp), not in an `if`
// elsewhere.
TEST(Sources, NoFamilyIsAskedForByName) {
  static const std::regex by_name(R"(.*family\s*(==|!=).*|.*(==|!=)\s*(\w+\.|\w+->)*family\b.*)");
  EXPECT_TRUE(std::regex_match("  if (c.family == \"phi3\") return;", by_name));
  EXPECT_TRUE(std::regex_match("  return \"phi3\" != o.family;", by_name));
  EXPECT_FALSE(std::regex_match("  const Family& row = family(c.family);", by_name));
  for (const Source& source : sources()) {
    if (*source.path.begin() != "src") continue;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
      EXPECT_FALSE(std::regex_match(source.lines[i], by_name)) << source.path << ":" << i + 1;
  }
}

// Reading what is behind a model's path is for formats/ alone.
bool asks_what_a_path_holds(const std::string& line) {
  static const std::regex question(
      R"(.*\b(is_\w*(checkpoint|gguf|torch)\w*|(Gguf|Safetensors|Torch)Reader|GgufModel|)"
      R"(open_(tensors|hf_weights)|checkpoint_weights|read_hf_config|load_hf_weights))"
      R"(\s*[({\]:<].*)");
  return std::regex_match(line, question);
}

TEST(Sources, WhatAModelsPathHoldsIsAskedInFormatsAlone) {
  for (const char* line : {"  if (is_checkpoint(path))", "GgufReader::is_gguf(o.model)",
                           "read_hf_config(dir);", "auto t = open_tensors(path);"})
    EXPECT_TRUE(asks_what_a_path_holds(line)) << line;
  EXPECT_FALSE(asks_what_a_path_holds("  const StoredModel model = open_model(path, \"SRC\");"));
  static const std::set<std::string> kAbove = {"data",    "plan",   "train", "infer",
                                               "inspect", "report", "serve", "cli"};
  int n_rooms = 0, n_outputs = 0;
  for (const Source& source : sources()) {
    const bool above = *source.path.begin() == "src" && kAbove.contains(source.room);
    if (!above && source.room != "benchmarks") continue;
    ++n_rooms;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
      EXPECT_FALSE(asks_what_a_path_holds(source.lines[i]))
          << source.path << ":" << i + 1 << ": ask open_model (formats/open_model.h)";
      // Of a path that is to be written: what to make there.
      n_outputs += source.lines[i].find("asks_for_checkpoint(") != std::string::npos;
    }
  }
  EXPECT_GT(n_rooms, 50);
  EXPECT_EQ(n_outputs, 1) << "convert's DST";
}

// nlohmann's parser and printer are most of what a source that calls them takes to compile.
TEST(Sources, JsonIsReadAndPrintedInOnePlace) {
  static const std::regex call(R"(.*(\.dump\(|[jJ]son::parse\().*)");
  for (const Source& source : sources()) {
    if (source.path.stem() == "json" || source.room == "tests") continue;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
      EXPECT_FALSE(std::regex_match(source.lines[i], call))
          << source.path << ":" << i + 1 << ": call parse_json or json_text (core/json.h)";
  }
}

TEST(Sources, NoRoomIsAWarehouse) {
  std::map<fs::path, int> files;
  for (const Source& source : sources())
    if (in_house(source)) ++files[source.path.parent_path()];
  for (const auto& [folder, n] : files) EXPECT_LE(n, 42) << folder << ": give it a second room";
}

TEST(Sources, NoFileIsLongerThan500Lines) {
  for (const Source& source : sources())
    EXPECT_LE(source.lines.size(), 500u) << source.path << ": split it by idea";
}

}  // namespace
