// Staging and host copies on a GPU, and that the emulation catches who refills too early or reads
// what is not the host's.
#include "core/staging.h"

#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/check.h"
#include "core/host_copy.h"
#include "faults.h"

namespace weft::test {
namespace {

constexpr Device kGpu = {DeviceType::cuda, 0};

struct Uploads {
  Arena arena{"staged", 4096, kGpu};
  Staging staging;
  Staged ids = staging.alloc(arena, DType::i32, {5}), more = staging.alloc(arena, DType::f32, {20});
  Stream stream{kGpu};

  void put(std::int32_t value) { ids.host.as<std::int32_t>()[4] = value; }
  std::int32_t there() {
    HostCopy copy;
    return copy.of(ids.device, stream).as<std::int32_t>()[4];
  }
};

TEST(StagingOnAGpu, ArrivesWholeAndMayBeRefilledAfterWaiting) {
  Uploads u;
  EXPECT_NE(u.ids.host.data(), u.ids.device.data());
  u.put(7);
  u.more.host.as<float>()[19] = 1.5f;
  u.staging.upload(u.stream);
  u.staging.wait();
  u.put(8);  // the first is on its way
  EXPECT_EQ(u.there(), 7);
  HostCopy copy;
  EXPECT_EQ(copy.of(u.more.device, u.stream).as<float>()[19], 1.5f);
  u.staging.upload(u.stream);
  EXPECT_EQ(u.there(), 8);
}

TEST(StagingOnAGpu, RefilledTooEarlyIsCaught) {
  for (const auto schedule : {emulation::Schedule::late, emulation::Schedule::eager})
    EXPECT_EQ(emulation::fault_of(schedule,
                                  [] {
                                    Uploads u;
                                    u.put(7);
                                    u.staging.upload(u.stream);
                                    u.put(8);  // without wait()
                                    u.there();
                                  }),
              "the host writes pinned memory that a copy on stream 1 of GPU 0 reads, and has not "
              "waited for it");
}

// Each upload arrives as it was filled, whenever it runs; the host waits for those of two fillings
// before alone.
TEST(StagingOnAGpu, UploadsCopiesSoThatTheHostMayFillOn) {
  for (const auto schedule : {emulation::Schedule::late, emulation::Schedule::eager})
    EXPECT_EQ(emulation::fault_of(schedule,
                                  [] {
                                    Uploads u;
                                    u.staging.upload_copies(kGpu, 2);
                                    HostCopy there[5], more[5];
                                    for (std::int32_t i = 0; i < 5; ++i) {
                                      u.staging.wait();  // for nothing
                                      u.put(7 + i);
                                      u.more.host.as<float>()[19] = static_cast<float>(i);
                                      u.staging.upload(u.stream);
                                      there[i].start(u.ids.device, u.stream);
                                      more[i].start(u.more.device, u.stream);
                                    }
                                    for (std::int32_t i = 0; i < 5; ++i) {
                                      EXPECT_EQ(there[i].finish().as<std::int32_t>()[4], 7 + i);
                                      EXPECT_EQ(more[i].finish().as<float>()[19], i);
                                    }
                                    u.staging.clear();
                                  }),
              "");
}

TEST(StagingOnAGpu, IsLaidOutAgainInTheSameMemory) {
  Uploads u;
  u.put(7);
  u.staging.upload(u.stream);
  const void* before = u.ids.host.data();
  u.staging.clear();
  u.arena.release(0);
  const Staged again = u.staging.alloc(u.arena, DType::i32, {9});
  EXPECT_EQ(again.host.data(), before);
  again.host.as<std::int32_t>()[4] = 9;  // the first upload is over
  u.staging.upload(u.stream);
  EXPECT_EQ(u.there(), 9);
}

TEST(HostCopyOnAGpu, WritesAndReadsBack) {
  Arena arena("weights", 4096, kGpu);
  const View x = arena.alloc(DType::f32, {3});
  EXPECT_THROW(x.as<float>(), Error);  // not the host's to read
  Stream stream(kGpu);
  HostCopy zeros;
  EXPECT_EQ(zeros.of(x, stream).as<float>()[2], 0);  // an arena's memory begins so
  HostWrite write(x);
  for (int i = 0; i < 3; ++i) write.host().as<float>()[i] = 1.0f + static_cast<float>(i);
  write.finish(stream);
  HostCopy copy;
  EXPECT_EQ(copy.of(x, stream).as<float>()[2], 3);
}

// In pieces, each while the next is on its way; what is written arrives in the stream's order.
TEST(HostCopyOnAGpu, MovesInPieces) {
  constexpr std::int64_t kElems = kPieceBytes / 4 * 5 / 2;  // two pieces and a half
  Arena arena("weights", static_cast<std::size_t>(kElems) * 4 + 64, kGpu);
  const View x = arena.alloc(DType::i32, {kElems});
  for (const auto schedule : {emulation::Schedule::late, emulation::Schedule::eager})
    EXPECT_EQ(
        emulation::fault_of(
            schedule,
            [&] {
              Stream stream(kGpu);
              std::vector<std::int64_t> begins;
              for (std::int32_t round : {1, 2}) {
                write_pieces(x, stream, [&](std::int64_t begin, View piece) {
                  for (std::int64_t i = 0; i < piece.elems(); ++i)
                    piece.as<std::int32_t>()[i] = round * static_cast<std::int32_t>(begin + i);
                });
                std::int64_t wrong = 0;
                read_pieces(x, stream, [&](std::int64_t begin, ConstView piece) {
                  begins.push_back(begin);
                  for (std::int64_t i = 0; i < piece.elems(); ++i)
                    wrong +=
                        piece.as<std::int32_t>()[i] != round * static_cast<std::int32_t>(begin + i);
                });
                EXPECT_EQ(wrong, 0);
              }
              EXPECT_EQ(begins,
                        (std::vector<std::int64_t>{0, 1 << 21, 1 << 22, 0, 1 << 21, 1 << 22}));
            }),
        "");
}

// In two parts: what the stream is given in between is not waited for and changes nothing of it.
TEST(HostCopyOnAGpu, StartsAndFinishes) {
  Arena arena("weights", 4096, kGpu);
  const View x = arena.alloc(DType::f32, {3});
  Stream stream(kGpu);
  HostCopy copy;
  for (float value : {1.0f, 2.0f}) {
    HostWrite write(x);
    for (int i = 0; i < 3; ++i) write.host().as<float>()[i] = value;
    write.finish(stream);
    copy.start(x, stream);
    HostWrite later(x);
    for (int i = 0; i < 3; ++i) later.host().as<float>()[i] = 9;
    later.finish(stream);
    EXPECT_EQ(copy.finish().as<float>()[2], value);
  }
}

}  // namespace
}  // namespace weft::test
