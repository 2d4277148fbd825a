#include <filesystem>
#include <utility>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/text_inputs.h"
#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "infer/embed_texts.h"
#include "infer/search/vector_search.h"
#include "io/embedding_file.h"

namespace weft {
namespace {

constexpr std::size_t kShownCharacters = 100;  // of a text, where people read

struct SearchOptions : WholeTextOptions {
  std::string index, metric = "cosine";
  std::int64_t top_k = 10;

  void visit(FieldVisitor& v) {
    WholeTextOptions::visit(v, "search");
    v.field("index", index, "vectors to search, as weft embed --out F.h5 wrote them");
    v.field("top_k", top_k, Integers{1}, "vectors to list for each text");
    v.field("metric", metric, kMetrics,
            "what makes vectors near; the score of l2 is the distance, smallest first");
  }
};

bool same_model(const std::string& a, const std::string& b) {
  std::error_code error;
  return a == b ||
         std::filesystem::weakly_canonical(a, error) == std::filesystem::weakly_canonical(b, error);
}

// The index on every rank. Collective.
EmbeddingIndex open_index(const Session& session, const SearchOptions& o, Stream& stream) {
  std::optional<EmbeddingIndex> index;
  Communicator& world = session.grid.world();
  read_together(world, stream, [&] { index.emplace(o.index); });
  const EmbeddingKind& kind = index->kind();
  compare(
      world,
      [&] {
        return std::vector<Fact>{
            {"--index", fmt::format("{} of {} vectors of {}, {} of layer {}{}, by {}",
                                    index->n_rows(), index->n_texts(), kind.width, kind.pooling,
                                    kind.layer, kind.normalize ? " normalized" : "", kind.model)}};
      },
      stream);
  const ModelConfig& c = session.config;
  CHECK_USER(kind.width == c.width, "--index {}: holds vectors of {}, but --model {} makes {}",
             o.index, kind.width, o.model.model, c.width);
  CHECK_USER(kind.layer >= 0 && kind.layer <= c.layers,
             "--index {}: is of layer {}, but --model {} has {}", o.index, kind.layer,
             o.model.model, c.layers);
  if (!session.first()) return std::move(*index);
  if (!same_model(kind.model, o.model.model))
    log_warning("--index {}: was made with {}, not with --model {}; scores may mean nothing",
                o.index, kind.model, o.model.model);
  if (index->n_rows() < index->n_texts())
    log_warning("--index {}: embed did not finish it; its first {} of {} vectors are searched",
                o.index, index->n_rows(), index->n_texts());
  return std::move(*index);
}

// The beginning of a text in a line.
std::string shown(const std::string& text) {
  std::size_t end = 0;
  for (std::size_t n = 0; n < kShownCharacters && end < text.size(); ++n)
    end += shown_character_at(text, end).bytes;
  return printable(text.substr(0, end)) + (end < text.size() ? "…" : "");
}

std::string result_of(const Document& query, const std::vector<NearRow>& near,
                      const EmbeddingIndex& index, bool json) {
  std::vector<std::int64_t> rows;
  for (const NearRow& n : near) rows.push_back(n.row);
  const std::vector<std::string> ids = index.ids(rows), texts = index.texts(rows);
  OrderedJson list = OrderedJson::array();
  std::string lines = fmt::format("{}\t{}\n", printable(query.id), shown(query.text));
  for (std::size_t i = 0; i < near.size(); ++i) {
    const std::string id = made_utf8(ids[i]), text = made_utf8(texts[i]);
    list.push_back({{"id", id}, {"score", near[i].score}, {"text", text}});
    lines += fmt::format("  {:<16}\t{:.4f}\t{}\n", printable(id), near[i].score, shown(text));
  }
  return json ? result_line(query, {{"neighbors", list}}) : lines;
}

// The queries' vectors (Q, C) on every rank. Collective over the world; a replica that fails tells
// the others.
std::vector<float> embed_queries(const Session& session, const TextInputs& in,
                                 const EmbeddingKind& kind) {
  EmbedSettings settings;
  settings.pooling = value_of(kTextPoolings, "the index's pooling", kind.pooling);
  settings.layer = kind.layer;
  settings.normalize = kind.normalize;
  const auto C = static_cast<std::size_t>(kind.width);
  std::vector<float> queries(in.documents.size() * C, 0.0f);
  const auto ended = caught_together([&] {
    embed_texts(session.ctx, session.config, *session.parameters, in.texts, settings,
                [&](std::size_t t, std::span<const float> x) {
                  std::copy(x.begin(), x.end(), queries.begin() + in.numbers[t] * C);
                });
  });
  throw_together(session.grid.world(), ended, session.ctx.stream);
  session.grid.dp().all_reduce(
      View(queries.data(), Dims{static_cast<std::int64_t>(queries.size())}), ReduceOp::sum,
      session.ctx.stream);
  return queries;
}

}  // namespace

void run_search(const Invocation& invocation) {
  SearchOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options(
          {"search", "The vectors of an index that are nearest to each text.", nullptr, ""},
          invocation.args, fields, invocation.mpi.rank() == 0))
    return;
  const Metric metric = value_of(kMetrics, "--metric", o.metric);
  CHECK_USER(!o.index.empty(), "--index is missing: an .h5 file that weft embed --out wrote");
  Session session(invocation, o.model, ModelUse::states);
  const EmbeddingIndex index = open_index(session, o, session.stream);
  InputRules rules;
  rules.truncation = o.truncation.value;
  rules.way_out = "--truncation cuts it";
  TextInputs in = read_inputs(session, o.texts, rules);
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "search", fields, in.documents.size());
  session.load_weights();
  ResultWriter results(session, o.texts.out, in.documents.size());
  log.begin();
  const VectorSource rows = {.n = index.n_rows(),
                             .C = index.kind().width,
                             .read = [&](std::int64_t first, View to) { index.read(first, to); },
                             .name = o.index + ": /embeddings"};
  Communicator& world = session.grid.world();
  const auto ended = failure_of([&] {  // on all ranks alike
    const std::vector<float> queries = embed_queries(session, in, index.kind());
    const auto Q = static_cast<std::int64_t>(in.documents.size());
    const auto near = nearest_rows(session.ctx, rows, ConstView(queries.data(), Dims{Q, rows.C}),
                                   metric, o.top_k);
    on_first_rank(world, session.stream, [&] {
      for (std::size_t q = 0; q < near.size(); ++q)
        results.put(q, result_of(in.documents[q], near[q], index, o.json()),
                    {.prompt_tokens = in.lengths[q]});
    });
  });
  in.rejects.finish(session, o.texts.out, in.n_texts, results.finish(ended, log));
}

}  // namespace weft
