#include "text/split_behavior.h"

#include <algorithm>

#include "core/check.h"
#include "text/json_values.h"

namespace weft {
namespace {

constexpr std::pair<const char*, SplitBehavior> kNames[] = {
    {"Removed", SplitBehavior::removed},
    {"Isolated", SplitBehavior::isolated},
    {"MergedWithPrevious", SplitBehavior::merged_with_previous},
    {"MergedWithNext", SplitBehavior::merged_with_next},
    {"Contiguous", SplitBehavior::contiguous}};

void push(std::vector<TextPiece>& out, std::size_t begin, std::size_t end) {
  if (begin < end) out.push_back({begin, end});
}

// Runs of one kind become one piece.
void contiguous(const std::vector<Span>& spans, std::vector<TextPiece>& out) {
  for (std::size_t i = 0, next; i < spans.size(); i = next) {
    for (next = i + 1; next < spans.size() && spans[next].is_match == spans[i].is_match; ++next) {
    }
    push(out, spans[i].begin, spans[next - 1].end);
  }
}

// A delimiter joins what is before it; of several in a row only the first does.
void merged_with_previous(const std::vector<Span>& spans, std::vector<TextPiece>& out) {
  std::vector<TextPiece> made;
  bool previous = false;
  for (const Span& s : spans) {
    if (s.is_match && !previous && !made.empty())
      made.back().end = s.end;
    else
      made.push_back({s.begin, s.end});
    previous = s.is_match;
  }
  for (const TextPiece& p : made) push(out, p.begin, p.end);
}

void merged_with_next(const std::vector<Span>& spans, std::vector<TextPiece>& out) {
  std::vector<TextPiece> made;  // from the end
  bool previous = false;
  for (std::size_t i = spans.size(); i-- > 0;) {
    const Span& s = spans[i];
    if (s.is_match && !previous && !made.empty())
      made.back().begin = s.begin;
    else
      made.push_back({s.begin, s.end});
    previous = s.is_match;
  }
  for (std::size_t i = made.size(); i-- > 0;) push(out, made[i].begin, made[i].end);
}

}  // namespace

SplitBehavior read_split_behavior(const std::string& name, const std::string& origin) {
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  user_error(
      "{}: behavior is '{}'; allowed: Removed, Isolated, MergedWithPrevious, MergedWithNext, "
      "Contiguous",
      origin, in_message(name));
}

std::string name_of(SplitBehavior behavior) {
  const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                  [&](const auto& known) { return known.second == behavior; });
  return found->first;
}

void split_spans(std::vector<Span>& spans, SplitBehavior behavior, std::vector<TextPiece>& out) {
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Span& s : spans)
        if (!s.is_match) push(out, s.begin, s.end);
      break;
    case SplitBehavior::isolated:
      for (const Span& s : spans) push(out, s.begin, s.end);
      break;
    case SplitBehavior::merged_with_previous:
      merged_with_previous(spans, out);
      break;
    case SplitBehavior::merged_with_next:
      merged_with_next(spans, out);
      break;
    case SplitBehavior::contiguous:
      contiguous(spans, out);
      break;
  }
}

}  // namespace weft
