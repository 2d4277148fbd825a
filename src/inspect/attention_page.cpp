#include "inspect/attention_page.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/parallel.h"
#include "inspect/page_templates.h"
#include "model/config.h"

namespace weft {
namespace {

constexpr double kMostWeights = 6.6e6, kMostVectors = 5e6, kMostOfAll = 7e6;  // bytes before base64
constexpr std::int64_t kFewest = 4, kMany = 256;  // weights of a row, where not all are kept
constexpr std::uint16_t kNone = 65535;            // no index

std::uint16_t fraction(float weight) {
  return static_cast<std::uint16_t>(std::lround(std::clamp(weight, 0.0f, 1.0f) * 65535.0f));
}

template <class T>
std::string as_base64(const std::vector<T>& values) {
  return base64(std::as_bytes(std::span(values)));
}

// All weights of a layer.
std::vector<std::uint16_t> whole_maps(ConstView maps) {
  const float* from = maps.as<float>();
  std::vector<std::uint16_t> out(static_cast<std::size_t>(maps.elems()));
  std::transform(from, from + maps.elems(), out.begin(), fraction);
  return out;
}

// The `largest` of each row: their indices, weights, and what is left of the row.
std::vector<std::uint16_t> largest_of_maps(ConstView maps, std::int64_t largest) {
  const std::int64_t T = maps.dim(2), rows = maps.dim(0) * T;
  std::vector<std::uint16_t> out(static_cast<std::size_t>(rows * (2 * largest + 1)));
  std::uint16_t *indices = out.data(), *weights = indices + rows * largest,
                *rest = weights + rows * largest;
  std::vector<std::int32_t> order(static_cast<std::size_t>(T));
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = maps.as<float>() + r * T;
    std::iota(order.begin(), order.end(), 0);
    const std::int64_t n = std::min(largest, T);
    std::partial_sort(
        order.begin(), order.begin() + n, order.end(),
        [&](std::int32_t a, std::int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    double kept = 0, all = 0;
    for (std::int64_t j = 0; j < T; ++j) all += static_cast<double>(row[j]);
    for (std::int64_t i = 0; i < largest; ++i) {
      const std::int32_t j = i < n ? order[static_cast<std::size_t>(i)] : 0;
      const bool any = i < n && row[j] > 0;
      indices[r * largest + i] = any ? static_cast<std::uint16_t>(j) : kNone;
      weights[r * largest + i] = any ? fraction(row[j]) : std::uint16_t{0};
      kept += any ? static_cast<double>(row[j]) : 0;
    }
    rest[r] = fraction(static_cast<float>(all - kept));
  }
  return out;
}

std::vector<std::uint16_t> halves(ConstView q, ConstView k) {
  std::vector<std::uint16_t> out;
  out.reserve(static_cast<std::size_t>(q.elems() + k.elems()));
  for (const ConstView& x : {q, k})
    for (std::int64_t i = 0; i < x.elems(); ++i) out.push_back(to_float16(x.as<float>()[i]).bits);
  return out;
}

// The statistic `of` of each head, a list a layer.
OrderedJson table(std::span<const HeadStatistics> all, std::size_t layers,
                  double HeadStatistics::*of) {
  OrderedJson rows = OrderedJson::array();
  const std::size_t heads = all.size() / layers;
  for (std::size_t at = 0; at < all.size(); at += heads) {
    OrderedJson row = OrderedJson::array();
    for (const HeadStatistics& s : all.subspan(at, heads)) row.push_back(s.*of);
    rows.push_back(row);
  }
  return rows;
}

OrderedJson or_null(const std::optional<std::int64_t>& n) {
  return n ? OrderedJson(*n) : OrderedJson();
}

}  // namespace

PageRoom page_room(const PageModel& model, const ModelConfig& config,
                   std::span<const std::int64_t> n_tokens, double share) {
  const auto L = static_cast<double>(model.layers.size()),
             S = static_cast<double>(model.heads.size());
  const double key_heads = std::min(S, static_cast<double>(config.kv_heads));
  double weights = 0, rows = 0, vectors = 0;
  std::int64_t longest = 0;
  for (const std::int64_t n : n_tokens) {
    const auto T = static_cast<double>(n);
    weights += 2 * L * S * T * T;
    rows += L * S * T;
    vectors += 2 * L * T * (S + key_heads) * static_cast<double>(config.head_dim);
    longest = std::max(longest, n);
  }
  PageRoom room;
  if (weights > share * kMostWeights) {
    const double most = (share * kMostWeights / rows - 2) / 4;  // 4 bytes a weight, 2 for the rest
    room.largest = std::clamp(static_cast<std::int64_t>(most), kFewest,
                              std::max(kFewest, std::min(kMany, longest)));
    weights = rows * static_cast<double>(4 * room.largest + 2);
  }
  room.vectors = vectors <= share * kMostVectors &&
                 (room.largest == 0 || weights + vectors <= share * kMostOfAll);
  return room;
}

AttentionView::AttentionView(const ModelConfig& config, PageRoom room, const AttentionText& shown,
                             std::optional<std::int64_t> prompt_tokens)
    : room_(room),
      view_({{"name", shown.name},
             {"text", shown.text},
             {"tokens", shown.tokens},
             {"ids", shown.ids},
             {"offsets", shown.offsets},
             {"words", shown.words},
             {"pair_from", or_null(shown.pair_from)},
             {"prompt_tokens", or_null(prompt_tokens)},
             {"scale", OrderedJson::array()},
             {"windows", OrderedJson::array()},
             {"softcap", config.attention_softcap},
             {"maps", {{"k", room.largest}, {"blobs", OrderedJson::array()}}},
             {"vectors", OrderedJson::object()}}) {
  if (!room_.vectors)
    view_["vectors"]["missing"] =
        "Queries and keys would make the page too large; --layers and --heads choose fewer.";
}

void AttentionView::add_layer(const LayerCapture& capture) {
  view_["scale"].push_back(capture.scale);
  view_["windows"].push_back(capture.window);
  view_["maps"]["blobs"].push_back(as_base64(room_.largest == 0
                                                 ? whole_maps(capture.maps)
                                                 : largest_of_maps(capture.maps, room_.largest)));
  if (!room_.vectors) return;
  OrderedJson& vectors = view_["vectors"];
  if (vectors.empty())
    vectors = {
        {"blobs", OrderedJson::array()}, {"kv_of", capture.kv_of}, {"n_kv", capture.k.dim(1)}};
  vectors["blobs"].push_back(as_base64(halves(capture.q, capture.k)));
}

std::string AttentionView::packed(std::span<const HeadStatistics> statistics) {
  const std::size_t layers = view_["scale"].size();
  view_["entropy"] = table(statistics, layers, &HeadStatistics::entropy);
  view_["first_share"] = table(statistics, layers, &HeadStatistics::first_share);
  view_["distance"] = table(statistics, layers, &HeadStatistics::distance);
  return json_text(view_);
}

AttentionPage::AttentionPage(const About& about, std::size_t n_texts)
    : page_(kAttentionPage),
      header_({{"format", 1},
               {"title", about.title},
               {"made_by", about.made_by},
               {"command", about.command},
               {"models", OrderedJson::array()},
               {"texts", OrderedJson::array()}}),
      texts_(n_texts) {}

void AttentionPage::add_model(const PageModel& model, const ModelConfig& config) {
  header_["models"].push_back({{"name", model.name},
                               {"family", config.family},
                               {"layers", config.layers},
                               {"heads", config.heads},
                               {"kv_heads", config.kv_heads},
                               {"head_dim", config.head_dim},
                               {"causal", config.causal},
                               {"shown_layers", model.layers},
                               {"shown_heads", model.heads}});
}

void AttentionPage::add_view(std::size_t text, const std::string& packed) {
  OrderedJson view = parse_ordered_json(packed);
  for (const char* of : {"maps", "vectors"})
    if (view[of].contains("blobs"))
      for (OrderedJson& blob : view[of]["blobs"])
        blob = page_.add_base64(std::move(blob.get_ref<std::string&>()));
  OrderedJson& shown = texts_[text];
  if (shown.is_null())
    shown = {{"name", view["name"]}, {"text", view["text"]}, {"views", OrderedJson::array()}};
  view.erase("name");
  view.erase("text");
  if (shown["views"].size() + 1 == header_["models"].size())
    shown["views"].push_back(std::move(view));
}

std::size_t AttentionPage::write(const std::filesystem::path& file) {
  for (OrderedJson& text : texts_)
    if (!text.is_null() && text["views"].size() == header_["models"].size())
      header_["texts"].push_back(std::move(text));
  if (!header_["texts"].empty()) page_.write(file, header_);
  return header_["texts"].size();
}

}  // namespace weft
