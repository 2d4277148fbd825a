#include "train/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "comm/agreement.h"
#include "core/check.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

constexpr std::size_t kMaxClasses = 1 << 20;

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n"),
                    end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

std::optional<double> number_of(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data() + (text.starts_with('+') ? 1 : 0),
                                            text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
    return std::nullopt;
  return number;
}

// The parts of "a;b".
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find(';', begin);
    if (std::string part =
            trimmed(text.substr(begin, end == std::string::npos ? end : end - begin));
        !part.empty())
      parts.push_back(std::move(part));
  }
  return parts;
}

bool before(const std::string& a, const std::string& b, bool numbers) {
  if (!numbers) return a < b;
  const double x = *number_of(a), y = *number_of(b);
  return x != y ? x < y : a < b;
}

}  // namespace

void LabelCollector::add(const Json& value, const std::string& place) {
  std::vector<std::string> names;
  const auto take = [&](const Json& entry) {
    CHECK_USER(entry.is_string() || entry.is_number() || entry.is_boolean(),
               "{}: the label is {}; allowed: a name, a number, or a list of them", place,
               entry.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60));
    if (!entry.is_string()) return names.push_back(entry.dump());
    const std::string text = valid_utf8(entry.get<std::string>());
    if (value.is_string()) {
      several_ = several_ || (!regression_ && text.find(';') != std::string::npos);
      names = parts_of(text);
    } else if (std::string name = trimmed(text); !name.empty()) {
      names.push_back(std::move(name));
    }
  };
  if (value.is_array()) {
    several_ = several_ || !regression_;
    for (const Json& entry : value) take(entry);
  } else {
    take(value);
  }
  if (names.empty() && without_.empty()) without_ = place;
  if (regression_) {
    for (const std::string& name : names) {
      const auto number = number_of(name);
      CHECK_USER(number && std::isfinite(static_cast<float>(*number)),
                 "{}: the label is '{}'; --task regress needs a finite number", place,
                 name.substr(0, 60));
      numbers_.push_back(static_cast<float>(*number));
    }
    counts_.push_back(static_cast<std::int64_t>(names.size()));
    if (uneven_.empty() && counts_.back() != counts_.front()) uneven_ = place;
    return;
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names)
    labels_.push_back(ids_.emplace(name, static_cast<std::int32_t>(ids_.size())).first->second);
  counts_.push_back(static_cast<std::int64_t>(names.size()));
}

LabelKind LabelCollector::finish_numbers(Communicator& world, TokenFilePart& part,
                                         Stream& stream) const {
  const auto agree_that = [&](bool holds, const std::string& sentence) {
    agree(world, caught([&] { CHECK_USER(holds, "{}", sentence); }), stream);
  };
  agree_that(without_.empty(),
             without_ + ": the label is empty; --task regress needs a finite number");
  const std::int64_t mine = counts_.empty() ? 0 : counts_.front();
  const std::int64_t n = world.all_reduce_value(mine, ReduceOp::max, stream);
  agree_that(uneven_.empty(),
             uneven_ +
                 ": has another count of numbers than the documents before it; --task regress "
                 "needs as many for each");
  agree_that(counts_.empty() || mine == n,
             fmt::format("some documents have {} numbers as their label and others {}; --task "
                         "regress needs as many for each",
                         mine, n));
  part.targets = numbers_;
  LabelKind kind = {"regression", {}};
  for (std::int64_t i = 0; i < n; ++i) kind.names.push_back(fmt::format("LABEL_{}", i));
  return kind;
}

LabelKind LabelCollector::finish(Communicator& world, TokenFilePart& part, Stream& stream) const {
  if (regression_) return finish_numbers(world, part, stream);
  const bool several =
      world.all_reduce_value<std::int32_t>(several_ ? 1 : 0, ReduceOp::max, stream) != 0;
  agree(world, caught([&] {
          CHECK_USER(several || without_.empty(),
                     "{}: the label is empty; where each document has one label, none may be "
                     "missing",
                     without_);
        }),
        stream);

  Json mine = Json::array();
  for (const auto& [name, id] : ids_) mine.push_back(name);
  std::set<std::string> all;
  for (const std::string& theirs : gather_texts(world, mine.dump(), stream))
    for (const Json& name : parse_json(theirs)) all.insert(name.get<std::string>());
  LabelKind kind = {several ? "multi_label_classification" : "single_label_classification",
                    {all.begin(), all.end()}};
  CHECK_USER(kind.names.size() >= (several ? 1u : 2u),
             "the documents have {} classes{}; --task classify needs {} at least",
             kind.names.size(),
             kind.names.empty() ? "" : " ('" + kind.names[0].substr(0, 60) + "')", several ? 1 : 2);
  CHECK_USER(kind.names.size() <= kMaxClasses,
             "the documents have {} classes; allowed: up to {} (numbers that are not classes: "
             "--task regress)",
             kind.names.size(), kMaxClasses);
  const bool numbers =
      std::all_of(kind.names.begin(), kind.names.end(),
                  [](const std::string& name) { return number_of(name).has_value(); });
  std::sort(kind.names.begin(), kind.names.end(),
            [&](const std::string& a, const std::string& b) { return before(a, b, numbers); });

  std::vector<std::int32_t> global(ids_.size());
  std::map<std::string, std::int32_t> places;
  for (std::size_t i = 0; i < kind.names.size(); ++i)
    places[kind.names[i]] = static_cast<std::int32_t>(i);
  for (const auto& [name, id] : ids_) global[static_cast<std::size_t>(id)] = places.at(name);
  std::size_t at = 0;
  for (const std::int64_t count : counts_) {
    if (several) part.targets.resize(part.targets.size() + kind.names.size(), 0.0f);
    float* row = several ? part.targets.data() + part.targets.size() - kind.names.size() : nullptr;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t label = global[static_cast<std::size_t>(labels_[at++])];
      if (several)
        row[label] = 1.0f;
      else
        part.labels.push_back(label);
    }
  }
  return kind;
}

}  // namespace weft
