// Says where two token files differ, in datasets or attributes. Exit 0: equal; 1: they differ;
// prints what the first holds.
#include <fmt/format.h>

#include "io/token_file.h"

int main(int argc, char** argv) {
  using namespace weft;
  if (argc != 3) return 2;
  const TokenFile a(argv[1]), b(argv[2]);
  const TokenFileInfo &x = a.info(), &y = b.info();
  bool same = true;
  const auto equal = [&](const char* what, const auto& left, const auto& right) {
    if (left == right) return;
    fmt::print("{} differs\n", what);
    same = false;
  };
  equal("n_tokens", x.n_tokens, y.n_tokens);
  equal("n_documents", x.n_documents, y.n_documents);
  equal("tokenizer_hash", x.tokenizer_hash, y.tokenizer_hash);
  equal("tokenizer", x.tokenizer, y.tokenizer);
  equal("vocab_size", x.vocab_size, y.vocab_size);
  equal("val_fraction", x.val_fraction, y.val_fraction);
  equal("task", x.task, y.task);
  if (!same) return 1;
  const Hdf5File files[2] = {Hdf5File::open(argv[1]), Hdf5File::open(argv[2])};
  equal("members", files[0].list("/"), files[1].list("/"));
  equal("dtype of tokens", files[0].dtype("/tokens"), files[1].dtype("/tokens"));
  std::vector<std::int64_t> offsets[2];
  std::vector<std::int32_t> tokens[2];
  for (int i = 0; i < 2; ++i) {
    offsets[i].resize(static_cast<std::size_t>(x.n_documents + 1));
    files[i].read_all("/document_offsets", View(offsets[i].data(), Dims{x.n_documents + 1}));
    tokens[i].resize(static_cast<std::size_t>(x.n_tokens));
    (i == 0 ? a : b).read(0, x.n_tokens, tokens[i].data());
  }
  equal("document_offsets", offsets[0], offsets[1]);
  equal("tokens", tokens[0], tokens[1]);
  fmt::print("{} documents, {} tokens\n", x.n_documents, x.n_tokens);
  return same ? 0 : 1;
}
