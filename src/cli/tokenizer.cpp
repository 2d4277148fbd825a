#include "cli/command.h"
#include "cli/options.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "io/documents.h"
#include "text/files/tokenizer_files.h"
#include "text/learn/trainer.h"

namespace weft {
namespace {

struct TokenizerOptions {
  std::vector<std::string> inputs, special_tokens;
  std::string kind = "bpe", field, format, quotes, documents = "line", out;
  std::string unk_token, mask_token, pad_token, cls_token, sep_token;
  std::int64_t vocab_size = 8192;
  bool json = false;

  void visit(FieldVisitor& v) {
    v.group("tokenizer");
    v.field("kind", kind, trainer_kinds(),
            "what tokens are (bpe byte level, as GPT-2's; wordpiece as BERT's; unigram as "
            "SentencePiece's; codon for DNA and RNA; smiles for molecules)");
    v.field("vocab_size", vocab_size, Integers{1, kMaxVocabSize}, "tokens at most");
    v.field("special_tokens", special_tokens,
            "special tokens, the end token first (repeatable); unset: <|endoftext|> and what the "
            "kind needs");
    v.field("unk_token", unk_token,
            "the special token for what is not in the vocabulary; unset: <unk> or [UNK]");
    v.field("mask_token", mask_token,
            "the special token that fill and --task mlm put for others; unset: <mask> or [MASK] "
            "where they are special tokens");
    v.field("pad_token", pad_token, "likewise, behind short texts: <pad> or [PAD]");
    v.field("cls_token", cls_token, "likewise, before a text: <cls> or [CLS]");
    v.field("sep_token", sep_token, "likewise, behind each text: <sep> or [SEP]");
    v.field("field", field, "JSONL field or table column that holds the text");
    v.field("format", format, kFormats, "what the files hold, whatever their names");
    v.field("quotes", quotes, kQuotes,
            "quotes around cells of a table (unset: as RFC 4180 in csv, none in tsv)");
    v.field("documents", documents, kTextUnits,
            "what a document of a .txt file is (blank lines stand between paragraphs)");
    v.field("out", out, "folder to write");
    v.field("json", json, "a JSON line on stdout");
  }
  std::map<std::string, std::string> roles() const {
    std::map<std::string, std::string> all = {{"unk_token", unk_token},
                                              {"mask_token", mask_token},
                                              {"pad_token", pad_token},
                                              {"cls_token", cls_token},
                                              {"sep_token", sep_token}};
    std::erase_if(all, [](const auto& role) { return role.second.empty(); });
    return all;
  }
};

}  // namespace

void run_tokenizer(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  Stream stream;
  TokenizerOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {"tokenizer", "Trains a tokenizer on text, JSONL, CSV or FASTA files.",
                            &o.inputs, "IN"};
  if (!parse_options(line, invocation.args, fields, world->rank() == 0)) return;
  CHECK_USER(!o.inputs.empty(),
             "weft tokenizer: name one or more input files (.txt, .jsonl, .csv, .tsv, .fasta)");
  CHECK_USER(!o.out.empty(), "--out is missing: name the folder to write");
  ReadOptions how = {.field = o.field, .format = o.format, .quotes = o.quotes};
  how.unit = text_unit(o.documents);
  if (o.special_tokens.empty()) o.special_tokens = default_special_tokens(o.kind, o.roles());
  on_first_rank(
      *world, stream,
      [&] {  // one rank's work: counting words is quick, and merges are learned one after another
        TokenizerTrainer trainer({.kind = o.kind,
                                  .vocab_size = o.vocab_size,
                                  .special_tokens = o.special_tokens,
                                  .roles = o.roles()});
        std::int64_t n = 0;
        for (const std::string& input : o.inputs)
          read_documents(input, how, [&](Document&& d) {
            trainer.add(d.text);
            ++n;
          });
        CHECK_USER(n > 0, "{}: holds no documents", o.inputs.front());
        const Tokenizer tokenizer = trainer.finish();
        save_tokenizer(tokenizer, o.out);
        if (o.json)
          fmt::print("{}\n", json_text(OrderedJson({{"vocab_size", tokenizer.vocab_size()}})));
        else
          log_info("{}: {} of {} tokens, from {} documents", o.out, tokenizer.kind(),
                   tokenizer.vocab_size(), n);
      });
}

}  // namespace weft
