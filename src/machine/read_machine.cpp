#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/check.h"
#include "core/spelling.h"
#include "io/files.h"
#include "machine/machine_fields.h"

namespace weft {
namespace {

// One table of the file: sets what it has, and refuses what was not asked for.
class ReadTable {
 public:
  ReadTable(const toml::table& table, std::string file, std::string where)
      : table_(table), file_(std::move(file)), where_(std::move(where)) {}

  void text(const char* key, std::string& value) {
    if (const toml::node* node = find(key)) value = text_of(*node, key);
  }
  void integer(const char* key, std::int64_t& value, Integers allowed) {
    if (const toml::node* node = find(key)) value = integer_of(*node, key, allowed);
  }
  void integers(const char* key, std::vector<std::int64_t>& value, Integers allowed) {
    each(key, [&](const toml::node& node) { value.push_back(integer_of(node, key, allowed)); });
  }
  void real(const char* key, double& value) {
    const toml::node* node = find(key);
    if (!node) return;
    const std::optional<double> number = node->is_number() ? node->value<double>() : std::nullopt;
    CHECK_USER(number && std::isfinite(*number) && *number >= 0,
               "{} must be a number that is 0 or more", what(*node, key));
    value = *number;
  }
  void flag(const char* key, bool& value) {
    const toml::node* node = find(key);
    if (!node) return;
    CHECK_USER(node->is_boolean(), "{} must be true or false", what(*node, key));
    value = *node->value<bool>();
  }
  void words(const char* key, std::vector<std::string>& value, std::vector<std::string> allowed) {
    each(key, [&](const toml::node& node) {
      value.push_back(text_of(node, key));
      if (!allowed.empty()) check_allowed(what(node, key), value.back(), Words(allowed));
    });
  }
  template <class E, std::size_t n>
  void word(const char* key, E& value, const Word<E> (&table)[n]) {
    if (const toml::node* node = find(key))
      value = value_of(table, what(*node, key), text_of(*node, key));
  }
  template <class Part>
  void group(const char* key, Part& part) {
    const toml::node* node = find(key);
    if (!node) return;
    CHECK_USER(node->is_table(), "{} must be a table: [{}]", what(*node, key), key);
    read(*node->as_table(), key, part);
  }
  template <class Part>
  void groups(const char* key, std::vector<Part>& parts) {
    const toml::node* node = find(key);
    if (!node) return;
    CHECK_USER(node->is_array_of_tables(), "{} must be a list of tables: [[{}]]", what(*node, key),
               key);
    for (const toml::node& entry : *node->as_array())
      read(*entry.as_table(), key, parts.emplace_back());
  }

  // After all keys were visited.
  void refuse_others() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      CHECK_USER(std::find(keys_.begin(), keys_.end(), name) != keys_.end(),
                 "{}: line {}: {} has no key '{}'{}; allowed: {}", file_, node.source().begin.line,
                 where_.empty() ? "a machine" : "[" + where_ + "]", name, suggestion(name, keys_),
                 fmt::join(keys_, ", "));
    }
  }

 private:
  const toml::node* find(const char* key) {
    keys_.emplace_back(key);
    return table_.get(key);
  }
  std::string what(const toml::node& node, const char* key) const {
    return fmt::format("{}: line {}: {}", file_, node.source().begin.line,
                       where_.empty() ? key : where_ + "." + key);
  }
  std::string text_of(const toml::node& node, const char* key) const {
    CHECK_USER(node.is_string(), "{} must be a text in quotes", what(node, key));
    return *node.value<std::string>();
  }
  std::int64_t integer_of(const toml::node& node, const char* key, Integers allowed) const {
    CHECK_USER(node.is_integer(), "{} must be a whole number", what(node, key));
    const std::int64_t value = *node.value<std::int64_t>();
    check_allowed(what(node, key), value, allowed);
    return value;
  }
  template <class Body>
  void each(const char* key, const Body& body) {
    const toml::node* node = find(key);
    if (!node) return;
    CHECK_USER(node->is_array(), "{} must be a list: [ … ]", what(*node, key));
    for (const toml::node& entry : *node->as_array()) body(entry);
  }
  template <class Part>
  void read(const toml::table& table, const char* key, Part& part) const {
    ReadTable inner(table, file_, key);
    visit(inner, part);
    inner.refuse_others();
  }

  const toml::table& table_;
  std::string file_, where_;
  std::vector<std::string> keys_;
};

// What the keys say of each other.
void check_machine(const Machine& m, const std::string& file) {
  CHECK_USER(!m.name.empty(), "{}: name is missing: what --machine calls this machine", file);
  CHECK_USER(m.gpus.empty() || static_cast<std::int64_t>(m.gpus.size()) == m.node.gpus,
             "{}: node.gpus is {}, but there are {} [[gpus]]", file, m.node.gpus, m.gpus.size());
  std::set<std::int64_t> ids;
  for (const MachineGpu& gpu : m.gpus) {
    CHECK_USER(ids.insert(gpu.id).second, "{}: two [[gpus]] have the id {}", file, gpu.id);
    CHECK_USER(gpu.numa < m.node.numa_domains, "{}: gpu {} has numa = {}; allowed: -1 to {}", file,
               gpu.id, gpu.numa, m.node.numa_domains - 1);
  }
  for (const MachineCollectives& c : m.collectives)
    check_allowed(file + ": collectives.network", c.network,
                  Words({std::begin(kNetworks), std::end(kNetworks)}));
  std::vector<std::string> names;
  for (const MachineQueue& q : m.queues) {
    CHECK_USER(!q.name.empty(), "{}: one of [[queues]] has no name", file);
    CHECK_USER(std::find(names.begin(), names.end(), q.name) == names.end(),
               "{}: two [[queues]] are called '{}'", file, q.name);
    CHECK_USER(q.max == 0 || q.min <= q.max, "{}: queue {}: min is {}, above max, {}", file, q.name,
               q.min, q.max);
    CHECK_USER(q.max_walltime_s == 0 || q.min_walltime_s <= q.max_walltime_s,
               "{}: queue {}: min_walltime_s is {}, above max_walltime_s, {}", file, q.name,
               q.min_walltime_s, q.max_walltime_s);
    names.push_back(q.name);
  }
  for (const MachineQueue& q : m.queues)
    for (const std::string& to : q.routes_to)
      CHECK_USER(std::find(names.begin(), names.end(), to) != names.end(),
                 "{}: queue {} routes to '{}', which is none of [[queues]]{}", file, q.name, to,
                 suggestion(to, names));
}

}  // namespace

Machine read_machine(const std::filesystem::path& path) {
  const std::string file = path.string(), text = read_text_file(path);
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    user_error("{}: line {}: {}", file, error.source().begin.line, error.description());
  }
  Machine machine;
  ReadTable reader(table, file, "");
  visit(reader, machine);
  reader.refuse_others();
  check_machine(machine, file);
  return machine;
}

}  // namespace weft
