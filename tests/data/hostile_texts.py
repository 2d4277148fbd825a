"""Texts that tokenizers get wrong, for compare_tokenizer.py and make_tokenizers.py; seeded."""
import gzip
import os
import unicodedata

SPACES = [
    " ", "  ", "\n", "\t", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85",
    "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u200b", "\u2028", "\u2029", "\u202f",
    "\u205f", "\u2060", "\u3000", "\ufeff"
]
PIECES = [
    "a", "Z", "é", "e\u0301", "ß", "Ǆ", "ﬁ", "日", "本語", "한글", "हिन्दी", "العربية", "עברית", "ไทย",
    "1", "٣", "½", "Ⅷ", "²", "12345", "'", "’", "'s", "'S", "'ll", "'re", "'ve", "'d", "'m", "'t",
    "''", ".", "...", "!?", "_", "$", "€", "👩‍👩‍👧‍👦", "🎉", "🇩🇪", "👍🏽", "\u0301", "\u0302\u0303",
    "\x00", "\x01", "\x7f", "\x9f", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "<|endoftext|>",
    "<|endoftext|", "|>", "<", "the", " the", "don't", "I'll", "==", "//", "    ", "\t\t", "▁", "Ġ",
    "##", "<0x0A>", "</w>", "İ", "ſ", "ς", "Å", "A\u030a", "각", "\u1100\u1161\u11a8", "ｱﾞ", "①",
    "㍿", "\ufdfa", "한", "\u200d", "\ufe0f", "A", "MKTAYIAKQR", "CC(=O)O"
]
PROSE = [
    "Counselor, please adjust your Zoom filter to appear as a human, rather than as a cat",
    "I'm here live. I'm not a cat.", "He said: \"don't\", they'll  \n\n  we've\t\tGO, IT'S",
    "naïve café Größe œuvre İstanbul", "日本語のテキスト 漢字、カタカナ。", "Москва и Ελλάδα ΣΊΣΥΦΟΣ",
    "مرحبا بالعالم हिन्दी עברית ไทย", "👩‍👩‍👧‍👦🎉 🇩🇪 👍🏽!", "한국어 텍스트",
    "for (int i = 0; i < 10; ++i) { x[i] += 3.14159e-10; }",
    "    return self.weight\n\n\ndef f(x):\n\treturn x", "1234567890 3½ ٣٤ Ⅷ 12,345.67",
    "https://example.org/a_b?c=d&e=%20#f", "internationalization antidisestablishmentarianism",
    "a.b . c , d ! e ? f ' g n't 'm 's 've 're do not", "  leading and trailing  ",
    "MKTAYIAKQRQISFVKSHFSRQ", "<html>&amp;</html>"
]


def random_code(rng):
    low, high = rng.choice([(0x20, 0x7E), (0x80, 0x2FF), (0x300, 0x36F), (0x370, 0x1FFF),
                            (0x2000, 0x2BFF), (0x3000, 0xD7FF), (0xE000, 0xFFFF),
                            (0x10000, 0x3FFFF), (0xE0000, 0x10FFFF), (0x1F300, 0x1FAFF)])
    return chr(rng.randint(low, high))


def code_points():
    """Every assigned code point; of Chinese characters, Hangul, private and unassigned ones, which
    are alike, every 37th."""
    alike = lambda c: unicodedata.category(chr(c)) in ("Cn", "Co") or unicodedata.name(chr(
        c), "").startswith(("CJK UNIFIED", "HANGUL SYLLABLE", "TANGUT", "NUSHU"))
    return [
        c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c % 37 == 0 or not alike(c))
    ]


def around_added(token, rng):
    """An added token inside words, doubled, cut, in another case, with white space at its sides."""
    word = lambda: rng.choice(
        ["", "wor", "日本", "1", " ", "  ", "\n", "\t", "\u3000", "_", ".", "é", "the ", "\x00"])
    inner = rng.choice([
        token, token, token, token + token, token[:-1], token[1:],
        token.upper(),
        token.lower(), token + " " + token, token + "\n" + token
    ])
    return word() + inner + word() + rng.choice(["", "", token])


def hostile_text(rng, added):
    kind = rng.random()
    if kind < 0.2 and added:
        return "".join(around_added(rng.choice(added), rng) for _ in range(rng.randint(1, 3)))
    if kind < 0.55:
        return "".join(rng.choices(PIECES + SPACES, k=rng.randint(1, 20)))
    if kind < 0.75:
        return "".join(rng.choices(SPACES + ["a", "."], k=rng.randint(1, 30)))
    return "".join(random_code(rng) for _ in range(rng.randint(1, 40)))


def read_files(paths, rng, most=500):
    """What is in some of the files and of the files in folders, .gz ones unpacked."""
    files = []
    for path in paths:
        inside = sorted(
            os.path.join(root, name)
            for root, _, names in os.walk(path)
            for name in names) if os.path.isdir(path) else [path]
        files += rng.sample(inside, min(len(inside), most))
    contents = []
    for file in files:
        with (gzip.open(file) if file.endswith(".gz") else open(file, "rb")) as f:
            contents.append(f.read().decode("utf-8", errors="replace"))
    return [c for c in contents if c]


def make_texts(contents, n, rng, added=()):
    """n texts: half of them hostile, among them the code points of Unicode, half cut from the
    contents."""
    texts = ["", *PROSE]
    texts += [" " * k + "x" for k in (1, 2, 3, 50, 1000)] + [
        "\n" * 700, "\t" * 99 + " ", "a" * 5000, "ab" * 3000, "é" * 999, "'" * 100, "日" * 400,
        "1" * 1000
    ]
    codes = code_points()
    for i in range(0, len(codes), 64):  # between letters, digits and spaces
        texts.append("".join(f"{chr(c)}a{chr(c)}1{chr(c)} {chr(c)}" for c in codes[i:i + 64]))
    for token in added:
        texts += [
            token, f"wor{token}d", f" {token} ", f"{token}\n{token}", f"\u3000{token}\t\tx",
            f"日{token}1{token.upper()}"
        ]
    while len(texts) < (n // 2 if contents else n):
        texts.append(hostile_text(rng, added))
    while len(texts) < n:
        content = rng.choice(contents)
        at = rng.randrange(len(content))
        texts.append(content[at:at + rng.choice([1, 5, 20, 80, 300, 1000])])
    return texts[:n]
