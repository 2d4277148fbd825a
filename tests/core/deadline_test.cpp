// Walltimes as people and queues write them, and ends of time.
#include "core/system/deadline.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/system/process.h"

namespace weft {
namespace {

TEST(Walltime, SecondsMinutesAndHours) {
  EXPECT_EQ(parse_walltime("0"), 0);
  EXPECT_EQ(parse_walltime("59"), 59);
  EXPECT_EQ(parse_walltime("3600"), 3600);
  EXPECT_EQ(parse_walltime("90:00"), 5400);
  EXPECT_EQ(parse_walltime("1:5"), 65);
  EXPECT_EQ(parse_walltime("00:30:00"), 1800);
  EXPECT_EQ(parse_walltime("168:00:01"), 604801);
  for (const char* bad : {"",
                          " ",
                          "x",
                          "1h",
                          "-5",
                          "+5",
                          "1.5",
                          ":",
                          "1:",
                          ":30",
                          "1:60",
                          "1:00:60",
                          "1:60:00",
                          "1:2:3:4",
                          "1:005",
                          "1 : 2",
                          "12:-1",
                          "99999999999",
                          "1000000000:00:00",
                          "9223372036854775807",
                          "9223372036854775808",
                          "1e3",
                          "0x10"})
    EXPECT_FALSE(parse_walltime(bad)) << bad;
}

TEST(Walltime, AUsersMistakeNamesItAndWhatIsAllowed) {
  EXPECT_EQ(checked_walltime("0:30:00"), 1800);
  for (const char* bad : {"0", "00:00:00", "tomorrow", "1:75"}) {
    try {
      checked_walltime(bad);
      ADD_FAILURE() << bad;
    } catch (const UserError& error) {
      EXPECT_EQ(error.what(), std::string("--walltime is '") + bad +
                                  "'; allowed: more than 0, as seconds, MM:SS or HH:MM:SS");
    }
  }
}

TEST(Deadline, CountsDown) {
  EXPECT_FALSE(Deadline().is_known());
  EXPECT_GT(Deadline().left_s(), 1e300);
  EXPECT_EQ(Deadline().text(), "never");
  const Deadline soon(60, "--walltime 60");
  EXPECT_TRUE(soon.is_known());
  EXPECT_LE(soon.left_s(), 60);
  EXPECT_GT(soon.left_s(), 50);
  EXPECT_NEAR(soon.total_s(), process_elapsed_s() + 60, 5);
  EXPECT_NE(soon.text().find(" by --walltime 60, in "), std::string::npos) << soon.text();
  EXPECT_LT(Deadline(-5, "").left_s(), -4.9);
  EXPECT_NE(Deadline(-5, "PBS").text().find(" by PBS, which is over"), std::string::npos);
}

TEST(Deadline, Durations) {
  EXPECT_EQ(duration_text(0.04), "0.0 s");
  EXPECT_EQ(duration_text(3.21), "3.2 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 0 s");
  EXPECT_EQ(duration_text(3905), "1 h 5 min");
}

}  // namespace
}  // namespace weft
