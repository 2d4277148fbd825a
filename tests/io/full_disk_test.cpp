// Writes that fail halfway: an error at close() on each rank whose write failed, and a program that
// still ends in order (this test program's own exit shows it).
#include <sys/resource.h>
#include <csignal>

#include "io/hdf5/hdf5.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

TEST(FullDisk, AFailedWriteIsAnErrorAtCloseAndNoCrashLater) {
  const SharedFolder folder;
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const std::int64_t each = 1 << 19;
  const std::vector<float> data(static_cast<std::size_t>(each), 1.0f);
  const auto write = [&](const std::filesystem::path& file) {
    folder.throw_together(failure_of([&] {
      if (folder.rank() != 0) return;
      Hdf5File out = Hdf5File::create(file);
      out.create_dataset("/a", DType::f32, {each * folder.size()});
      out.close();
    }));
    Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
      const FileRun run = {each * folder.rank(), 0, each};
      out.write("/a", ConstView(data.data(), Dims{each}), {&run, 1});
    });
  };
  rlimit limit = old_limit;
  limit.rlim_cur = 1 << 20;  // half of the first rank's part
  setrlimit(RLIMIT_FSIZE, &limit);
  EXPECT_THROW(write(folder / "small.h5"), Error);
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_action);
  write(folder / "whole.h5");
  folder.barrier();
  EXPECT_EQ(Hdf5File::open(folder / "whole.h5").shape("/a").elems(), each * folder.size());
}

}  // namespace
}  // namespace weft::test
