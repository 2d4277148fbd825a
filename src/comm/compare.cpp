#include "comm/compare.h"

#include <algorithm>
#include <map>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/damaged.h"
#include "core/json.h"
#include "core/system/hardware.h"

namespace weft {

void read_together(Communicator& world, Stream& stream, const std::function<void()>& body) {
  bool damaged = false;
  const auto failure = failure_of([&] {
    try {
      body();
    } catch (const Damaged&) {
      damaged = true;
      throw;
    }
  });
  // A file that is damaged for one rank and out of reach for another is out of reach.
  throw_together(world, damaged ? std::nullopt : failure, stream);
  try {
    throw_together(world, failure, stream);
  } catch (const UserError& error) {
    throw Damaged(error.what());
  }
}

namespace {

std::string text_of(const std::string& value) { return value; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(double value) { return fmt::format("{}", value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(const FlagWord& value) { return value.value; }
std::string text_of(const std::vector<std::string>& value) { return json_ascii(Json(value)); }
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "unset";
}

class CollectFacts : public UniformVisitor<CollectFacts> {
 public:
  explicit CollectFacts(const std::set<std::string>& left_out) : left_out_(left_out) {}
  std::vector<Fact> facts;

  template <class T, class A>
  void each(const char* name, const T& value, const A&, const char*) {
    if (!left_out_.contains(name)) facts.push_back({flag_of(name), text_of(value)});
  }

 private:
  const std::set<std::string>& left_out_;
};

// What a rank tells the others of itself: host, then name and value of each fact.
std::string facts_text(const std::vector<Fact>& facts) {
  Json list = {host_name()};
  for (const Fact& fact : facts) list.push_back({fact.name, fact.value});
  return json_ascii(list);
}

std::string disagreement(const std::vector<std::string>& texts) {
  std::vector<Json> ranks;
  for (const std::string& text : texts) ranks.push_back(parse_json(text));
  for (std::size_t i = 1; i < ranks[0].size(); ++i) {
    std::map<std::string, int> votes;
    std::string most = ranks[0][i][1];
    for (const auto& rank : ranks) {
      CHECK(i < rank.size() && rank[i][0] == ranks[0][i][0], "ranks compare different things");
      const std::string value = rank[i][1];
      if (++votes[value] > votes[most]) most = value;
    }
    if (votes.size() == 1) continue;
    std::size_t odd = 0, usual = 0;
    while (ranks[odd][i][1] == most) ++odd;
    while (ranks[usual][i][1] != most) ++usual;
    const auto named = [&](std::size_t rank) {
      return fmt::format("rank {} on host {}", rank, ranks[rank][0].get<std::string>());
    };
    return fmt::format("{} is {} for {}, but {} for {}; all ranks must run on the same",
                       ranks[0][i][0].get<std::string>(), ranks[odd][i][1].get<std::string>(),
                       named(odd), most, named(usual));
  }
  return "the ranks do not agree on what they read";
}

}  // namespace

std::vector<Fact> option_facts(const std::function<void(FieldVisitor&)>& visit,
                               const std::set<std::string>& left_out) {
  CollectFacts collect(left_out);
  visit(collect);
  return std::move(collect.facts);
}

void compare(Communicator& world, const std::function<std::vector<Fact>()>& facts, Stream& stream) {
  if (world.size() == 1) return;
  std::vector<Fact> mine;
  throw_together(world, failure_of([&] { mine = facts(); }), stream);
  Json list = Json::array();
  for (const Fact& fact : mine) list.push_back({fact.name, fact.value});
  const auto sum = static_cast<std::int64_t>(text_checksum(json_ascii(list)));
  std::int64_t ends[2] = {sum, ~sum};  // the largest, and the smallest upside down
  world.all_reduce(View(ends, Dims{2}), ReduceOp::max, stream);
  if (ends[0] == ~ends[1]) return;
  throw UserError(disagreement(gather_texts(world, facts_text(mine), stream)));
}

}  // namespace weft
