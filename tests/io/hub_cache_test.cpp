// The local cache of Hugging Face's tools, laid out as huggingface_hub does.
#include "io/hub_cache.h"

#include <cstdlib>

#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

// The variables as they were, whatever a test made of them.
class Environment {
 public:
  Environment() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      if (value) before_[name] = value;
      ::unsetenv(name);
    }
  }
  ~Environment() {
    for (const char* name : kNames) {
      ::unsetenv(name);
      if (before_.contains(name)) ::setenv(name, before_[name].c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static constexpr const char* kNames[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                           "XDG_CACHE_HOME", "HOME"};
  std::map<std::string, std::string> before_;
};

TEST(HubCache, WhereItIs) {
  const Environment environment;
  ::setenv("HOME", "/of/a", 1);
  EXPECT_EQ(hub_cache(), "/of/a/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(hub_cache(), "/x/huggingface/hub");
  ::setenv("HF_HOME", "~/hf", 1);
  EXPECT_EQ(hub_cache(), "/of/a/hf/hub");
  ::setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(hub_cache(), "/old");
  ::setenv("HF_HUB_CACHE", "/hub", 1);
  EXPECT_EQ(hub_cache(), "/hub");
}

TEST(HubCache, NamesBecomeSnapshots) {
  const Environment environment;
  const SharedFolder folder;
  const fs::path hub = folder.mine() / "hub";
  ::setenv("HF_HUB_CACHE", hub.c_str(), 1);
  fs::create_directories(hub / "models--org--small-1.5" / "snapshots" / "abc123");
  fs::create_directories(hub / "models--org--small-1.5" / "refs");
  put(hub / "models--org--small-1.5" / "refs" / "main", "abc123");
  fs::create_directories(hub / "models--gpt9" / "snapshots" / "only");
  EXPECT_EQ(find_model("org/small-1.5", "--model"),
            (hub / "models--org--small-1.5/snapshots/abc123").string());
  EXPECT_EQ(find_model("gpt9", "--model"), (hub / "models--gpt9/snapshots/only").string());
  expect_user_error(
      [] { find_model("org/none", "--model"); },
      {"--model org/none", "no such file or folder", hub.string(), "models--org--none"});
  put(hub / "models--org--small-1.5" / "refs" / "main", "gone\n");
  expect_user_error([] { find_model("org/small-1.5", "--model"); }, {"refs/main"});
  fs::create_directories(hub / "models--gpt9" / "snapshots" / "second");
  expect_user_error([] { find_model("gpt9", "--model"); }, {"2 snapshots"});
}

TEST(HubCache, PathsStayPaths) {
  const Environment environment;
  for (const char* path : {"", "/none", "./org/name", "../up/x", "a/b/c", "dir/", "~/x", "a--b/c"})
    EXPECT_EQ(find_model(path, "--model"), path);
  const SharedFolder folder;
  EXPECT_EQ(find_model(folder.path().string(), "--model"), folder.path().string());
}

}  // namespace
}  // namespace weft::test
