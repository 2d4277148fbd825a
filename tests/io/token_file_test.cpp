// Token files: written by all ranks, read by each on its own, split into training and validation,
// and refused when damaged.
#include "io/token_file.h"

#include <cmath>

#include "tests/io/shared_folder.h"
#include "tests/io/token_file_alone.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Document d has (d * d) % 23 + 1 tokens, of values that tell where they are; ranks own uneven
// parts.
struct Corpus {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> lengths, ends = {0};
  Corpus(std::int64_t n_documents, std::int64_t vocab) {
    for (std::int64_t d = 0; d < n_documents; ++d) {
      lengths.push_back(d * d % 23 + 1);
      for (std::int64_t i = 0; i < lengths.back(); ++i)
        tokens.push_back(
            static_cast<std::int32_t>((static_cast<std::int64_t>(tokens.size()) * 101) % vocab));
      ends.push_back(static_cast<std::int64_t>(tokens.size()));
    }
  }
  TokenFilePart part(int rank, int size) const {
    const auto n = static_cast<std::int64_t>(lengths.size());
    // The first rank has twice the share of others, the last may have none.
    const std::int64_t begin = rank == 0 ? 0 : std::min(n, (rank + 1) * n / size),
                       end = rank + 1 == size ? n : std::min(n, (rank + 2) * n / size);
    TokenFilePart p;
    p.first_document = begin;
    p.first_token = ends[static_cast<std::size_t>(begin)];
    p.document_lengths.assign(lengths.begin() + begin, lengths.begin() + end);
    p.tokens.assign(tokens.begin() + p.first_token,
                    tokens.begin() + ends[static_cast<std::size_t>(end)]);
    return p;
  }
  TokenFileInfo info(std::int64_t vocab, double val_fraction) const {
    TokenFileInfo i;
    i.tokenizer_hash = "abc123";
    i.vocab_size = vocab;
    i.val_fraction = val_fraction;
    i.n_tokens = static_cast<std::int64_t>(tokens.size());
    i.n_documents = static_cast<std::int64_t>(lengths.size());
    return i;
  }
};

void write(const SharedFolder& folder, const fs::path& file, const Corpus& corpus,
           const TokenFileInfo& info) {
  write_token_file(file, info, corpus.part(folder.rank(), folder.size()), folder.world(),
                   folder.stream());
}

TEST(TokenFile, RoundTrip) {
  for (const std::int64_t vocab :
       {std::int64_t{97}, std::int64_t{65536}, std::int64_t{65537}, std::int64_t{200'000}})
    for (const std::int64_t n_documents : {1, 2, 500}) {
      const SharedFolder folder;
      const fs::path file = folder / "tokens.h5";
      const Corpus corpus(n_documents, vocab);
      write(folder, file, corpus, corpus.info(vocab, 0));
      EXPECT_EQ(n_entries(folder.path()), 1);
      const TokenFile in(file);
      EXPECT_EQ(in.path(), file);
      EXPECT_EQ(in.info().tokenizer_hash, "abc123");
      EXPECT_EQ(in.info().vocab_size, vocab);
      EXPECT_EQ(in.info().task, "clm");
      EXPECT_EQ(in.info().n_documents, n_documents);
      ASSERT_EQ(in.info().n_tokens, static_cast<std::int64_t>(corpus.tokens.size()));
      EXPECT_EQ(in.train_tokens(), in.info().n_tokens);
      EXPECT_EQ(Hdf5File::open(file).dtype("/tokens"), vocab <= 65536 ? DType::u16 : DType::i32);
      std::vector<std::int32_t> back(corpus.tokens.size());
      in.read(0, in.info().n_tokens, back.data());
      EXPECT_EQ(back, corpus.tokens);
      if (n_documents < 500) continue;
      in.read(1234, 77, back.data());
      EXPECT_TRUE(std::equal(back.begin(), back.begin() + 77, corpus.tokens.begin() + 1234));
      in.read(in.info().n_tokens, 0, back.data());
      EXPECT_THROW(in.read(in.info().n_tokens - 1, 2, back.data()), Error);
      EXPECT_THROW(in.read(-1, 2, back.data()), Error);
    }
}

TEST(TokenFile, TheSplitFallsOnADocumentsEnd) {
  for (const double fraction : {0.001, 0.1, 0.5, 0.999}) {
    const SharedFolder folder;
    const fs::path file = folder / "tokens.h5";
    const Corpus corpus(200, 50);
    write(folder, file, corpus, corpus.info(50, fraction));
    const TokenFile in(file);
    EXPECT_TRUE(std::binary_search(corpus.ends.begin() + 1, corpus.ends.end(), in.train_tokens()))
        << in.train_tokens();
    EXPECT_NEAR(static_cast<double>(in.train_tokens()),
                static_cast<double>(in.info().n_tokens) * (1 - fraction), 23);
  }
}

TEST(TokenFile, TheOldFileStaysUntilTheNewOneIsWhole) {
  const SharedFolder folder;
  const fs::path file = folder / "tokens.h5";
  const Corpus corpus(20, 50);
  write(folder, file, corpus, corpus.info(50, 0));
  const auto write_wrong = [&](const auto& spoil) {
    TokenFilePart part = corpus.part(folder.rank(), folder.size());
    spoil(part);
    EXPECT_THROW(write_token_file(file, corpus.info(50, 0), part, folder.world(), folder.stream()),
                 Error);
    folder.barrier();
  };
  // On all ranks, as some have no documents.
  write_wrong([](TokenFilePart& part) { part.document_lengths.push_back(3); });
  write_wrong([](TokenFilePart& part) {
    part.document_lengths.push_back(1);
    part.tokens.push_back(50);  // outside the vocabulary
  });
  EXPECT_EQ(TokenFile(file).info().n_documents, 20);
  EXPECT_EQ(n_entries(folder.path()), 1);
}

// A file of the right kind in which one thing is wrong.
TEST(TokenFile, EveryFaultIsNamed) {
  const SharedFolder folder;
  const Corpus corpus(10, 50);
  const fs::path dir = folder.mine(), file = dir / "tokens.h5";
  const auto fresh = [&] {
    test::write_token_file_alone(file, corpus.info(50, 0), corpus.part(0, 1));
  };
  const auto broken = [&](auto change, std::initializer_list<std::string> words) {
    fresh();
    {
      Hdf5File out = Hdf5File::open_for_update(file);
      change(out);
      out.close();
    }
    expect_user_error(
        [&] {
          const TokenFile in(file);
          std::vector<std::int32_t> all(static_cast<std::size_t>(in.info().n_tokens));
          in.read(0, in.info().n_tokens, all.data());
        },
        words);
  };
  broken([](Hdf5File& f) { f.set_attribute("/", "format_version", std::int64_t{99}); },
         {"tokens.h5", "99"});
  broken([](Hdf5File& f) { f.set_attribute("/", "format_version", std::string("one")); },
         {"tokens.h5", "format_version"});
  broken([](Hdf5File& f) { f.set_attribute("/", "vocab_size", std::int64_t{-1}); },
         {"tokens.h5", "vocab_size"});
  broken([](Hdf5File& f) { f.set_attribute("/", "vocab_size", std::int64_t{10}); },
         {"tokens.h5", "vocabulary of 10"});
  broken([](Hdf5File& f) { f.set_attribute("/", "val_fraction", 1.0); },
         {"tokens.h5", "val_fraction"});
  broken([](Hdf5File& f) { f.set_attribute("/", "val_fraction", std::nan("")); },
         {"tokens.h5", "val_fraction"});
  const auto offset = [](std::int64_t at, std::int64_t value) {
    return [=](Hdf5File& f) {
      const FileRun run = {at, 0, 1};
      f.write("/document_offsets", ConstView(&value, Dims{1}), {&run, 1});
    };
  };
  broken(offset(0, 1), {"tokens.h5", "document_offsets"});
  broken(offset(10, 5), {"tokens.h5", "document_offsets"});
  broken(offset(3, 1 << 30), {"tokens.h5", "document_offsets"});
  fresh();
  {
    Hdf5File out = Hdf5File::create(file);
    out.create_dataset("/other", DType::f32, {1});
    out.close();
  }
  expect_user_error([&] { TokenFile in(file); }, {"tokens.h5", "not a token file"});
}

TEST(TokenFile, DamagedFilesNeverCrash) {
  const SharedFolder folder;
  const Corpus corpus(10, 50);
  const fs::path dir = folder.mine(), file = dir / "tokens.h5";
  test::write_token_file_alone(file, corpus.info(50, 0.2), corpus.part(0, 1));
  const std::string whole = get(file);
  const int refused =
      open_damaged(file, whole, 900, static_cast<std::uint64_t>(folder.rank()) + 50, [&] {
        const TokenFile in(file);
        std::vector<std::int32_t> all(static_cast<std::size_t>(in.info().n_tokens));
        in.read(0, in.info().n_tokens, all.data());
      });
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace weft
