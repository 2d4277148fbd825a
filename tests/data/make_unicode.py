#!/usr/bin/env python3
"""Writes src/text/characters/unicode_tables.cpp: what the crates behind Hugging Face tokenizers
take each character for, measured through the library.

    python tests/data/make_unicode.py src/text/characters/unicode_tables.cpp
    clang-format -i src/text/characters/unicode_tables.cpp

The crates carry tables of their own, of Unicode versions from 8 to 17, and so none of them can be
had from one Unicode library: Oniguruma's classes (regexes), unicode_categories (punctuation, marks,
control), unicode-normalization-alignments (forms and combining classes), Rust's std (lower case,
numeric) and regex (\\w of the Whitespace pre-tokenizer). Needs tokenizers 0.23.
"""
import sys
import textwrap
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co "
              "Cn").split()
SCRIPTS = (
    "Latin Cyrillic Greek Arabic Hebrew Thai Lao Khmer Myanmar Tibetan Mongolian Ethiopic Georgian "
    "Armenian Han Hiragana Katakana Hangul Bopomofo Devanagari "
    "Bengali Tamil Telugu Kannada Malayalam Sinhala Gujarati Gurmukhi Common").split()
# Decomposable characters of Unicode 16 and 17, which the reference knows nothing of and a newer
# utf8proc may know.
NEWER = [
    0xA7F1, 0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391, 0x113C5, 0x113C7, 0x113C8,
    *range(0x16121, 0x16129), *range(0x16D68, 0x16D6B), *range(0x1CCD6, 0x1CCFA)
]


def removed_by(pre):
    return {c for c in CODES if not pre.pre_tokenize_str(chr(c))}


def regex(text):
    return removed_by(pre_tokenizers.Split(Regex(text), "removed"))


def mapped(normalizer):
    return {c: x for c in CODES if (x := normalizer.normalize_str(chr(c))) != chr(c)}


def ranges(codes):
    codes, out = sorted(codes), []
    for c in codes:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def written(codes):
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in ranges(codes))


def combining_classes(nfd, marks):
    samples = {}
    for c in range(0x300, 0x1000):
        k = unicodedata.combining(chr(c))
        if k and k not in samples and chr(c) not in nfd:
            samples[k] = chr(c)
    for c in marks:
        k = unicodedata.combining(chr(c))
        if k:
            samples.setdefault(k, chr(c))
    form, classes = normalizers.NFD(), {}
    moves = lambda text: form.normalize_str("a" + text) != "a" + text
    # those that have a class for the reference too
    samples = {k: r for k, r in samples.items() if moves(r + chr(0x334)) or moves(chr(0x345) + r)}
    for c in sorted(marks - set(nfd)):
        x = chr(c)
        # classes before it
        less = [
            k for k, r in samples.items()
            if r != x and form.normalize_str("a" + x + r) == "a" + r + x
        ]
        more = [
            k for k, r in samples.items()
            if r != x and form.normalize_str("a" + r + x) == "a" + x + r
        ]
        if not less and not more:
            continue
        same = set(samples) - set(less) - set(more)
        assert len(same) == 1, (hex(c), same)
        classes.setdefault(same.pop(), []).append(c)
    return classes


def main():
    by_category = {k: regex(rf"\p{{{k}}}") for k in CATEGORIES}
    category = {c: k for k, codes in by_category.items() for c in codes}
    runs, at = [], 0
    while at < 0x110000:
        end = at
        while end < 0x110000 and category.get(end, "Cs") == category.get(at, "Cs"):
            end += 1
        runs.append(f"{category.get(at, 'Cs')}{end - at if end - at > 1 else ''}")
        at = end
    of = lambda *names: {c for c, k in category.items() if k in names or k[0] in names}
    nfd, nfkd = mapped(normalizers.NFD()), mapped(normalizers.NFKD())
    bert = lambda **on: normalizers.BertNormalizer(
        **{
            **dict(clean_text=False,
                   handle_chinese_chars=False,
                   strip_accents=False,
                   lowercase=False), **on
        })
    empty = lambda maps: {c for c, x in maps.items() if x == ""}
    word = pre_tokenizers.Whitespace()
    digits = pre_tokenizers.Digits(True)
    marks = of("M") | {c for c in CODES if unicodedata.combining(chr(c))}
    sets = {
        "kRegexWord": regex(r"\w") ^ of("L", "M", "Nd", "Nl", "Pc"),
        "kWord": {
            c for c in CODES if [w
                                 for w, _ in word.pre_tokenize_str("a" + chr(c))] == ["a" + chr(c)]
        } ^ of("L", "M", "Nd", "Nl", "Pc"),
        "kPunctuation": removed_by(pre_tokenizers.Punctuation("removed")) ^ of("P"),
        "kNumeric": {c for c in CODES if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3} ^
                    of("N"),
        "kMark": empty(mapped(normalizers.StripAccents())) ^ of("M"),
        "kNonspacingMark":
            (empty(mapped(bert(strip_accents=True))) - set(nfd)) ^ (of("Mn") - set(nfd)),
        "kControl": (empty(mapped(bert(clean_text=True))) - {0xFFFD}) ^ of("Cc", "Cf", "Co"),
        "kUndecomposed": {c for c in CODES if unicodedata.normalize("NFD", chr(c)) != chr(c)} -
                         set(nfd) | set(NEWER) | {0x11938},
        "kCompatible": ({c for c in CODES if unicodedata.normalize("NFKD", chr(c)) != chr(c)} |
                        set(range(0x1E030, 0x1E06E)) | set(NEWER)) - set(nfkd),
    }
    lower = {
        c: x
        for c, x in mapped(normalizers.Lowercase()).items()
        if unicodedata.category(chr(c)) == "Cn" or chr(c).lower() != x
    }
    lower = {c: ord(x) for c, x in lower.items() if len(x) == 1}
    lower_runs = []
    for c in sorted(lower):
        if lower_runs and lower_runs[-1][1] == c - 1 and lower[c] - c == lower_runs[-1][2]:
            lower_runs[-1][1] = c
        else:
            lower_runs.append([c, c, lower[c] - c])
    texts = {"kCategories": " ".join(runs)}
    texts["kCombiningClasses"] = " ".join(
        f"={k} {written(v)}" for k, v in sorted(combining_classes(nfd, marks).items()))
    texts["kLowerCase"] = " ".join(f"{a:X}-{b:X}={a + d:X}" for a, b, d in lower_runs)
    texts["kScripts"] = " ".join(f"{s} {added}" for s in SCRIPTS if (added := written(
        {c for c in regex(rf"\p{{{s}}}") if unicodedata.category(chr(c)) == "Cn"})))
    texts.update((k, written(v)) for k, v in sets.items())
    with open(sys.argv[1], "w") as out:
        out.write(
            f"// Made by tests/data/make_unicode.py from Hugging Face tokenizers "
            f"{tokenizers.__version__}; unicode_tables.h says what the texts are.\n"
            '#include "text/characters/unicode_tables.h"\n\nnamespace weft::unicode_tables {\n')
        for name, text in texts.items():
            lines = textwrap.wrap(text, 140, break_long_words=False, break_on_hyphens=False)
            out.write(f"\nconst char* const {name} =\n" +
                      "\n".join(f'    "{line}{" " if i + 1 < len(lines) else ""}"'
                                for i, line in enumerate(lines or [""])) + ";\n")
        out.write("\n}  // namespace weft::unicode_tables\n")


if __name__ == "__main__":
    main()
