#include "infer/search/neighbors.h"

#include <algorithm>
#include <charconv>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/run_facts.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"
#include "inspect/map_page.h"
#include "io/files.h"

namespace weft {
namespace {

struct NeighborOptions {
  std::vector<std::string> tokens;
  ModelOptions model;
  std::string metric = "cosine", plot;
  std::int64_t top_k = 10;
  bool json = false;

  void visit(FieldVisitor& v) {
    model.visit(v);
    v.group("neighbors");
    v.field("top_k", top_k, Integers{1}, "tokens to list");
    v.field("metric", metric, kMetrics, "what makes embeddings near");
    v.field("plot", plot, "an HTML page (F.html) with them as dots in two dimensions");
    v.field("json", json, "JSON lines on stdout");
  }
};

// As the vocabulary spells it, a text that is one token, or #ID.
std::int32_t token_of(const std::string& text, const Tokenizer& t, std::int64_t vocab) {
  if (text.size() > 1 && text[0] == '#') {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size()) {
      CHECK_USER(id >= 0 && id < vocab, "token '{}': allowed: #0 to #{}", text, vocab - 1);
      return id;
    }
  }
  if (const auto id = t.id(text)) return *id;
  const std::vector<std::int32_t> ids = t.ids(text);
  CHECK_USER(ids.size() == 1, "'{}' is {} tokens; name one as the vocabulary spells it, or by #ID",
             text, ids.size());
  return ids[0];
}

// A dot a token: those asked for, each with the color of its neighbors.
struct TokenMap {
  MapPage page;
  std::vector<std::int32_t> ids;

  TokenMap(const Tokenizer& t, std::span<const std::int32_t> asked,
           const std::vector<std::vector<Neighbor>>& near) {
    page.what = "tokens";
    for (std::size_t g = 0; g < asked.size(); ++g) {
      page.groups.push_back(shown(t, asked[g]));
      add(t, asked[g], g, true);
    }
    for (std::size_t g = 0; g < near.size(); ++g)
      for (const Neighbor& n : near[g]) add(t, n.id, g, false);
  }

 private:
  static std::string shown(const Tokenizer& t, std::int32_t id) {
    const std::string& bytes = t.token_bytes(id);
    return made_utf8(bytes.empty() ? t.token(id) : bytes);
  }
  void add(const Tokenizer& t, std::int32_t id, std::size_t group, bool asked) {
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) return;
    ids.push_back(id);
    page.points.push_back({shown(t, id), std::to_string(id), group, asked});
  }
};

std::string result_of(const Tokenizer& t, std::int32_t token, const std::vector<Neighbor>& near,
                      bool as_json) {
  OrderedJson json = {{"token", made_utf8(t.token(token))}, {"neighbors", OrderedJson::array()}};
  std::string lines = made_utf8(t.token(token)) + "\n";
  for (const Neighbor& n : near) {
    const std::string name = made_utf8(t.token(n.id));
    json["neighbors"].push_back({{"token", name}, {"id", n.id}, {"score", n.score}});
    lines += fmt::format("  {:<24} {:>7}  {:.4f}\n", name, n.id, n.score);
  }
  return as_json ? json_text(json) + "\n" : lines;
}

}  // namespace

void run_neighbors(const Invocation& invocation) {
  NeighborOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {"neighbors",
                            "The nearest tokens in a model's embedding matrix, to each TOKEN: as "
                            "the vocabulary spells it, a text that is one token, or #ID.",
                            &o.tokens, "TOKEN"};
  if (!parse_options(line, invocation.args, fields, invocation.mpi.rank() == 0)) return;
  CHECK_USER(!o.tokens.empty(), "weft neighbors: name one or more tokens");
  const Metric metric = value_of(kMetrics, "--metric", o.metric);
  check_place("--plot", o.plot);
  Session session(invocation, o.model, ModelUse::states);
  const Tokenizer& t = session.need_tokenizer();
  std::vector<std::int32_t> ids;
  for (const std::string& token : o.tokens) ids.push_back(token_of(token, t, session.config.vocab));
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "neighbors", fields, ids.size());
  session.load_weights();
  ResultWriter results(session, "", ids.size());
  log.begin();
  const NearTokens near = [&] {
    const auto timed = time_as(session.ctx, TimeShare::forward);
    return nearest_tokens(session.ctx, session.config, *session.parameters, ids, metric, o.top_k);
  }();
  std::optional<TokenMap> map;
  std::vector<float> vectors;
  if (!o.plot.empty() && !near.ended) {
    map.emplace(t, ids, near.each);
    vectors = token_vectors(session.ctx, session.config, *session.parameters, map->ids);
  }
  Communicator& world = session.grid.world();
  on_first_rank(world, session.stream, [&] {
    for (std::size_t i = 0; i < near.each.size(); ++i)
      results.put(i, result_of(t, ids[i], near.each[i], o.json));
  });
  if (const auto stopped = results.finish(near.ended, log)) rethrow(*stopped);
  if (!map) return;
  map->page.title =
      fmt::format("tokens near {} in {}", fmt::join(map->page.groups, ", "), o.model.model);
  map->page.made_by = made_by();
  map->page.command = command_line(invocation, "neighbors");
  on_first_rank(world, session.stream,
                [&] { write_map_page(map->page, vectors, session.config.width, o.plot); });
}

}  // namespace weft
