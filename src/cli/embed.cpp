#include "infer/embed_texts.h"

#include <cstring>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/text_inputs.h"
#include "core/check.h"
#include "io/hdf5.h"
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

// /embeddings (n, C) fp32, /ids: a text's id a line; without pooling also /offsets (n + 1) i64,
// where each text's rows begin.
void write_hdf5(const std::string& out, const std::vector<Document>& documents, std::int64_t C,
                bool by_token, const std::vector<std::string>& items) {
  std::vector<std::int64_t> offsets = {0};
  std::string ids;
  for (std::size_t i = 0; i < items.size(); ++i) {
    offsets.push_back(offsets.back() +
                      static_cast<std::int64_t>(items[i].size() / sizeof(float)) / C);
    ids += documents[i].id + "\n";
  }
  const std::string beside = out + ".tmp";
  Hdf5File file = Hdf5File::create(beside);
  file.create_dataset("/embeddings", DType::f32, {offsets.back(), C});
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto n = static_cast<std::int64_t>(items[i].size() / sizeof(float));
    if (n == 0) continue;
    std::vector<float> rows(static_cast<std::size_t>(n));
    std::memcpy(rows.data(), items[i].data(), items[i].size());
    const FileRun run = {offsets[i] * C, 0, n};
    file.write("/embeddings", ConstView(rows.data(), Dims{n}), std::span(&run, 1));
  }
  if (by_token) {
    const auto n = static_cast<std::int64_t>(offsets.size());
    file.create_dataset("/offsets", DType::i64, {n});
    const FileRun run = {0, 0, n};
    file.write("/offsets", ConstView(offsets.data(), Dims{n}), std::span(&run, 1));
  }
  file.write_text("/ids", ids);
  file.close();
  put_in_place(beside, out);
}

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
  const TextInputs in = read_inputs(session, texts, {}, o.truncation);
  session.load_weights();
  const std::int64_t C = session.config.width;
  const bool by_token = settings.pooling == TextPooling::none;
  const std::size_t n_items = in.documents.size();
  ResultWriter results = hdf5 ? ResultWriter(
                                    session,
                                    [&](std::vector<std::string> items) {
                                      write_hdf5(o.texts.out, in.documents, C, by_token, items);
                                    },
                                    n_items)
                              : ResultWriter(session, o.texts.out, n_items);
  embed_texts(
      session.ctx, session.config, *session.parameters, in.texts, settings,
      [&](std::size_t t, std::span<const float> x) {
        if (!results.mine()) return;
        const std::size_t item = in.numbers[t];
        if (hdf5)
          return results.put(item,
                             std::string(reinterpret_cast<const char*>(x.data()), x.size_bytes()));
        OrderedJson vectors = OrderedJson::array();
        for (std::size_t at = 0; by_token && at < x.size(); at += static_cast<std::size_t>(C))
          vectors.push_back(x.subspan(at, static_cast<std::size_t>(C)));
        if (!by_token) vectors = x;
        const std::string& id = in.documents[item].id;
        if (o.json())
          return results.put(item, OrderedJson({{"id", id}, {"embedding", vectors}}).dump() + "\n");
        results.put(item, fmt::format("{}\t{:.6f}\n", id, fmt::join(x, " ")));
      });
  results.finish();
}

}  // namespace weft
