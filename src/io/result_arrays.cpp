#include "io/result_arrays.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/check.h"
#include "core/json.h"
#include "io/files.h"
#include "io/hdf5/hdf5.h"
#include "io/lines.h"

namespace weft {
namespace {

constexpr std::int64_t kMostHeld = 1 << 16;  // items of a field, before they are written

enum class Kind : std::uint8_t { none, whole, real, text, json };

Kind kind_of(const OrderedJson& value) {
  const bool wide = value.is_number_unsigned() && value.get<std::uint64_t>() >> 63 != 0;
  if (value.is_null()) return Kind::none;
  if (value.is_boolean() || (value.is_number_integer() && !wide)) return Kind::whole;
  if (value.is_number()) return Kind::real;
  return value.is_string() ? Kind::text : Kind::json;
}

Kind joined(Kind a, Kind b) {
  if (a == Kind::none || a == b) return b;
  if (b == Kind::none) return a;
  const auto number = [](Kind k) { return k == Kind::whole || k == Kind::real; };
  return number(a) && number(b) ? Kind::real : Kind::json;
}

// A field as all lines have it.
struct Field {
  std::string key;   // of the lines
  std::string name;  // of the dataset
  Kind kind = Kind::none;
  bool lists = false, scalars = false;
  bool lacks = false;  // in some line, or as an item
  std::int64_t n_items = 0, n_lines = 0;

  bool is_list() const { return lists && !scalars && kind != Kind::json; }
  std::int64_t n_values(std::int64_t n_all) const { return is_list() ? n_items : n_all; }

  void see(const OrderedJson& value) {
    if (value.is_null()) return;
    ++n_lines;
    if (!value.is_array()) {
      scalars = true;
      see_item(value);
      return;
    }
    lists = true;
    n_items += static_cast<std::int64_t>(value.size());
    for (const OrderedJson& item : value) see_item(item);
  }
  void see_item(const OrderedJson& item) {
    kind = joined(kind, kind_of(item));
    lacks |= item.is_null();
  }
  // Known once all lines were seen.
  void settle(std::int64_t n_all) {
    if (lists && scalars) kind = Kind::json;
    if (kind == Kind::none) kind = lists ? Kind::whole : Kind::real;  // of empty lists, of nulls
    const bool missing = lacks || (!is_list() && n_lines < n_all);
    if (kind == Kind::whole && missing) kind = Kind::real;
  }
};

// One line after the other.
template <class Take>
std::int64_t each_line(const std::filesystem::path& path, const Take& take) {
  Lines lines(path.string());
  std::string line;
  std::int64_t n = 0;
  for (; lines.next(line); ++n) {
    OrderedJson json;
    try {
      json = parse_ordered_json(line);
    } catch (const OrderedJson::exception&) {  // no object then
    }
    CHECK_USER(json.is_object(), "{}: line {} is no JSON object", path.string(), lines.number());
    take(json);
  }
  return n;
}

struct Fields {
  std::vector<Field> all;  // in the order in which they are met
  std::int64_t n_lines = 0;

  explicit Fields(const std::filesystem::path& lines) {
    std::map<std::string, std::size_t> places;
    n_lines = each_line(lines, [&](const OrderedJson& line) {
      for (const auto& [key, value] : line.items()) {
        const auto [found, is_new] = places.emplace(key, all.size());
        if (is_new) all.emplace_back().key = key;
        all[found->second].see(value);
      }
    });
    std::set<std::string> taken;
    for (Field& f : all) {
      f.settle(n_lines);
      f.name = f.key.empty() || f.key == "." ? "_" : f.key;
      for (const char c : {'/', '\0'}) std::replace(f.name.begin(), f.name.end(), c, '_');
      while (taken.contains(f.name) || taken.contains(offsets_of(f))) f.name += '_';
      taken.insert({f.name, offsets_of(f)});
    }
  }
  static std::string offsets_of(const Field& f) { return f.name + "_offsets"; }
};

// Writes a field from its beginning to its end.
class FieldWriter {
 public:
  FieldWriter(Hdf5File& file, const Field& field, std::int64_t n_lines)
      : file_(file), field_(field), name_("/" + field.name) {
    const std::int64_t n = field.n_values(n_lines);
    if (is_text())
      file.create_strings(name_, n);
    else
      file.create_dataset(name_, field.kind == Kind::whole ? DType::i64 : DType::f64, {n});
    if (field.is_list()) file.create_dataset(name_ + "_offsets", DType::i64, {n_lines + 1});
    if (field.is_list()) offsets_.push_back(0);
  }

  void add(const OrderedJson* value) {  // null: the line lacks it
    if (!field_.is_list()) {
      put(value ? *value : OrderedJson());
    } else {
      if (value)
        for (const OrderedJson& item : *value) put(item);
      offsets_.push_back(n_items_);
      if (static_cast<std::int64_t>(offsets_.size()) >= kMostHeld) write_offsets();
    }
  }
  void finish() {
    write_items();
    write_offsets();
  }

 private:
  bool is_text() const { return field_.kind == Kind::text || field_.kind == Kind::json; }

  void put(const OrderedJson& value) {
    if (field_.kind == Kind::whole)
      wholes_.push_back(value.is_boolean() ? value.get<bool>() : value.get<std::int64_t>());
    else if (field_.kind == Kind::real)
      reals_.push_back(value.is_null()      ? std::numeric_limits<double>::quiet_NaN()
                       : value.is_boolean() ? static_cast<double>(value.get<bool>())
                                            : value.get<double>());
    else if (value.is_null())
      texts_.emplace_back();
    else
      texts_.push_back(field_.kind == Kind::text ? value.get<std::string>() : json_text(value));
    held_ += texts_.empty() ? 1 : 1 + static_cast<std::int64_t>(texts_.back().size() / 16);
    ++n_items_;
    if (held_ >= kMostHeld) write_items();
  }

  template <class T>
  void write(const std::string& name, std::vector<T>& values, std::int64_t& written) {
    const auto n = static_cast<std::int64_t>(values.size());
    if (n == 0) return;
    const FileRun run = {written, 0, n};
    file_.write(name, ConstView(values.data(), Dims{n}), std::span(&run, 1));
    written += n;
    values.clear();
  }
  void write_items() {
    held_ = 0;
    if (is_text()) {
      file_.write_strings(name_, n_written_, texts_);
      n_written_ += static_cast<std::int64_t>(texts_.size());
      texts_.clear();
    } else if (field_.kind == Kind::whole) {
      write(name_, wholes_, n_written_);
    } else {
      write(name_, reals_, n_written_);
    }
  }
  void write_offsets() { write(name_ + "_offsets", offsets_, n_offsets_); }

  Hdf5File& file_;
  const Field& field_;
  std::string name_;
  std::vector<std::int64_t> wholes_, offsets_;
  std::vector<double> reals_;
  std::vector<std::string> texts_;
  std::int64_t held_ = 0, n_items_ = 0, n_written_ = 0, n_offsets_ = 0;
};

}  // namespace

void write_result_arrays(const std::filesystem::path& lines, const std::filesystem::path& arrays,
                         const std::vector<std::pair<std::string, std::string>>& attributes) {
  const Fields fields(lines);
  FileBeside beside(arrays);
  {
    Hdf5File file = Hdf5File::create(beside.path());
    std::vector<FieldWriter> writers;
    for (const Field& f : fields.all) writers.emplace_back(file, f, fields.n_lines);
    const std::int64_t n = each_line(lines, [&](const OrderedJson& line) {
      for (std::size_t i = 0; i < writers.size(); ++i) {
        const auto found = line.find(fields.all[i].key);
        writers[i].add(found == line.end() || found->is_null() ? nullptr : &*found);
      }
    });
    CHECK(n == fields.n_lines, "{}: has changed while it was read", lines.string());
    for (FieldWriter& w : writers) w.finish();
    file.set_attribute("/", "lines", fields.n_lines);
    for (const auto& [key, value] : attributes) file.set_attribute("/", key, value);
    file.close();
  }
  beside.put_in_place();
}

}  // namespace weft
