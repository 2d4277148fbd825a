// The learning rate of a step: linear warm-up, then cosine or linear decay to a floor, or constant.
#pragma once

#include <cstdint>
#include <string>

#include "core/fields.h"

namespace weft {

enum class LrDecay : std::uint8_t { cosine, linear, constant };
constexpr Word<LrDecay> kLrDecays[] = {
    {"cosine", LrDecay::cosine}, {"linear", LrDecay::linear}, {"constant", LrDecay::constant}};

LrDecay lr_decay(const std::string& name);  // UserError with the list

struct LrSchedule {
  double lr = 0, min_lr = 0;
  std::int64_t warmup_steps = 0, steps = 1;
  LrDecay decay = LrDecay::cosine;

  // step counts from 1. Warm-up reaches lr at step warmup_steps; decay reaches min_lr at the last
  // step.
  double at(std::int64_t step) const;
};
inline LrSchedule constant_lr(double lr) { return {.lr = lr, .decay = LrDecay::constant}; }

}  // namespace weft
