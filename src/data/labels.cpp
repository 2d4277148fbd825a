#include "data/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"

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

// The parts of "a;b" that are not empty.
std::vector<std::string> parts_of(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + separator.size()) {
    end = separator.empty() ? std::string::npos : text.find(separator, begin);
    if (std::string part =
            trimmed(text.substr(begin, end == std::string::npos ? end : end - begin));
        !part.empty())
      parts.push_back(std::move(part));
  }
  return parts;
}

// One text for all spellings of a number: of whole ones their digits, of others the shortest.
// Nothing where it is no number.
std::optional<std::string> value_of(const std::string& spelling) {
  if (spelling == "true") return "1";
  if (spelling == "false") return "0";
  std::string digits = spelling.substr(spelling.starts_with('+') ? 1 : 0);
  const bool minus = digits.starts_with('-');
  digits.erase(0, minus);
  if (!digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos) {
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    return digits == "0" ? digits : (minus ? "-" : "") + digits;
  }
  const std::optional<double> number = number_of(spelling);
  if (!number) return std::nullopt;
  if (std::nearbyint(*number) == *number && std::abs(*number) < 0x1p53)
    return std::to_string(static_cast<std::int64_t>(*number));
  return fmt::format("{}", *number);
}

bool before(const std::string& a, const std::string& b, bool numbers) {
  if (!numbers) return a < b;
  const double x = *number_of(a), y = *number_of(b);
  return x != y ? x < y : a < b;
}

}  // namespace

std::vector<LabelCollector::Label> LabelCollector::labels_of(const Json& value, bool is_cell,
                                                             const std::string& place) {
  std::vector<Label> labels;
  const auto take = [&](const Json& entry) {
    const bool finite = !entry.is_number_float() || std::isfinite(entry.get<double>());
    CHECK_USER(finite && (entry.is_string() || entry.is_number() || entry.is_boolean()),
               "{}: the label is {}; allowed: a name, a finite number, or a list of them", place,
               !finite ? "not finite" : brief(entry));
    if (!entry.is_string()) return labels.push_back({json_text(entry), Form::number});
    for (std::string& part : parts_of(entry.get<std::string>(), is_cell ? separator_ : ""))
      labels.push_back({std::move(part), is_cell ? Form::cell : Form::text});
  };
  if (value.is_array())
    for (const Json& entry : value) take(entry);
  else
    take(value);
  several_ = several_ || (!regression_ && (value.is_array() || labels.size() > 1));
  return labels;
}

void LabelCollector::add_numbers(const std::vector<Label>& labels, const std::string& place) {
  for (const Label& label : labels) {
    const auto number = number_of(label.spelling);
    CHECK_USER(number && std::isfinite(static_cast<float>(*number)),
               "{}: the label is '{}'; --task regress needs a finite number{}", place,
               label.spelling.substr(0, 60),
               label.form == Form::cell && label.spelling.find(';') != std::string::npos
                   ? " (several in a cell: --label-separator ';')"
                   : "");
    numbers_.push_back(static_cast<float>(*number));
  }
  counts_.push_back(static_cast<std::int64_t>(labels.size()));
  if (uneven_.empty() && counts_.back() != counts_.front()) uneven_ = place;
}

void LabelCollector::add(const Json& value, bool is_cell, const std::string& place) {
  std::vector<Label> labels = labels_of(value, is_cell, place);
  if (labels.empty() && without_.empty()) without_ = place;
  if (regression_) return add_numbers(labels, place);
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  for (const Label& label : labels)
    labels_.push_back(ids_.emplace(label, static_cast<std::int32_t>(ids_.size())).first->second);
  counts_.push_back(static_cast<std::int64_t>(labels.size()));
}

std::vector<LabelCollector::Label> LabelCollector::labels_of_all(Communicator& world,
                                                                 Stream& stream) const {
  Json mine = Json::array();
  for (const auto& [label, id] : ids_)
    mine.push_back({label.spelling, static_cast<int>(label.form)});
  std::set<Label> all;
  for (const std::string& theirs : gather_texts(world, json_text(mine), stream))
    for (const Json& entry : parse_json(theirs))
      all.insert({entry[0].get<std::string>(), static_cast<Form>(entry[1].get<int>())});
  return {all.begin(), all.end()};
}

LabelKind LabelCollector::finish_numbers(Communicator& world, TokenFilePart& part,
                                         Stream& stream) const {
  const auto agree_that = [&](bool holds, const std::string& sentence) {
    throw_together(world, failure_of([&] { CHECK_USER(holds, "{}", sentence); }), stream);
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
  throw_together(world, failure_of([&] {
                   CHECK_USER(
                       several || without_.empty(),
                       "{}: the label is empty; where each document has one label, none may be "
                       "missing",
                       without_);
                 }),
                 stream);

  const std::vector<Label> all = labels_of_all(world, stream);
  const bool numeric = std::all_of(all.begin(), all.end(), [](const Label& label) {
    return label.form != Form::text && value_of(label.spelling).has_value();
  });
  const auto key_of = [&](const Label& label) {
    const bool by_value = label.form == Form::number || (numeric && label.form == Form::cell);
    return by_value ? value_of(label.spelling).value_or(label.spelling) : label.spelling;
  };
  std::map<std::string, std::string> name_of;  // by key: the shortest spelling, of those the first
  for (const Label& label : all) {
    std::string& name = name_of.emplace(key_of(label), label.spelling).first->second;
    if (label.spelling.size() < name.size()) name = label.spelling;
  }
  LabelKind kind = {several ? "multi_label_classification" : "single_label_classification", {}};
  for (const auto& [key, name] : name_of) kind.names.push_back(name);
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
  for (const auto& [label, id] : ids_)
    global[static_cast<std::size_t>(id)] = places.at(name_of.at(key_of(label)));
  const bool parted = std::any_of(all.begin(), all.end(), [](const Label& label) {
    return label.form == Form::cell && label.spelling.find(';') != std::string::npos;
  });
  if (parted && separator_.empty() && world.rank() == 0)
    log_warning(
        "labels of the table hold a ';', and each is one label; several in a cell are read with "
        "--label-separator ';'");
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
