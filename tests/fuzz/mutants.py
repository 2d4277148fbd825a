"""Mutants of a valid file's bytes: mutate(content, kind, random) changes one to three places of it.
`kind` is the file's ending;
what it knows of (JSON, safetensors' header, lines) is also damaged within its grammar. The same
random.Random, the same mutant."""
import copy
import gzip
import json
import struct

ABSURD_WORDS = [2**64 - 1, 2**63, 2**40, 2**31 - 1, 2**32 - 1, 2**31, 0, 1]
ABSURD_NUMBERS = [
    "-1", "0", "1", "99999999999999999999", "9223372036854775807", "-9223372036854775808",
    "2147483648", "4294967297", "1e999", "-1e400", "1e-400", "1e19", "0.5", "NaN", "Infinity",
    "null", '"text"', "[]", "{}", "true", "1_000", "0x10", "12:00:00"
]
ABSURD_VALUES = [
    None, True, False, "", "text", "\u2581", "[", "(a+)+b", "{{ a", "\u0000", "\ud83d\ude00" * 40,
    [], {}, 0.5, -1, 0, 1, 2, 255, 256, 2**31, 2**32 + 1,
    2**53, 2**63 - 1, -(2**63), 2**64 - 1, 1e300, -1e300, 1e-300, [["a", 1]], [1, 2], [0.5, "a"],
    [None], {"type": "Sequence"}, {"content": 1}, "1", "-3", "1e5", "9" * 30
]
STRAY = [
    b'"', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"}", b"[", b"]", b"<", b">", b";",
    b":", b"\\", b"\\u", b"\\ud800", b"#", b"=", b"%", b"\x1b[2J", "\u2028".encode(),
    "\u00e9".encode()
]
TEXT = {"txt", "jsonl", "csv", "tsv", "fasta", "smi", "json", "toml", "jinja"}


def place(content, random):
    """Half of the time near the beginning, where the headers are."""
    return random.randrange(len(content) if random.random() < 0.5 else min(len(content), 4096))


def number_at(content, at):
    """The next number of a text, as (begin, end)."""
    begin = at
    while begin < len(content) and not chr(content[begin]).isdigit():
        begin += 1
    end = begin
    while end < len(content) and chr(content[end]) in "0123456789.e-_":
        end += 1
    return begin, end


def change_bytes(content, text, random):
    at, n = place(content, random), random.randint(1, 32)
    way = random.randrange(10 if text else 7)
    if way == 0:
        return content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1:]
    if way == 1:
        return content[:at]
    if way == 2:
        return content[:at] + content[at + n:]
    if way == 3:
        other = random.randrange(len(content))
        return content[:at] + content[other:other + n] + content[at:]
    if way == 4:
        return content[:at] + random.randbytes(n) + content[at:]
    if way == 5:
        return content[:at] + random.randbytes(min(n, len(content) - at)) + content[at + n:]
    if way == 6:
        word = struct.pack("<Q", random.choice(ABSURD_WORDS))[:random.choice([2, 4, 8])]
        return content[:at] + word + content[at + len(word):]
    if way == 7:
        begin, end = number_at(content, at)
        return content[:begin] + random.choice(ABSURD_NUMBERS).encode() + content[end:]
    if way == 8:
        return content[:at] + random.choice(STRAY) * random.choice([1, 1, 1, 2, 3]) + content[at:]
    return content[:at] + random.choice([b"[", b"{", b"(", b"a", b" ", b'"', b"\xff", b"\n"
                                        ]) * random.choice([300, 20_000]) + content[at:]


def change_lines(content, random):
    """Rows and records in another number, order or shape."""
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    way = random.randrange(7)
    if way == 0:
        lines[at] = b""
    elif way == 1:
        lines[at] = lines[at] * 2
    elif way == 2:
        del lines[at]
    elif way == 3:
        lines.insert(at, lines[random.randrange(len(lines))])
    elif way == 4:
        lines[at] = random.choice([b",", b"\t"]).join([lines[at]] * random.randint(2, 5))
    elif way == 5:
        lines[0], lines[at] = lines[at], lines[0]
    else:
        lines = [line + b"\r" for line in lines]
    return b"\n".join(lines)


def nodes(value, found):
    """Every (container, key) of a JSON value."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            nodes(value[key], found)
    return found


def change_json(value, random):
    if not isinstance(value, (dict, list)) or not value:
        return copy.deepcopy(random.choice(ABSURD_VALUES))
    all_nodes = nodes(value, [])
    shallow = [n for n in all_nodes if n[0] is value]
    holder, key = random.choice(all_nodes if random.random() < 0.6 else shallow)
    way = random.randrange(8)
    if way <= 3:
        holder[key] = copy.deepcopy(random.choice(ABSURD_VALUES))
    elif way == 4:
        del holder[key]
    elif way == 5:
        other = random.choice(all_nodes)
        holder[key] = json.loads(json.dumps(other[0][other[1]]))
    elif way == 6 and isinstance(holder, dict):
        holder[random.choice(
            ["", "x", str(key) * 2, "\u00e9", "0", "-1",
             "99999999999999999999999"])] = holder.pop(key)
    elif isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = random.choice([
            -holder[key], holder[key] + 1, holder[key] * 2, holder[key] / 2,
            str(holder[key]), [holder[key]]
        ])
    elif isinstance(holder[key], str):
        text = holder[key]
        at = random.randrange(len(text) + 1)
        holder[key] = random.choice([
            text[:at], text * 2, text[:at] + "\0" + text[at:], text[:at] + "(" + text[at:],
            "a" * 1000 + text,
            text.upper()
        ])
    else:
        holder[key] = [holder[key]]
    return value


def write_json(value, random):
    return json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def mutate_json(content, random):
    value = json.loads(content)
    for _ in range(random.randint(1, 3)):
        value = change_json(value, random)
    return write_json(value, random)


def mutate_jsonl(content, random):
    lines = content.splitlines()
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        lines[at] = mutate_json(lines[at], random) if lines[at].startswith(b"{") else lines[at]
    return b"\n".join(lines) + b"\n"


def mutate_safetensors(content, random):
    size = struct.unpack("<Q", content[:8])[0]
    header = mutate_json(content[8:8 + size], random)
    return struct.pack("<Q", len(header)) + header + content[8 + size:]


GRAMMARS = {"json": mutate_json, "jsonl": mutate_jsonl, "safetensors": mutate_safetensors}


def mutate(content, kind, random):
    if kind == "gz":  # within, so that what follows the decompressor is met too
        if random.random() < 0.5:
            return gzip.compress(mutate(gzip.decompress(content), "jsonl", random), mtime=0)
    if random.random() < 0.02:
        return b""
    if kind in GRAMMARS and random.random() < 0.6:
        return GRAMMARS[kind](content, random)
    for _ in range(random.randint(1, 3)):
        if not content:
            break
        lines = kind in TEXT and kind != "json" and random.random() < 0.25
        content = change_lines(content, random) if lines else change_bytes(
            content, kind in TEXT, random)
    return content
