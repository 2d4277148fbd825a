// A config that was written and read again is the one that was made, for every width: else its run
// could not go on (1/√D in fp32 and in double differ for D = 24).
#include <gtest/gtest.h>

#include "formats/families/families.h"
#include "model/attention_scale.h"
#include "train/task.h"

namespace weft::test {
namespace {

TEST(Widths, AFreshModelIsWhatItsFileSays) {
  int made = 0;
  for (const Family& row : families()) {
    if (row.name.ends_with("roberta")) continue;  // counts positions from a pad token: none here
    const std::string& name = row.name;
    for (std::int64_t D = 1; D <= 512; ++D)
      for (const std::int64_t heads : {1, 3}) {
        TrainOptions o;
        o.family = name;
        o.layers = 2;
        o.heads = heads;
        o.width = D * heads;
        o.dropout = 0.1;
        ModelConfig made_config;
        try {
          made_config = fresh_model(o, 300, std::nullopt);
        } catch (const UserError&) {
          ASSERT_TRUE(D % 2 == 1) << name << " refuses a head of " << D;
          continue;
        }
        ++made;
        set_head(made_config,
                 made_config.causal ? HeadKind::causal_lm : HeadKind::masked_lm);  // as set_task
        ASSERT_EQ(made_config.attention_scale, static_cast<float>(1.0 / std::sqrt(double(D))));
        const Json file = parse_json(json_text(write_hf_config(made_config)));
        ASSERT_EQ(first_difference(config_from_json(file, "config.json"), made_config), "")
            << name << ", head width " << D << ", " << heads << " heads";
      }
  }
  EXPECT_GT(made, 11 * 512);
}

}  // namespace
}  // namespace weft::test
