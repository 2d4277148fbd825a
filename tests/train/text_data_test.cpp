// Documents as samples: what masking draws, how texts are wrapped and cut.
#include "data/training_data.h"
#include "data/wrapping.h"
#include "tests/io/token_file_alone.h"
#include "tests/train/runs.h"
#include "text/truncation.h"

namespace weft::test {
namespace {

constexpr std::int64_t kVocab = 100, kDocuments = 200, kSpecial = 5;
constexpr std::int32_t kMask = 4;

// Documents of 10 to 59 content tokens between 1 and 2; every tenth token is special.
TokenFile make_texts(const SharedFolder& folder) {
  const std::filesystem::path file = folder / "texts.h5";
  if (folder.rank() == 0) {
    TokenFilePart part;
    TokenFileInfo info;
    for (std::int64_t d = 0; d < kDocuments; ++d) {
      const std::int64_t n = 10 + d * 7 % 50;
      for (std::int64_t t = 0; t < n; ++t)
        part.tokens.push_back(static_cast<std::int32_t>(
            t % 10 == 9 ? 3 : kSpecial + (d * 31 + t * 17) % (kVocab - kSpecial)));
      part.document_lengths.push_back(n);
      info.n_tokens += n;
    }
    info.tokenizer_hash = std::string(32, '0');
    info.task = "mlm";
    info.vocab_size = kVocab;
    info.val_fraction = 0.1;
    info.n_documents = kDocuments;
    info.wrapping = {.before = {{1}, {0}}, .between = {}, .behind = {{2}, {0}}};
    test::write_token_file_alone(file, info, part);
  }
  folder.barrier();
  return TokenFile(file);
}

struct Filled {
  std::vector<std::int32_t> ids, labels;
  std::int32_t length = 0;
  std::int64_t n_labels = 0;
  bool operator==(const Filled&) const = default;
};
template <class Fill>
Filled filled(std::int64_t T, const Fill& fill) {
  Filled f = {std::vector<std::int32_t>(static_cast<std::size_t>(T)),
              std::vector<std::int32_t>(static_cast<std::size_t>(T), kIgnoreLabel)};
  Sample sample;
  sample.ids = f.ids.data();
  sample.labels = f.labels.data();
  fill(sample);
  f.length = sample.length;
  f.n_labels = sample.n_labels;
  return f;
}

TEST(MaskedData, DrawsAsTheCollatorOfTransformersDoes) {
  const SharedFolder folder;
  const TokenFile file = make_texts(folder);
  constexpr std::int64_t T = 40;
  Masking masking = {0.15, kMask, std::vector<std::uint8_t>(kVocab)};
  for (std::size_t i = 0; i < kSpecial; ++i) masking.special[i] = 1;
  const auto data = masked_data(file, T, 7, masking), again = masked_data(file, T, 7, masking),
             other = masked_data(file, T, 8, masking);
  ASSERT_EQ(data->n_train(), 180);
  ASSERT_EQ(data->n_val(), 20);
  double content = 0, drawn = 0, masks = 0, same = 0, differs = 0;
  for (std::int64_t place = 0; place < 20 * 180; ++place) {
    const Filled f = filled(T, [&](Sample& s) { data->train_sample(place, s); });
    EXPECT_EQ(f, filled(T, [&](Sample& s) { again->train_sample(place, s); }))
        << "a sample depends on seed and place alone";
    differs += f.ids != filled(T, [&](Sample& s) { other->train_sample(place, s); }).ids;
    Sample unseen;
    data->train_sample(place, unseen);
    EXPECT_EQ(unseen.n_labels, f.n_labels)
        << "ranks that have no use for a sample count its labels alike";
    EXPECT_EQ(f.ids[0], 1);
    EXPECT_EQ(f.ids[static_cast<std::size_t>(f.length) - 1], 2);
    std::int64_t labels = 0;
    for (std::size_t t = 0; t < T; ++t) {
      const std::int32_t id = f.ids[t], label = f.labels[t];
      labels += label != kIgnoreLabel;
      if (label == kIgnoreLabel) {
        content += id >= kSpecial;
        continue;
      }
      EXPECT_GE(label, kSpecial) << "special tokens are never drawn";
      ++content, ++drawn;
      masks += id == kMask;
      same += id == label;
    }
    EXPECT_EQ(labels, f.n_labels);
  }
  // Within five standard deviations; a random token is the mask, or the same, one time in a
  // hundred.
  EXPECT_NEAR(drawn / content, 0.15, 5 * std::sqrt(0.15 * 0.85 / content));
  EXPECT_NEAR(masks / drawn, 0.801, 5 * std::sqrt(0.16 / drawn));
  EXPECT_NEAR(same / drawn, 0.101, 5 * std::sqrt(0.09 / drawn));
  EXPECT_GT(differs, 3500);
  const Filled val = filled(T, [&](Sample& s) { data->val_sample(3, s); });
  EXPECT_EQ(val, filled(T, [&](Sample& s) { other->val_sample(3, s); }))
      << "validation is the same for every seed";
  std::vector<std::int32_t> begin(static_cast<std::size_t>(val.length - 2));
  file.read(file.begin(183), val.length - 2, begin.data());
  for (std::size_t t = 0; t < begin.size(); ++t)
    EXPECT_EQ(val.labels[t + 1] == kIgnoreLabel ? val.ids[t + 1] : val.labels[t + 1], begin[t]);
}

TEST(Wrapping, CutsAsTokenizersDoes) {
  const auto text = [](std::int64_t n) {
    const auto size = static_cast<std::size_t>(n);
    return Parts{Encoding{std::vector<std::int32_t>(size), std::vector<std::int32_t>(size),
                          std::vector<std::pair<std::int64_t, std::int64_t>>(size),
                          std::vector<std::uint8_t>(size), std::vector<std::uint8_t>(size)},
                 {}};
  };
  for (std::int64_t a = 0; a < 14; ++a)
    for (std::int64_t b = 0; b < 14; ++b)
      for (std::int64_t room = 0; room < 30; ++room) {
        Parts first = text(a), second = text(b);
        truncate(first, &second, {}, room);
        const auto kept = longest_first(a, b, room);
        EXPECT_EQ(kept.first, static_cast<std::int64_t>(first.first.ids.size()))
            << a << " " << b << " " << room;
        EXPECT_EQ(kept.second, static_cast<std::int64_t>(second.first.ids.size()))
            << a << " " << b << " " << room;
      }
}

}  // namespace
}  // namespace weft::test
