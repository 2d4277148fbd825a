// The HDF5 file of maps, hidden states and logits: filled by all ranks, its name last.
#include "inspect/attention_file.h"

#include "tests/inspect/golden_text.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

std::vector<float> read(const Hdf5File& file, const std::string& name, const Dims& shape) {
  EXPECT_EQ(file.shape(name), shape) << name;
  std::vector<float> out(static_cast<std::size_t>(file.shape(name).elems()));
  file.read_all(name, View(out.data(), file.shape(name)));
  return out;
}

std::vector<double> slice(const std::vector<double>& all, std::int64_t begin, std::int64_t n) {
  return {all.begin() + begin, all.begin() + begin + n};
}

// Texts 0, 1, …, all the golden one, dealt to replicas, into `file`.
void write_texts(const GoldenText& text, GoldenModel& model, const CaptureChoice& choice,
                 const fs::path& place, std::size_t n) {
  std::vector<AttentionFileText> texts(n, {"some text", std::nullopt, {}});
  for (AttentionFileText& t : texts)
    for (const std::int32_t id : text.ids) t.tokens.push_back(std::to_string(id));
  texts[0].pair = "and another";
  AttentionFile file(model.ctx, place, "golden", model.config, choice, texts);
  AttentionCapture capture(model.ctx, model.config, model.parameters, choice, text.T());
  const auto dp = static_cast<std::size_t>(model.grid.shape().dp),
             mine = static_cast<std::size_t>(model.grid.dp().rank());
  for (std::size_t round = 0; round * dp < n; ++round) {
    const std::size_t t = round * dp + mine;
    if (t < n) capture.run(text.ids, text.types);
    file.write(t < n ? std::optional(t) : std::nullopt, capture);
  }
  if (model.grid.world().rank() == 0) {
    EXPECT_FALSE(fs::exists(place)) << "it has its name before all is in it";
  }
  file.put_in_place();
}

TEST(AttentionFile, HoldsWhatTheReferenceGives) {
  const GoldenText text("gemma2");
  const ModelConfig& c = text.config;
  const CaptureChoice choice = {
      .layers = {0, 3}, .heads = {1, 2}, .whole_layers = false, .hidden = true, .logit_rows = 3};
  const std::int64_t T = text.T(), C = c.width, V = c.vocab;
  const std::vector<double> maps = text.values("attention"), hidden = text.values("hidden"),
                            logits = text.values("logits");
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), c))
    for (const std::size_t n : {std::size_t{1}, std::size_t{3}}) {
      const SharedFolder folder;
      GoldenModel model(test_mpi().world(), shape, text);
      write_texts(text, model, choice, folder / "maps.h5", n);
      folder.barrier();
      const Hdf5File file = Hdf5File::open(folder / "maps.h5");
      for (std::size_t t = 0; t < n; ++t) {
        const std::string in = n == 1 ? "" : fmt::format("/text_{:03}", t);
        const std::string where = name_of(shape) + " " + in;
        for (const std::int64_t layer : choice.layers)
          for (std::int64_t s = 0; s < 2; ++s) {
            const std::vector<float> all =
                read(file, fmt::format("{}/layer_{:02}", in, layer), {2, T, T});
            for (std::int64_t e = 0; e < T * T; ++e)
              ASSERT_NEAR(
                  static_cast<double>(all[static_cast<std::size_t>(s * T * T + e)]),
                  maps[static_cast<std::size_t>(
                      (layer * c.heads + choice.heads[static_cast<std::size_t>(s)]) * T * T + e)],
                  1e-5)
                  << where;
          }
        for (std::int64_t l = 0; l <= c.layers; ++l)
          EXPECT_LT(relative_norm(read(file, fmt::format("{}/hidden_{:02}", in, l), {T, C}),
                                  slice(hidden, l * T * C, T * C)),
                    1e-5)
              << where << " hidden " << l;
        EXPECT_LT(relative_norm(read(file, in + "/logits", {T, V}), logits), 1e-5) << where;
        const std::string group = in.empty() ? "/" : in;
        EXPECT_EQ(file.string_attribute(group, "model"), "golden");
        EXPECT_EQ(file.string_attribute(group, "text"), "some text");
        EXPECT_EQ(file.has_attribute(group, "text_pair"), t == 0);
        EXPECT_TRUE(file.has_attribute(group, "layers") && file.has_attribute(group, "heads"));
        EXPECT_FALSE(file.exists(in + "/layer_01"));
        EXPECT_EQ(file.shape(in + "/tokens"), Dims{T});
      }
      folder.barrier();
    }
}

TEST(AttentionFile, MapsAloneUnlessMoreIsAskedFor) {
  const GoldenText text("llama3");
  const SharedFolder folder;
  GoldenModel model(test_mpi().world(), {1, 1, folder.size()}, text);
  const CaptureChoice choice = {
      .layers = {1}, .heads = {0}, .whole_layers = false, .hidden = false, .logit_rows = 0};
  write_texts(text, model, choice, folder / "maps.h5", 1);
  folder.barrier();
  const Hdf5File file = Hdf5File::open(folder / "maps.h5");
  EXPECT_EQ(file.list("/"), (std::vector<std::string>{"layer_01", "tokens"}));
}

TEST(AttentionFile, LeavesNothingWhereItIsNotFinished) {
  const GoldenText text("llama3");
  const SharedFolder folder;
  GoldenModel model(test_mpi().world(), {1, 1, folder.size()}, text);
  const CaptureChoice choice = {
      .layers = {0}, .heads = {0}, .whole_layers = false, .hidden = false, .logit_rows = 0};
  std::vector<AttentionFileText> texts = {{"a", std::nullopt, {"a"}}};
  { const AttentionFile file(model.ctx, folder / "maps.h5", "m", model.config, choice, texts); }
  folder.barrier();
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_THROW(AttentionFile(model.ctx, folder / "no/maps.h5", "m", model.config, choice, texts),
               UserError);
  EXPECT_THROW(AttentionFile(model.ctx, folder.path(), "m", model.config, choice, texts),
               UserError);
  folder.barrier();
}

// An attribute holds 64 KiB.
TEST(AttentionFile, ALongTextIsADataset) {
  const GoldenText text("llama3");
  const SharedFolder folder;
  GoldenModel model(test_mpi().world(), {1, 1, folder.size()}, text);
  const CaptureChoice choice = {
      .layers = {0}, .heads = {0}, .whole_layers = false, .hidden = false, .logit_rows = 0};
  std::vector<AttentionFileText> texts = {{std::string(200'000, 'x'), std::nullopt, {"a"}}};
  AttentionFile file(model.ctx, folder / "maps.h5", "m", model.config, choice, texts);
  file.put_in_place();
  folder.barrier();
  const Hdf5File in = Hdf5File::open(folder / "maps.h5");
  EXPECT_EQ(in.shape("/text"), Dims{1});
  EXPECT_FALSE(in.has_attribute("/", "text"));
  folder.barrier();
}

}  // namespace
}  // namespace weft::test
