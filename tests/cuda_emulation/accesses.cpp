#include "accesses.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "executor.h"

namespace weft::emulation {
namespace {

// Bytes with the same history, by their begin.
struct Segment {
  std::uintptr_t end;
  Stamp write;               // the last
  std::vector<Stamp> reads;  // since then; those that a later one has seen are left out
};
using Segments = std::map<std::uintptr_t, Segment>;

Segments& segments() {
  static Segments s;
  return s;
}

// The first segment that begins at or after `at`, where none lies across `at` any more.
Segments::iterator cut_at(std::uintptr_t at) {
  Segments& all = segments();
  const auto after = all.lower_bound(at);
  if (after == all.begin()) return after;
  const auto before = std::prev(after);
  if (before->second.end <= at) return after;
  Segment rest = before->second;
  before->second.end = at;
  return all.emplace_hint(after, at, std::move(rest));
}

[[noreturn]] void report(const Stamp& before, bool wrote, const Stamp& now, const Range& range) {
  throw Fault(fmt::format("{} {} {} bytes that {} {}, and no event orders the two", named(now),
                          range.writes ? "writes" : "reads", range.bytes, named(before),
                          wrote ? "writes" : "reads"));
}

std::string kernel_name(const void* kernel) {
  Dl_info info{};
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr || info.dli_saddr != kernel)
    return "a kernel";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> whole(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? whole.get() : info.dli_sname;
  name = name.substr(0, std::min(name.find('('), name.find('<')));
  return name.substr(std::max(name.rfind(' ') + 1, name.rfind(':') + 1));
}

}  // namespace

void join(Clock& into, const Clock& other) {
  if (into.size() < other.size()) into.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) into[i] = std::max(into[i], other[i]);
}

std::string named(const Stamp& item) {
  const std::string name = item.name ? item.name : kernel_name(item.kernel);
  if (item.stream == 0) return fmt::format("{} on the default stream of GPU {}", name, item.device);
  return fmt::format("{} on stream {} of GPU {}", name, item.stream, item.device);
}

void note_access(const Range& range, const Stamp& item, const Clock& clock) {
  if (range.bytes == 0) return;
  Segments& all = segments();
  const std::uintptr_t end = range.begin + range.bytes;
  cut_at(end);
  auto at = cut_at(range.begin);
  for (std::uintptr_t next = range.begin; next < end; next = at->second.end, ++at) {
    if (at == all.end() || at->first > next)  // nobody has been here
      at = all.emplace_hint(at, next,
                            Segment{at == all.end() ? end : std::min(end, at->first), Stamp(), {}});
    Segment& s = at->second;
    if (!s.write.seen_by(clock)) report(s.write, true, item, range);
    if (range.writes) {
      for (const Stamp& read : s.reads)
        if (!read.seen_by(clock)) report(read, false, item, range);
    } else {
      std::erase_if(s.reads, [&](const Stamp& read) { return read.seen_by(clock); });
      s.reads.push_back(item);
    }
  }
  if (!range.writes) return;
  all.erase(all.lower_bound(range.begin), all.lower_bound(end));
  all.emplace(range.begin, Segment{end, item, {}});
}

void forget_accesses(const void* memory, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const auto last = cut_at(begin + bytes);
  segments().erase(cut_at(begin), last);
}

}  // namespace weft::emulation
