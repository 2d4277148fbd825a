// What the tests of planted faults share.
#pragma once

#include <string>

#include "core/check.h"
#include "runtime.h"

namespace weft::emulation {

// The fault of what `run` does under a schedule, without its seed; empty where there is none.
// Streams count from 1.
template <class F>
std::string fault_of(Schedule schedule, F run) {
  set_schedule(schedule);
  count_streams_from_one();
  std::string text;
  try {
    run();
  } catch (const Error& e) {
    text = e.what();
  }
  forget_fault();
  set_schedule(Schedule::drawn);
  const std::size_t begin = text.find(": ") + 2, end = text.find(" (WEFT_EMULATION_SEED");
  return text.empty() ? text : text.substr(begin, end - begin);
}

}  // namespace weft::emulation
