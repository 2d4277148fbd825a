// Samples that are documents: masked, or labelled.
#include <algorithm>

#include "core/check.h"
#include "core/rng.h"
#include "data/training_data.h"
#include "data/wrapping.h"
#include "model/label_head.h"

namespace weft {
namespace {

class TextData : public TrainingData {
 protected:
  TextData(const TokenFile& file, std::int64_t T, std::uint64_t seed)
      : TrainingData(file, T, seed), wrapping_(file.info().wrapping), room_(T - wrapping_.size()) {
    n_train_ = file.train_documents();
    n_val_ = file.info().n_documents - n_train_;
    CHECK_USER(
        room_ >= 1,
        "--context is {}; allowed: {} or more, since the tokenizer puts {} tokens around a text", T,
        wrapping_.size() + 1, wrapping_.size());
  }
  std::int64_t size(std::int64_t i) const { return file_.end(i) - file_.begin(i); }
  std::int64_t length(std::int64_t i) const override {
    return std::min(size(i), room_) + wrapping_.size();
  }

  // Writes pieces one behind another.
  struct Writer {
    Sample& sample;
    std::int64_t at = 0;
    void piece(const Wrapping::Piece& p) {
      if (sample.ids) std::copy(p.ids.begin(), p.ids.end(), sample.ids + at);
      if (sample.types) std::copy(p.types.begin(), p.types.end(), sample.types + at);
      at += p.size();
    }
    void text(const TokenFile& file, std::int64_t begin, std::int64_t n, std::int32_t type) {
      if (sample.ids) file.read(begin, n, sample.ids + at);
      if (sample.types) std::fill(sample.types + at, sample.types + at + n, type);
      at += n;
    }
  };

  const Wrapping wrapping_;
  std::int64_t room_;  // for content
};

class MaskedData : public TextData {
 public:
  MaskedData(const TokenFile& file, std::int64_t T, std::uint64_t seed, Masking masking)
      : TextData(file, T, seed), masking_(std::move(masking)) {}

 protected:
  void fill(std::int64_t i, std::int64_t place, Sample& sample) override {
    const std::int64_t n = std::min(size(i), room_),
                       begin = file_.begin(i) + first_token(size(i) - n, place);
    content_.resize(static_cast<std::size_t>(n));
    file_.read(begin, n, content_.data());
    Sample wrapped = sample;
    Writer writer{wrapped};
    writer.piece(wrapping_.before);
    const std::int64_t at = writer.at;
    if (sample.types) std::fill(sample.types + at, sample.types + at + n, wrapping_.first_type);
    writer.at += n;
    writer.piece(wrapping_.behind);
    sample.length = static_cast<std::int32_t>(writer.at);
    sample.n_labels = 0;
    for (std::int64_t t = 0; t < n; ++t) {
      const std::int32_t id = content_[static_cast<std::size_t>(t)];
      const Philox draw = draws(i, place, at + t);
      const bool drawn = !masking_.special[static_cast<std::size_t>(id)] &&
                         static_cast<double>(draw[0]) * 0x1p-32 < masking_.probability;
      sample.n_labels += drawn;
      if (sample.ids) sample.ids[at + t] = drawn ? masked(id, draw) : id;
      if (sample.labels && drawn) sample.labels[at + t] = id;
    }
  }

 private:
  // Where a document that is too long begins: 0 to `spare`.
  std::int64_t first_token(std::int64_t spare, std::int64_t place) const {
    if (spare == 0 || place == kValidation) return 0;
    return static_cast<std::int64_t>(
        mix64(mix64(seed_ ^ 0xC209) ^ mix64(static_cast<std::uint64_t>(place))) %
        static_cast<std::uint64_t>(spare + 1));
  }
  Philox draws(std::int64_t i, std::int64_t place, std::int64_t position) const {
    const bool val = place == kValidation;
    const auto what = static_cast<std::uint64_t>(val ? i : place);
    return philox(val ? 0x7A11DA7E : mix64(seed_ ^ 0x3A5C),
                  {static_cast<std::uint32_t>(what), static_cast<std::uint32_t>(what >> 32),
                   static_cast<std::uint32_t>(position), 0});
  }
  std::int32_t masked(std::int32_t id, const Philox& draw) const {
    const float kind = uniform(draw[1]);
    if (kind < 0.8f) return masking_.mask_id;
    if (kind >= 0.9f) return id;
    return static_cast<std::int32_t>(static_cast<std::uint64_t>(draw[2]) *
                                         static_cast<std::uint64_t>(file_.info().vocab_size) >>
                                     32);
  }

  Masking masking_;
  std::vector<std::int32_t> content_;
};

class LabelledData : public TextData {
 public:
  LabelledData(const TokenFile& file, std::int64_t T, std::uint64_t seed,
               std::vector<std::int32_t> classes, std::int32_t pad_id)
      : TextData(file, T, seed), classes_(std::move(classes)), pad_id_(pad_id) {}

 protected:
  void fill(std::int64_t i, std::int64_t, Sample& sample) override {
    const TokenFileInfo& info = file_.info();
    const std::int64_t begin = file_.begin(i), second = info.pairs ? file_.second(i) : file_.end(i);
    const auto [n_first, n_second] = longest_first(second - begin, file_.end(i) - second, room_);
    // The stage that has the labels may not be the one that has the tokens.
    const bool finds_end = pad_id_ >= 0 && (sample.labels || sample.targets);
    if (finds_end && !sample.ids) {
      ids_.resize(static_cast<std::size_t>(T_));
      sample.ids = ids_.data();
    }
    Writer writer{sample};
    writer.piece(wrapping_.before);
    writer.text(file_, begin, n_first, wrapping_.first_type);
    writer.piece(wrapping_.between);
    writer.text(file_, second, n_second, wrapping_.second_type);
    writer.piece(wrapping_.behind);
    sample.length = static_cast<std::int32_t>(writer.at);
    if (finds_end)
      sample.label_end = static_cast<std::int32_t>(
          classified_end(pad_id_, {sample.ids, static_cast<std::size_t>(writer.at)}));
    sample.n_labels = 1;
    const bool single = info.labels->single();
    if (sample.labels)
      *sample.labels = single ? classes_[static_cast<std::size_t>(file_.label(i))] : 0;
    if (!sample.targets || single) return;
    const std::span<const float> targets = file_.targets(i);
    for (std::size_t k = 0; k < targets.size(); ++k) sample.targets[classes_[k]] = targets[k];
  }

 private:
  std::vector<std::int32_t> classes_;
  std::int32_t pad_id_;
  std::vector<std::int32_t> ids_;
};

}  // namespace

std::unique_ptr<TrainingData> masked_data(const TokenFile& file, std::int64_t T, std::uint64_t seed,
                                          Masking masking) {
  return std::make_unique<MaskedData>(file, T, seed, std::move(masking));
}

std::unique_ptr<TrainingData> labelled_data(const TokenFile& file, std::int64_t T,
                                            std::uint64_t seed, std::vector<std::int32_t> classes,
                                            std::int32_t pad_id) {
  return std::make_unique<LabelledData>(file, T, seed, std::move(classes), pad_id);
}

std::int64_t longest_sample(const TokenFile& file) {
  std::int64_t longest = 1;
  for (std::int64_t i = 0; i < file.info().n_documents; ++i)
    longest = std::max(longest, file.end(i) - file.begin(i));
  return longest + file.info().wrapping.size();
}

}  // namespace weft
