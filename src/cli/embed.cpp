#include "infer/embed_texts.h"

#include "cli/command.h"
#include "cli/embedding_file.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/text_inputs.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"
#include "model/limits.h"

namespace weft {
namespace {

struct EmbedOptions : WholeTextOptions {
  std::string pooling = "mean";
  std::optional<std::int64_t> layer;
  bool normalize = false;

  void visit(FieldVisitor& v) {
    WholeTextOptions::visit(v, "embed");
    v.field("pooling", pooling, kTextPoolings,
            "how a text's tokens become its vector (cls: the first; none: a vector for each)");
    v.field("layer", layer, Integers{-kMaxLayers - 1, kMaxLayers},
            "hidden states of this layer: 0 the embeddings, the number of layers (unset) the last, "
            "-1 the last, -2 the one before it");
    v.field("normalize", normalize, "vectors of length 1");
  }
};

std::int64_t checked_layer(const EmbedOptions& o, const ModelConfig& c) {
  const std::int64_t given = o.layer.value_or(c.layers),
                     layer = given < 0 ? given + c.layers + 1 : given;
  CHECK_USER(layer >= 0 && layer <= c.layers, "--layer is {}; allowed: {} to {}", given,
             -c.layers - 1, c.layers);
  return layer;
}

}  // namespace

void run_embed(const Invocation& invocation) {
  EmbedOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"embed", "One vector a text, or a token.", nullptr, ""}, invocation.args,
                     fields, invocation.mpi.rank() == 0))
    return;
  EmbedSettings settings;
  settings.pooling = value_of(kTextPoolings, "--pooling", o.pooling);
  settings.normalize = o.normalize;
  Session session(invocation, o.model, ModelUse::states);
  settings.layer = checked_layer(o, session.config);
  const bool hdf5 = std::filesystem::path(o.texts.out).extension() == ".h5";
  TextOptions texts = o.texts;
  if (hdf5) texts.out = "";  // which is for lines
  InputRules rules;
  rules.truncation = o.truncation.value;
  rules.way_out = "--truncation cuts it";
  TextInputs in = read_inputs(session, texts, rules);
  const std::int64_t C = session.config.width;
  const bool by_token = settings.pooling == TextPooling::none;
  std::optional<EmbeddingFile> file;  // rank 0's, opened before anything is computed
  on_first_rank(session.grid.world(), session.stream, [&] {
    const EmbeddingKind kind = {o.model.model, o.pooling, settings.layer, C, o.normalize};
    const std::vector<std::int64_t> ones(in.documents.size(), 1);
    if (hdf5) file.emplace(o.texts.out, kind, in.documents, by_token ? in.lengths : ones);
  });
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "embed", fields, in.documents.size());
  session.load_weights();
  const ResultWriter::Write append = [&](std::size_t, const std::string& rows) {
    file->append(rows);
  };
  ResultWriter results = hdf5 ? ResultWriter(session, append, in.documents.size())
                              : ResultWriter(session, o.texts.out, in.documents.size());
  log.begin();
  const auto ended = caught_together([&] {
    embed_texts(session.ctx, session.config, *session.parameters, in.texts, settings,
                [&](std::size_t t, std::span<const float> x) {
                  if (!results.mine()) return;
                  const auto timed = time_as(session.ctx, TimeShare::data);
                  const std::size_t item = in.numbers[t];
                  const auto put = [&](std::string text) {
                    results.put(item, std::move(text), in.work(t));
                    log.progress(results.work());
                  };
                  if (hdf5) return put({reinterpret_cast<const char*>(x.data()), x.size_bytes()});
                  OrderedJson vectors = OrderedJson::array();
                  for (std::size_t at = 0; by_token && at < x.size();
                       at += static_cast<std::size_t>(C))
                    vectors.push_back(x.subspan(at, static_cast<std::size_t>(C)));
                  if (!by_token) vectors = x;
                  const Document& d = in.documents[item];
                  put(o.json() ? result_line(d, {{"embedding", vectors}})
                               : fmt::format("{}\t{:.6f}\n", printable(d.id), fmt::join(x, " ")));
                });
  });
  const auto stopped = failure_of([&] { results.finish(ended, log); });  // on all ranks alike
  on_first_rank(session.grid.world(), session.stream, [&] {
    if (file) file->close();
  });
  if (stopped) rethrow(*stopped);
  in.rejects.finish(session, o.texts.out, in.n_texts);
}

}  // namespace weft
