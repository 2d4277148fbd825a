"""Tokenizers in the shapes of the well-known ones, trained on given texts with Hugging Face
tokenizers or SentencePiece: SHAPES[name](texts, vocab_size)."""
import io
import json

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

GPT2_REGEX = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_REGEX = LLAMA3_REGEX.replace("{1,3}", "")
# SentencePiece's table is 240 KB; this one shows everything that a table can say
# (tests/data/make_sentencepiece.py).
SMALL_RULES = [
    "FF21\t41", "FB01\t66 69", "65 301\tE9", "AD\t", "3A9 308\t3C9", "3A9\t4F", "1F600\t3A 29",
    "3000\t20", "9\t20", "200B\t20"
]


def byte_level_trainer(vocab_size, special):
    return trainers.BpeTrainer(vocab_size=vocab_size,
                               min_frequency=2,
                               show_progress=False,
                               special_tokens=special,
                               initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def byte_level_bpe(texts, vocab_size, special, pre=None, normalizer=None, **model):
    tok = Tokenizer(models.BPE(**model))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, byte_level_trainer(vocab_size, special))
    return tok


def split_then_bytes(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])


def gpt2(texts, vocab_size):
    tok = byte_level_bpe(texts, vocab_size, ["<|endoftext|>"])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def roberta(texts, vocab_size):
    tok = byte_level_bpe(texts, vocab_size, ["<s>", "<pad>", "</s>", "<unk>"])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tok.post_processor = processors.RobertaProcessing(("</s>", tok.token_to_id("</s>")),
                                                      ("<s>", tok.token_to_id("<s>")),
                                                      trim_offsets=True,
                                                      add_prefix_space=False)
    return tok


def llama3(texts, vocab_size):
    special = [
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>"
    ]
    tok = byte_level_bpe(texts,
                         vocab_size,
                         special,
                         split_then_bytes(LLAMA3_REGEX),
                         ignore_merges=True)
    bos = ("<|begin_of_text|>", tok.token_to_id("<|begin_of_text|>"))
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single=f"{bos[0]} $A",
                                      pair=f"{bos[0]} $A {bos[0]}:1 $B:1",
                                      special_tokens=[bos])
    ])
    return tok


def qwen2(texts, vocab_size):
    tok = byte_level_bpe(texts,
                         vocab_size, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                         split_then_bytes(QWEN2_REGEX),
                         normalizers.NFC(),
                         byte_fallback=False)
    tok.add_tokens([AddedToken("<tool_call>", normalized=False)])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def smollm(texts, vocab_size):
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)
    ])
    return byte_level_bpe(texts, vocab_size, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre)


def spaced_bpe(texts, vocab_size, special):
    """SentencePiece-like: words trained with their ▁, then no pre-tokenizer at all, byte tokens and
    the fused unknown token."""
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tok.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=vocab_size,
                            min_frequency=2,
                            show_progress=False,
                            special_tokens=special + bytes_))
    spec = json.loads(tok.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] in special]
    spec["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(spec))


def spaced_decoder(strip):
    return decoders.Sequence([decoders.Replace("▁", " "),
                              decoders.ByteFallback(),
                              decoders.Fuse()] + [decoders.Strip(" ", 1, 0)] * strip)


def begins_with(tok, bos):
    tok.post_processor = processors.TemplateProcessing(single=f"{bos} $A",
                                                       pair=f"{bos} $A {bos}:1 $B:1",
                                                       special_tokens=[(bos, tok.token_to_id(bos))])


def llama2(texts, vocab_size):
    tok = spaced_bpe(texts, vocab_size, ["<unk>", "<s>", "</s>"])
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = spaced_decoder(True)
    begins_with(tok, "<s>")
    return tok


def phi3(texts, vocab_size):
    tok = llama2(texts, vocab_size)
    tok.add_special_tokens([
        AddedToken(t, rstrip=True, normalized=False)
        for t in ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
    ])
    tok.add_tokens([
        AddedToken("</code>", rstrip=True, normalized=False),
        AddedToken("Left", lstrip=True, normalized=True),
        AddedToken("whole", single_word=True, normalized=True)
    ])
    return tok


def mistral(texts, vocab_size):
    """Llama without the legacy: Metaspace before the first word only."""
    tok = spaced_bpe(texts, vocab_size, ["<unk>", "<s>", "</s>"])
    tok.normalizer = None
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tok.decoder = spaced_decoder(True)
    begins_with(tok, "<s>")
    return tok


def gemma(texts, vocab_size):
    tok = spaced_bpe(texts, vocab_size, ["<pad>", "<eos>", "<bos>", "<unk>"])
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.add_tokens([
        AddedToken(t, normalized=False)
        for t in ("\n\n", "\n\n\n", "▁▁", "▁▁▁", "<table>", "[multimodal]")
    ])
    tok.add_special_tokens(["<start_of_turn>", "<end_of_turn>"])
    tok.decoder = spaced_decoder(False)
    begins_with(tok, "<bos>")
    return tok


def bert(texts, vocab_size, lowercase):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(vocab_size=vocab_size,
                                  show_progress=False,
                                  special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    ids = [(t, tok.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                       pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                       special_tokens=ids)
    return tok


def wordlevel(texts, vocab_size):
    tok = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tok.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(),
         normalizers.StripAccents()])
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(vocab_size=vocab_size,
                                  show_progress=False,
                                  special_tokens=["[UNK]", "[PAD]", "[SEP]"]))
    tok.post_processor = processors.BertProcessing(("[SEP]", tok.token_to_id("[SEP]")),
                                                   ("[PAD]", tok.token_to_id("[PAD]")))
    return tok


def sentencepiece_model(texts, vocab_size, rules, **options):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    import os
    import tempfile
    lines = [
        line[:2000]
        for text in texts
        for line in text.split("\n")
        if line.strip() and "\0" not in line
    ]
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        if rules == "small":
            path = os.path.join(folder, "rules")
            with open(path, "w") as f:
                f.write("\n".join(SMALL_RULES) + "\n")
            options["normalization_rule_tsv"] = path
        else:
            options["normalization_rule_name"] = rules
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines),
                                                 model_writer=out,
                                                 vocab_size=vocab_size,
                                                 model_type="unigram",
                                                 minloglevel=2,
                                                 hard_vocab_limit=False,
                                                 num_threads=1,
                                                 **options)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    return model


def unigram_of(model, **options):
    return models.Unigram([(p.piece, p.score) for p in model.pieces],
                          unk_id=model.trainer_spec.unk_id,
                          **options)


def t5(texts, vocab_size, rules="nmt_nfkc"):
    """As transformers makes T5's of its SentencePiece model."""
    model = sentencepiece_model(texts, vocab_size, rules, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    tok = Tokenizer(unigram_of(model, byte_fallback=False))
    tok.normalizer = normalizers.Sequence([
        normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁")
    ])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.add_special_tokens(["<pad>", "</s>", "<unk>"] + [f"<extra_id_{i}>" for i in range(3)])
    tok.post_processor = processors.TemplateProcessing(single="$A </s>",
                                                       pair="$A </s> $B </s>",
                                                       special_tokens=[("</s>",
                                                                        tok.token_to_id("</s>"))])
    return tok


def xlmr(texts, vocab_size, rules="nmt_nfkc"):
    """As transformers makes XLM-RoBERTa's, here with the byte tokens of newer unigram models."""
    model = sentencepiece_model(texts,
                                vocab_size,
                                rules,
                                byte_fallback=True,
                                bos_id=0,
                                pad_id=1,
                                eos_id=2,
                                unk_id=3)
    tok = Tokenizer(unigram_of(model, byte_fallback=True))
    tok.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(),
         pre_tokenizers.Metaspace(prepend_scheme="always")])
    tok.decoder = decoders.Sequence(
        [decoders.ByteFallback(),
         decoders.Metaspace(prepend_scheme="always")])
    tok.add_special_tokens(
        ["<s>", "<pad>", "</s>", "<unk>",
         AddedToken("<mask>", lstrip=True, normalized=False)])
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(t, tok.token_to_id(t)) for t in ("<s>", "</s>")])
    return tok


SHAPES = {
    "gpt2": gpt2, "roberta": roberta, "llama3": llama3, "qwen2": qwen2, "smollm": smollm,
    "llama2": llama2, "phi3": phi3, "mistral": mistral, "gemma": gemma,
    "bert_uncased": lambda texts, n: bert(texts, n, True),
    "bert_cased": lambda texts, n: bert(texts, n, False), "wordlevel": wordlevel, "t5": t5,
    "xlmr": xlmr
}
