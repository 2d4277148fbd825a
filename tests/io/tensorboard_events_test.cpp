// Event files: the bytes that TensorBoard's own writers make (tests/data/make_tensorboard.py), and
// their order. That TensorBoard reads whole runs is checked by tests/launch/check_tensorboard.py.
#include "io/tensorboard_events.h"

#include <algorithm>
#include <limits>

#include "io/json.h"
#include "src/io/files.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
  return text;
}

TEST(TensorboardEvents, AreTheBytesOfItsOwnWriters) {
  const Json golden = read_json_object(WEFT_TEST_DATA "/tensorboard.json");
  const auto check = [&](const char* name, const std::string& event) {
    EXPECT_EQ(hex(tensorboard_record(event)), golden.at(name).get<std::string>()) << name;
  };
  check("version", version_event(1764444600.25));
  check("start_1", session_start_event(1764444600.5, 1));
  check("start_300", session_start_event(1764444600.5, 300));
  check("scalars",
        scalars_event(1764444601.125, 70000, {{"loss", 2.3}, {"lr", 0}, {"shares/comm", 0.125}}));
  check("extremes", scalars_event(0.5, std::int64_t{1} << 40,
                                  {{std::string(200, 'x'), -1e300},
                                   {"nan", std::numeric_limits<double>::quiet_NaN()},
                                   {"inf", 1e300}}));
  check("none", scalars_event(1.0, 1, {}));
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files(fs::directory_iterator(folder), fs::directory_iterator{});
  std::sort(files.begin(), files.end());
  return files;
}

// Two starts within a second, and one behind a file of the future, come in the order of starting.
TEST(TensorboardEvents, LaterStartsAreLaterFiles) {
  const SharedFolder shared;
  const fs::path folder = shared.mine() / "tensorboard";
  const fs::path first = TensorboardEvents(folder, 1).path();
  const fs::path second = TensorboardEvents(folder, 5).path();
  put(folder / "events.out.tfevents.9000000000.host.1", "");
  put(folder / "notes.txt", "");
  const fs::path third = TensorboardEvents(folder, 9).path();
  const std::vector<fs::path> files = files_of(folder);
  ASSERT_EQ(files.size(), 5);
  EXPECT_EQ(files[0], first);
  EXPECT_EQ(files[1], second);
  EXPECT_EQ(files[3], third);
  EXPECT_NE(read_text_file(second).find("brain.Event:2"), std::string::npos);
}

TEST(TensorboardEvents, RecordsStandOneBehindAnother) {
  const SharedFolder shared;
  fs::path file;
  std::size_t begin = 0;
  {
    TensorboardEvents events(shared.mine(), 1);
    file = events.path();
    begin = fs::file_size(file);
    events.write(1, {{"loss", 2.5}});
    events.write(2, {{"loss", 2.0}, {"lr", 1e-3}});
  }
  const std::string all = read_text_file(file);
  const auto size_of = [](const Scalars& scalars) {
    return tensorboard_record(scalars_event(1e9, 1, scalars)).size();
  };
  EXPECT_EQ(all.size(), begin + size_of({{"loss", 2.5}}) + size_of({{"loss", 2}, {"lr", 1}}));
}

}  // namespace
}  // namespace weft
