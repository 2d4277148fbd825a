#include "infer/embed_texts.h"

#include <cstring>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/run_facts.h"
#include "cli/texts/serve_texts.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"
#include "inspect/map_page.h"
#include "io/embedding_file.h"
#include "io/files.h"
#include "model/limits.h"
#include "text/characters/chunks.h"

namespace weft {
namespace {

struct EmbedOptions : WholeTextOptions {
  std::string pooling = "mean";
  std::optional<std::int64_t> layer;
  bool normalize = false;
  std::optional<std::int64_t> chunk, overlap;
  std::string documents, plot;

  void visit(FieldVisitor& v) {
    WholeTextOptions::visit(v, "embed");
    v.field("pooling", pooling, kTextPoolings,
            "how a text's tokens become its vector (cls: the first; none: a vector for each)");
    v.field("layer", layer, Integers{-kMaxLayers - 1, kMaxLayers},
            "hidden states of this layer: 0 the embeddings, the number of layers (unset) the last, "
            "-1 the last, -2 the one before it");
    v.field("normalize", normalize, "vectors of length 1");
    v.field("chunk", chunk, Integers{1},
            "cut each text into pieces of so many characters at most, ID.0, ID.1, …: at the end of "
            "a paragraph, a line, a sentence or a word where one is near");
    v.field("overlap", overlap, Integers{0},
            "with --chunk: characters at most that a piece repeats of the one before it");
    v.field("documents", documents, kTextUnits,
            "what a text of a .txt file is (unset: line, with --chunk file)");
    v.field("plot", plot, "an HTML page (F.html) with the texts as dots in two dimensions");
  }
};

std::int64_t checked_layer(const EmbedOptions& o, const ModelConfig& c) {
  const std::int64_t given = o.layer.value_or(c.layers),
                     layer = given < 0 ? given + c.layers + 1 : given;
  CHECK_USER(layer >= 0 && layer <= c.layers, "--layer is {}; allowed: {} to {}", given,
             -c.layers - 1, c.layers);
  return layer;
}

// Of UserErrors: an overlap without pieces, or as long as they are.
std::optional<ChunkSize> checked_chunks(const EmbedOptions& o) {
  CHECK_USER(o.chunk || !o.overlap, "--overlap is {} without --chunk: texts stay whole",
             *o.overlap);
  if (!o.chunk) return std::nullopt;
  const ChunkSize size = {*o.chunk, o.overlap.value_or(0)};
  CHECK_USER(size.overlap < size.length, "--overlap is {}; allowed: 0 to {}, below --chunk",
             size.overlap, size.length - 1);
  return size;
}

std::vector<Document> pieces_of(const Document& d, const ChunkSize& size) {
  CHECK_USER(!d.pair, "text {} is a pair, which --chunk does not cut", d.id);
  std::vector<Document> all;
  for (const std::string_view piece : chunks(d.text, size)) {
    Document& p = all.emplace_back();
    p.text = piece;
    p.id = fmt::format("{}.{}", d.id, all.size() - 1);
    p.line = d.line;
    p.number = d.number;
  }
  return all;
}

// A text's vector, or its tokens', as a line of the results.
std::string line_of(const EmbedOptions& o, const Document& d, std::span<const float> x,
                    std::size_t width, bool by_token) {
  if (!o.json()) return fmt::format("{}\t{:.6f}\n", printable(d.id), fmt::join(x, " "));
  OrderedJson vectors = OrderedJson::array();
  for (std::size_t at = 0; by_token && at < x.size(); at += width)
    vectors.push_back(x.subspan(at, width));
  if (!by_token) vectors = x;
  return result_line(d, {{"embedding", vectors}});
}

constexpr std::size_t kLabelBytes = 256;  // of a text: more than the map shows

std::string label_of(const std::string& text) {
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t bytes = shown_character_at(text, end).bytes;
    if (end + bytes > kLabelBytes) break;
    end += bytes;
  }
  return text.substr(0, end);
}

std::string bytes_of(std::span<const float> x) {
  return {reinterpret_cast<const char*>(x.data()), x.size_bytes()};
}

// Rank 0's, of the vectors in the order of their texts: an HDF5 file or lines, and a map of them.
class VectorResults {
 public:
  VectorResults(const EmbedOptions& o, const TextInputs& in, std::optional<EmbeddingFile> file,
                std::int64_t width)
      : o_(o), in_(in), file_(std::move(file)), width_(static_cast<std::size_t>(width)) {}

  void take(std::size_t item, const std::string& bytes) {
    if (file_) file_->append(bytes);
    if (file_ && o_.plot.empty()) return;
    std::vector<float> x(bytes.size() / sizeof(float));
    std::memcpy(x.data(), bytes.data(), bytes.size());
    const Document& d = in_.documents[item];
    if (!file_ && !lines_) lines_.emplace(o_.texts.out);
    if (lines_) lines_->write(line_of(o_, d, x, width_, false));
    if (x.empty()) return;
    page_.points.push_back({label_of(d.text), d.id, 0, false});
    vectors_.insert(vectors_.end(), x.begin(), x.end());
  }
  void close(const Invocation& invocation) {
    if (file_) file_->close();
    if (lines_) lines_->close();
    if (o_.plot.empty() || page_.points.empty()) return;
    page_.title = fmt::format("texts in {}", o_.model.model);
    page_.what = "texts";
    page_.groups = {"texts"};
    page_.made_by = made_by();
    page_.command = command_line(invocation, "embed");
    write_map_page(page_, vectors_, static_cast<std::int64_t>(width_), o_.plot);
  }

 private:
  const EmbedOptions& o_;
  const TextInputs& in_;
  std::optional<EmbeddingFile> file_;
  std::optional<ResultFile> lines_;
  std::size_t width_;
  MapPage page_;
  std::vector<float> vectors_;
};

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
  CHECK_USER(o.plot.empty() || settings.pooling != TextPooling::none,
             "--plot shows a vector a text, but --pooling none gives one a token");
  const std::optional<ChunkSize> chunk_size = checked_chunks(o);
  check_place("--plot", o.plot);
  Session session(invocation, o.model, ModelUse::states);
  settings.layer = checked_layer(o, session.config);
  const bool hdf5 = std::filesystem::path(o.texts.out).extension() == ".h5";
  TextOptions texts = o.texts;
  if (hdf5) texts.out = "";  // which is for lines
  InputRules rules;
  rules.truncation = o.truncation.value;
  rules.way_out = "--truncation cuts it";
  if (chunk_size) {
    rules.unit = TextUnit::file;
    rules.pieces = [&](const Document& d) { return pieces_of(d, *chunk_size); };
  }
  if (!o.documents.empty()) rules.unit = text_unit(o.documents);
  const std::int64_t C = session.config.width;
  const bool by_token = settings.pooling == TextPooling::none;
  if (!hdf5 && o.plot.empty()) {
    TextTask task = {.what = "embed", .fields = fields, .rules = rules, .run = nullptr};
    task.run = [&](const TextInputs& in, const TextTask::Put& put) {
      const auto done = [&](std::size_t t, std::span<const float> x) {
        put(t, [&] {
          return line_of(o, in.documents[in.numbers[t]], x, static_cast<std::size_t>(C), by_token);
        });
      };
      return caught_together([&] {
        embed_texts(session.ctx, session.config, *session.parameters, in.texts, settings, done);
      });
    };
    return serve_texts(session, invocation, texts, task);
  }
  TextInputs in = read_inputs(session, texts, rules);
  std::optional<VectorResults> vectors;  // rank 0's, its file opened before anything is computed
  on_first_rank(session.grid.world(), session.stream, [&] {
    const EmbeddingKind kind = {o.model.model, o.pooling, settings.layer, C, o.normalize};
    const std::vector<std::int64_t> ones(in.documents.size(), 1);
    std::optional<EmbeddingFile> file;
    if (hdf5) file.emplace(o.texts.out, kind, in.documents, by_token ? in.lengths : ones);
    vectors.emplace(o, in, std::move(file), C);
  });
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "embed", fields, in.documents.size());
  session.load_weights();
  const ResultWriter::Write take = [&](std::size_t item, const std::string& bytes) {
    vectors->take(item, bytes);
  };
  ResultWriter results(session, take, in.documents.size());
  log.begin();
  const auto ended = caught_together([&] {
    embed_texts(session.ctx, session.config, *session.parameters, in.texts, settings,
                [&](std::size_t t, std::span<const float> x) {
                  if (!results.mine()) return;
                  const auto timed = time_as(session.ctx, TimeShare::data);
                  results.put(in.numbers[t], bytes_of(x), in.work(t));
                  log.progress(results.work());
                });
  });
  const auto stopped = results.finish(ended, log);
  on_first_rank(session.grid.world(), session.stream, [&] { vectors->close(invocation); });
  in.rejects.finish(session, o.texts.out, in.n_texts, stopped);
}

}  // namespace weft
