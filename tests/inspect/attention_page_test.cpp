// What a page holds, read back as its scripts read it (tests/inspect/page has them in a browser).
#include "inspect/attention_page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "inspect/map_page.h"
#include "inspect/token_page.h"
#include "model/config.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

class Page : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("weft_page_" + std::to_string(getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path file() const { return folder_ / "view.html"; }
  std::string text() const {
    std::ifstream in(file());
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  }
  // What stands in the script element `id`.
  std::string element(const std::string& id) const {
    const std::string page = text(), begin = "<script id=\"" + id + "\" type=\"";
    std::size_t at = page.find(begin);
    EXPECT_NE(at, std::string::npos) << id;
    at = page.find('>', at) + 1;
    return page.substr(at, page.find("</script>", at) - at);
  }
  std::vector<std::uint16_t> blob(const std::string& id) const {
    static const std::string digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    std::uint32_t bits = 0;
    int n = 0;
    for (const char c : element(id)) {
      if (c == '=') break;
      bits = bits << 6 | static_cast<std::uint32_t>(digits.find(c));
      n += 6;
      if (n >= 8) bytes += static_cast<char>(bits >> (n -= 8) & 255);
    }
    std::vector<std::uint16_t> values(bytes.size() / 2);
    std::memcpy(values.data(), bytes.data(), 2 * values.size());
    return values;
  }
  fs::path folder_;
};

ModelConfig config_of(std::int64_t layers, std::int64_t heads) {
  ModelConfig c;
  c.layers = layers;
  c.heads = c.kv_heads = heads;
  c.head_dim = 64;
  return c;
}

AttentionText text_of(std::int64_t T) {
  AttentionText t;
  t.name = "1";
  for (std::int64_t i = 0; i < T; ++i) {
    t.tokens.push_back(i == 0 ? "</script><b>\"&é" : "t" + std::to_string(i));
    t.text += t.tokens.back();
    t.ids.push_back(static_cast<std::int32_t>(i));
    t.offsets.emplace_back(i, i + 1);
    t.words.push_back(i);
  }
  return t;
}

// Row i: weights that fall with the distance, causal, each row's sum 1.
std::vector<float> falling_maps(std::int64_t S, std::int64_t T) {
  std::vector<float> maps(static_cast<std::size_t>(S * T * T));
  for (std::int64_t s = 0; s < S; ++s)
    for (std::int64_t i = 0; i < T; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j <= i; ++j)
        sum += std::exp(-0.02 * static_cast<double>((s + 1) * (i - j)));
      for (std::int64_t j = 0; j <= i; ++j)
        maps[static_cast<std::size_t>((s * T + i) * T + j)] =
            static_cast<float>(std::exp(-0.02 * static_cast<double>((s + 1) * (i - j))) / sum);
    }
  return maps;
}

// A page of one text; every layer has the same maps.
void write_page_of(const fs::path& file, std::int64_t L, std::int64_t S, std::int64_t T) {
  const ModelConfig config = config_of(L, S);
  PageModel model = {"made/up", {}, {}};
  for (std::int64_t l = 0; l < L; ++l) model.layers.push_back(l);
  for (std::int64_t s = 0; s < S; ++s) model.heads.push_back(s);
  const PageRoom room = page_room(model, config, std::vector<std::int64_t>{T}, 1);
  AttentionView view(config, room, text_of(T));
  const std::vector<float> maps = falling_maps(S, T);
  std::vector<float> q(static_cast<std::size_t>(T * S * 64), 0.5f), k = q;
  k[1] = -3.25f;
  const std::vector<std::int64_t> kv_of = model.heads;
  for (std::int64_t l = 0; l < L; ++l)
    view.add_layer({.layer = l,
                    .maps = ConstView(maps.data(), Dims{S, T, T}),
                    .q = ConstView(q.data(), Dims{T, S, 64}),
                    .k = ConstView(k.data(), Dims{T, S, 64}),
                    .kv_of = kv_of,
                    .scale = 0.125f});
  AttentionPage page({"a title", "weft", "weft attention"}, 1);
  page.add_model(model, config);
  page.add_view(0, view.packed(std::vector<HeadStatistics>(static_cast<std::size_t>(L * S))));
  EXPECT_EQ(page.write(file), 1u);
}

TEST_F(Page, HoldsAllWeightsOfAShortText) {
  write_page_of(file(), 2, 3, 5);
  const Json header = parse_json(element("weft"));
  const Json& view = header["texts"][0]["views"][0];
  EXPECT_EQ(view["tokens"][0], "</script><b>\"&é");
  EXPECT_EQ(view["maps"]["k"], 0);
  ASSERT_EQ(view["maps"]["blobs"].size(), 2u);
  EXPECT_EQ(view["entropy"].size(), 2u);
  EXPECT_EQ(view["entropy"][0].size(), 3u);
  const std::vector<std::uint16_t> weights = blob(view["maps"]["blobs"][1].get<std::string>());
  const std::vector<float> maps = falling_maps(3, 5);
  ASSERT_EQ(weights.size(), maps.size());
  for (std::size_t i = 0; i < maps.size(); ++i)
    EXPECT_NEAR(weights[i] / 65535.0, maps[i], 0.5001 / 65535);
  const std::vector<std::uint16_t> vectors = blob(view["vectors"]["blobs"][0].get<std::string>());
  ASSERT_EQ(vectors.size(), 2u * 5 * 3 * 64);
  EXPECT_EQ(to_float(Float16{vectors[0]}), 0.5f);
  EXPECT_EQ(to_float(Float16{vectors[5 * 3 * 64 + 1]}), -3.25f);
}

TEST_F(Page, KeepsTheLargestOfLongTextsWithin10MB) {
  write_page_of(file(), 12, 12, 512);
  EXPECT_LT(fs::file_size(file()), 10'000'000u);
  const Json header = parse_json(element("weft"));
  const Json& view = header["texts"][0]["views"][0];
  const auto k = view["maps"]["k"].get<std::size_t>();
  EXPECT_GE(k, 16u);
  EXPECT_TRUE(view["vectors"].contains("missing"));
  const std::vector<std::uint16_t> all = blob(view["maps"]["blobs"][0].get<std::string>());
  const std::size_t rows = 12 * 512;
  ASSERT_EQ(all.size(), rows * (2 * k + 1));
  const std::vector<float> maps = falling_maps(12, 512);
  for (const std::size_t row : {std::size_t{0}, std::size_t{3}, std::size_t{300}, rows - 1}) {
    double kept = 0;
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t n_seen = row % 512 + 1;
      const std::uint16_t index = all[row * k + i], weight = all[(rows + row) * k + i];
      if (i >= n_seen) {
        EXPECT_EQ(index, 65535);
        continue;
      }
      EXPECT_EQ(index, row % 512 - i);  // weights fall with the distance
      EXPECT_NEAR(weight / 65535.0, maps[row * 512 + index], 0.5001 / 65535);
      kept += static_cast<double>(maps[row * 512 + index]);
    }
    EXPECT_NEAR(all[2 * rows * k + row] / 65535.0, 1 - kept, 1e-5);
  }
}

TEST_F(Page, RoomForManyTokensOfOneHead) {
  const PageModel model = {"m", {0}, {0}};
  const PageRoom room = page_room(model, config_of(1, 1), std::vector<std::int64_t>{4096}, 1);
  EXPECT_EQ(room.largest, 256);
  EXPECT_TRUE(room.vectors);
  EXPECT_EQ(page_room(model, config_of(1, 1), std::vector<std::int64_t>{128}, 1).largest, 0);
}

TEST_F(Page, AMapOfPointsAndATextOfTokens) {
  MapPage map;
  map.title = "dots <&>";
  map.what = "tokens";
  map.groups = {"a"};
  map.points = {{"<i>", "1", 0, true}, {"b", "2", 0, false}, {"c", "3", 0, false}};
  write_map_page(map, std::vector<float>{0, 0, 3, 4, 6, 8}, 2, file());
  const Json header = parse_json(element("weft"));
  EXPECT_EQ(header["points"][0]["label"], "<i>");
  EXPECT_NEAR(header["explained"][0].get<double>(), 1, 1e-9);
  const std::vector<std::uint16_t> halves = blob("b0");
  std::vector<float> places(6);
  std::memcpy(places.data(), halves.data(), 24);
  EXPECT_NEAR(places[4] - places[0], 10, 1e-5);
  EXPECT_THROW(write_map_page(map, std::vector<float>{0, 0, 3, 4, 6, NAN}, 2, file()), UserError);

  write_token_page({"weft", "weft tokenize", "bpe", {text_of(3)}}, file());
  const std::string page = text();
  EXPECT_NE(page.find("&lt;/script&gt;&lt;b&gt;&quot;&amp;é</span>"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
}

}  // namespace
}  // namespace weft
