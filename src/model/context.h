// What every step of a model is handed: the grid, the stream, how to multiply, and who watches.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "comm/grid.h"
#include "core/device.h"
#include "kernels/ops.h"

namespace weft {

// Where the time of a step goes. Every second of it is booked on exactly one.
enum class Share : std::uint8_t { forward, backward, comm, optimizer, bubble, data, other };
constexpr int kShares = 7;
constexpr std::array<std::string_view, kShares> kShareNames = {
    "forward", "backward", "comm", "optimizer", "bubble", "data", "other"};

// A clock with one running account: switching books the time since the last switch on the account
// that ran.
class ShareClock {
 public:
  void start();                        // zeroes the accounts; `other` runs
  Share switch_to(Share share);        // returns the one that ran
  std::array<double, kShares> stop();  // seconds, summing to the time since start()

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_{};
  Share running_ = Share::other;
  std::array<double, kShares> seconds_{};
};

// Books the enclosing scope on a share, and goes back to what ran before.
class BookAs {
 public:
  BookAs(ShareClock& clock, Share share) : clock_(&clock), before_(clock.switch_to(share)) {}
  ~BookAs() { clock_->switch_to(before_); }
  BookAs(const BookAs&) = delete;
  BookAs& operator=(const BookAs&) = delete;

 private:
  ShareClock* clock_;
  Share before_;
};

struct Context {
  const Grid& grid;
  Stream& stream;
  Precision precision = Precision::fp32;
  ShareClock* clock = nullptr;  // null: nobody counts
  std::function<void(std::int64_t layer, std::string_view name, ConstView view)>
      observer;  // empty: nobody watches

  void observe(std::int64_t layer, std::string_view name, ConstView view) const {
    if (observer) observer(layer, name, view);
  }
};

// Books the enclosing scope where somebody counts:  const auto booked = book(ctx, Share::comm);
inline std::optional<BookAs> book(const Context& ctx, Share share) {
  return ctx.clock ? std::optional<BookAs>(std::in_place, *ctx.clock, share) : std::nullopt;
}

}  // namespace weft
