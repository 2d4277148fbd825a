#include "core/library.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

TEST(Library, GivesTheFunctionsOfOneThatIsThere) {
  const Library c("libc.so.6");
  EXPECT_EQ(c.absence(), "");
  const auto length = reinterpret_cast<std::size_t (*)(const char*)>(c.find("strlen"));
  EXPECT_EQ(length("weft"), 4u);
}

TEST(Library, SaysWhichIsMissingAndWhy) {
  const Library none("libnone.so.7", {"", "/nowhere"});
  EXPECT_NE(none.absence().find("libnone.so.7 cannot be loaded (libnone.so.7: cannot open"),
            std::string::npos)
      << none.absence();
  EXPECT_THROW(none.find("strlen"), UserError);
  EXPECT_THROW(Library("libc.so.6").find("no_such_function"), UserError);
}

}  // namespace
}  // namespace weft
