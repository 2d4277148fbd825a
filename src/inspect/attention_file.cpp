#include "inspect/attention_file.h"

#include <algorithm>

#include "comm/agreement.h"

namespace weft {
namespace {

// Longer ones do not fit an attribute, whose limit is 64 KiB.
constexpr std::size_t kMaxAttribute = 60'000;

std::string layer_name(std::int64_t layer) { return fmt::format("/layer_{:02}", layer); }
std::string hidden_name(std::int64_t layer) { return fmt::format("/hidden_{:02}", layer); }
constexpr const char* kLogits = "/logits";

// Of a text's numbers and strings, and what HDF5 needs to find them.
std::int64_t bytes_of(const ModelConfig& config, const CaptureChoice& choice,
                      const AttentionFileText& text) {
  const auto T = static_cast<std::int64_t>(text.tokens.size()),
             S = static_cast<std::int64_t>(choice.heads.size()),
             L = static_cast<std::int64_t>(choice.layers.size());
  std::int64_t numbers = L * S * T * T, strings = static_cast<std::int64_t>(text.text.size());
  if (choice.hidden) numbers += (config.layers + 1) * T * config.width;
  if (choice.logit_rows > 0) numbers += T * config.vocab;
  for (const std::string& token : text.tokens)
    strings += static_cast<std::int64_t>(token.size()) + 16;
  return numbers * 4 + strings + 1024 * (L + config.layers + 8);
}

void put_text(Hdf5File& file, const std::string& folder, const std::string& name,
              const std::string& text) {
  if (text.size() <= kMaxAttribute)
    file.set_attribute(folder.empty() ? "/" : folder, name, text);
  else
    file.write_strings(folder + "/" + name, {text});
}

void make_text(Hdf5File& file, const std::string& folder, const std::string& model,
               const ModelConfig& config, const CaptureChoice& choice,
               const AttentionFileText& text) {
  const auto T = static_cast<std::int64_t>(text.tokens.size()),
             S = static_cast<std::int64_t>(choice.heads.size());
  for (const std::int64_t layer : choice.layers)
    file.create_dataset(folder + layer_name(layer), DType::f32, {S, T, T});
  for (std::int64_t layer = 0; choice.hidden && layer <= config.layers; ++layer)
    file.create_dataset(folder + hidden_name(layer), DType::f32, {T, config.width});
  if (choice.logit_rows > 0) file.create_dataset(folder + kLogits, DType::f32, {T, config.vocab});
  file.write_strings(folder + "/tokens", text.tokens);
  put_text(file, folder, "text", text.text);
  if (text.pair) put_text(file, folder, "text_pair", *text.pair);
  const std::string group = folder.empty() ? "/" : folder;
  file.set_attribute(group, "model", model);
  file.set_attribute(group, "layers", std::span(choice.layers));
  file.set_attribute(group, "heads", std::span(choice.heads));
}

}  // namespace

AttentionFile::AttentionFile(const Context& ctx, const std::filesystem::path& place,
                             const std::string& model, const ModelConfig& config,
                             const CaptureChoice& choice, std::span<const AttentionFileText> texts)
    : ctx_(ctx), config_(config), n_texts_(texts.size()) {
  on_first_rank(ctx.grid.world(), ctx.stream, [&] {
    check_place("--h5", place);
    std::int64_t bytes = 0;
    for (const AttentionFileText& text : texts) bytes += bytes_of(config, choice, text);
    beside_.emplace(place).reserve(bytes);
    Hdf5File file = Hdf5File::create(beside_->path());
    for (std::size_t t = 0; t < texts.size(); ++t)
      make_text(file, folder_of(t), model, config, choice, texts[t]);
    file.set_attribute("/", "model", model);
    file.close();
  });
}

std::string AttentionFile::folder_of(std::size_t text) const {
  return n_texts_ == 1 ? "" : fmt::format("/text_{:03}", text);
}

void AttentionFile::write(std::optional<std::size_t> text, AttentionCapture& capture) {
  const std::int64_t T = capture.n_tokens(), C = config_.width;
  Hdf5File::fill_together(
      beside_ ? beside_->path() : "", ctx_.grid.world(), ctx_.stream, [&](Hdf5File& file) {
        if (!text) return;
        const std::string folder = folder_of(*text);
        capture.each_own_map([&](std::size_t layer, std::size_t head, ConstView map) {
          const FileRun run = {static_cast<std::int64_t>(head) * T * T, 0, T * T};
          file.write(folder + layer_name(capture.choice().layers[layer]), map, {&run, 1});
        });
        capture.each_own_hidden([&](std::int64_t layer, std::int64_t first, ConstView rows) {
          const FileRun run = {first * C, 0, rows.elems()};
          file.write(folder + hidden_name(layer), rows, {&run, 1});
        });
      });
  if (capture.choice().logit_rows > 0) write_logits(text, capture);
}

// Some rows of all the vocabulary at a time, which the last stage's ranks share.
void AttentionFile::write_logits(std::optional<std::size_t> text, AttentionCapture& capture) {
  const Grid& grid = ctx_.grid;
  const std::int64_t T = text ? capture.n_tokens() : 0, each = capture.choice().logit_rows,
                     V = config_.vocab;
  const std::int64_t pieces =
      grid.world().all_reduce_value((T + each - 1) / each, ReduceOp::max, ctx_.stream);
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    const Range rows = {std::min(T, piece * each), std::min(T, (piece + 1) * each)};
    const ConstView logits = rows.size() > 0 ? capture.logits(rows) : ConstView();
    Hdf5File::fill_together(
        beside_ ? beside_->path() : "", grid.world(), ctx_.stream, [&](Hdf5File& file) {
          if (logits.empty()) return;
          const Range mine = split_range(rows.size(), grid.shape().tp, grid.tp().rank());
          if (mine.size() == 0) return;
          const FileRun run = {(rows.begin + mine.begin) * V, mine.begin * V, mine.size() * V};
          file.write(folder_of(*text) + kLogits, logits, {&run, 1});
        });
  }
}

void AttentionFile::put_in_place() {
  on_first_rank(ctx_.grid.world(), ctx_.stream, [&] { beside_->put_in_place(); });
}

}  // namespace weft
