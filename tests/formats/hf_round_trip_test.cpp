// Hugging Face directories in and out: what is read, written and read again is the same to the bit,
// in one file and in shards, on every grid.
#include "formats/hf_export.h"
#include "formats/hf_weights.h"
#include "model/gather_parameter.h"
#include "tests/held_model.h"
#include "tests/io/shared_folder.h"
#include "tests/mpi_main.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

std::vector<std::vector<float>> weights(HeldModel& t) {
  std::vector<std::vector<float>> all;
  for (const Parameter& p : parameters_of(t.config))
    if (p.tied_to.empty())
      all.push_back(
          gather_parameter(p, t.parameters, t.config, t.grid, &LocalParameter::weight, t.stream));
  return all;
}

// ‖a - b‖ / ‖b‖
double relative_norm(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / std::max(size, 1e-60));
}

TEST(HfRoundTrip, InAndOutIsEqualOnEveryGridWholeAndInShards) {
  const SharedFolder folder;
  for (const std::string model : {"gpt2_h3", "gpt2_h5"}) {
    const ModelConfig config = read_hf_config(data_dir(model));
    for (const GridShape& shape : grids_of(folder.size(), config)) {
      HeldModel held(test_mpi().world(), shape, config);
      load_hf_weights(held.parameters, config, data_dir(model), held.stream);
      const auto in = weights(held);
      for (const std::int64_t limit :
           {kMaxShardBytes, std::int64_t{30'000}, std::int64_t{1}}) {  // 1: a file for every tensor
        const fs::path dir = folder / fmt::format("{}_{}", model, limit);
        save_hf_weights(held.parameters, config, held.grid, dir, DType::f32, limit, held.stream);
        folder.barrier();
        EXPECT_EQ(fs::exists(dir / "model.safetensors.index.json"), limit != kMaxShardBytes);
        const ModelConfig again = read_hf_config(dir);
        EXPECT_EQ(first_difference(again, config), "");
        HeldModel back(test_mpi().world(), shape, again);
        load_hf_weights(back.parameters, again, dir, back.stream);
        EXPECT_TRUE(weights(back) == in) << model << " " << name_of(shape) << " limit " << limit;
        folder.barrier();
      }
    }
  }
}

// 16-bit files lose bits once: what was written in them is read back and written again the same.
TEST(HfRoundTrip, SixteenBitsAreRoundedOnceOnly) {
  const SharedFolder folder;
  const ModelConfig config = read_hf_config(data_dir("gpt2_h3"));
  const GridShape shape =
      folder.size() == 4 ? GridShape{2, 2, 1} : GridShape{1, std::min(folder.size(), 3), 1};
  HeldModel held(test_mpi().world(), shape, config);
  load_hf_weights(held.parameters, config, data_dir("gpt2_h3"), held.stream);
  const auto in = weights(held);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const fs::path once = folder / fmt::format("once{}", static_cast<int>(dtype)),
                   twice = folder / fmt::format("twice{}", static_cast<int>(dtype));
    save_hf_weights(held.parameters, config, held.grid, once, dtype, kMaxShardBytes, held.stream);
    folder.barrier();
    HeldModel back(test_mpi().world(), shape, config);
    load_hf_weights(back.parameters, config, once, back.stream);
    save_hf_weights(back.parameters, config, back.grid, twice, dtype, kMaxShardBytes, back.stream);
    folder.barrier();
    EXPECT_EQ(get(once / "model.safetensors"), get(twice / "model.safetensors"));
    const auto out = weights(back);
    for (std::size_t i = 0; folder.rank() == 0 && i < in.size(); ++i)
      EXPECT_LT(relative_norm(out[i], in[i]), dtype == DType::bf16 ? 0x1p-8 : 0x1p-10) << i;
    folder.barrier();
  }
}

}  // namespace
}  // namespace weft::test
