"""Small tokenizers trained with the reference library and golden digests of 20,000 fuzzed strings
(tokenizers 0.21.4, transformers 4.49, sentencepiece 0.2).

  python make_bpe.py GIFT_CARDS_FOLDER SPIECE_MODEL

Writes into tokenizers/: roberta.json (settings of RoBERTa, merges as "a b"), phi.json (settings of
Phi-4-mini, merges as ["a", "b"]), bert.json (settings of BERT uncased), parts.json (words and odd
strings that the fuzzed strings are made of) and golden.json: for each tokenizer, and for the T5
vocabulary, the ids of the first strings and one SHA-256 a thousand strings over the lines
"ids\\ndecoded text\\n" (T5: "ids\\n"). The strings themselves are not stored: fuzzed() below and
tests/text/fuzzed.h draw the same ones. The WordPiece trainer breaks ties at random: bert.json and
its digests come out differently, but always fit each other. T5 strings with near ties are left out
of the digests.
"""
import gzip, hashlib, json, os, re, sys
import sentencepiece
from collections import Counter
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)
from transformers import T5Tokenizer

gift_cards, spiece = sys.argv[1:]
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")
MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
STRINGS, SHOWN = 20000, 6

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTION,
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + CONTRACTION,
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK64
    return x ^ (x >> 31)


class Rng:
    """src/base/rng.h, as far as it is needed here."""

    def __init__(self, seed, purpose, epoch, sample):
        name = 0xCBF29CE484222325
        for byte in purpose.encode():
            name = (name ^ byte) * 0x100000001B3 & MASK64
        self.key, self.counter = mix((seed + GOLDEN) & MASK64), 0
        for part in (name, epoch, sample):
            self.key = mix(self.key ^ mix((part + GOLDEN) & MASK64))

    def below(self, n):
        limit = (1 << 64) % n
        while True:
            self.counter += 1
            x = mix((self.key + GOLDEN * self.counter) & MASK64)
            if x >= limit:
                return x % n


def unsettled(c):
    """Blocks that Unicode tables of different years know or not, so that a word may end there: the
    Oniguruma of the reference seems to know letters of Unicode 16, the one of Debian 12 (6.9.8) those of 14, and
    the reference's own tables for BERT are older than Unicode 9."""
    return any(low <= c <= high for low, high in (
        (0x10F00, 0x10FFF), (0x11C00, 0x11D8F), (0x13460, 0x143FF), (0x1CF00, 0x1CFCF),
        (0x2EBF0, 0x2EE5F), (0x31350, 0x323AF)))


def fuzzed(parts, sample):
    """The same steps, in the same order, as Fuzzed of tests/text/fuzzed.h."""
    rng = Rng(7, "fuzzed texts", 0, sample)
    text = ""
    for _ in range(rng.below(24)):
        kind = rng.below(16)
        if kind < 4:
            text += " " * (rng.below(4) > 0) + parts["words"][rng.below(len(parts["words"]))]
        elif kind < 8:
            text += parts["odd"][rng.below(len(parts["odd"]))]
        elif kind < 9:
            text += parts["added"][rng.below(len(parts["added"]))]
        elif kind < 10:
            text += "".join(chr(0x30 + rng.below(10)) for _ in range(1 + rng.below(6)))
        elif kind < 11:
            text += "".join(chr(0x20 + rng.below(0x5F)) for _ in range(1 + rng.below(8)))
        elif kind < 12:
            text += " \n"[rng.below(2)] * (1 + rng.below(4))
        elif kind < 15:
            low, high = parts["ranges"][rng.below(len(parts["ranges"]))]
            text += "".join(chr(low + rng.below(high - low + 1)) for _ in range(1 + rng.below(4)))
        else:
            c = rng.below(0x110000 - 0x800)  # any plane, surrogates left out
            c += 0x800 * (c >= 0xD800)
            text += chr(0xFFFD if unsettled(c) else c)
    return text


def reviews():
    with gzip.open(f"{gift_cards}/reviews.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [r[k] for r in map(json.loads, lines) for k in ("summary", "text") if r.get(k)]
    with gzip.open(f"{gift_cards}/items.jsonl.gz", "rt", encoding="utf-8") as lines:
        return texts + [r["description"] for r in map(json.loads, lines) if r.get("description")]


def parts_of(texts):
    words = Counter(w for text in texts for w in re.findall(r"[^\W\d_]+", text))
    frequent = [w for w, _ in words.most_common(2000)]
    return {
        "words": sorted(set(frequent[:150] + frequent[150::10] + ["Amazon's", "GREAT", "iPhone"])),
        "odd": ["'s", "'S", "'T", "'re", "'ve", "'m", "'ll", "'LL", "'d", "\u2019s", "'\u017f", "don't",
                "I'LL", "$9.99", "50%", "...", "!!!", "?!", "//", "/\n", ".\r\n", "\r\n", "\t", " \t ",
                "   ", "\n\n", " \n ", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028",
                "\u202f", "\u3000", "\u180e", "\u200b", "\u200d", "\ufeff", "\ufffd", "\ufffe", "\x00",
                "\x7f", "\u0301", "e\u0301", "\u00e9", "o\u0302\u0323", "\u0130", "\u1e9e", "\u01c5",
                "\u03a3\u03c2", "\u212a", "\ufb01", "\u00bd", "\u2177", "\uff11\uff12", "\u0663\u0664",
                "\u4eca\u65e5", "\u304b\u3099", "\uac00\u11a8", "\u0e01\u0e33", "\u0928\u093f",
                "\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
                "\U0001f1e9\U0001f1ea", "2\ufe0f\u20e3", "\u2764\ufe0f", "\U0001d400", "\U00010400",
                "\U0010ffff", "https://amzn.com/gp?x=1", "user_12", "item_8668", "<s", "<|end",
                "AAAA", "aaaaaaaaaaaaaaaa", "##ing", "_", "-"],
        "added": ["<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask>", "  <mask> ", "<|end|>",
                  "<|user|>", "<|assistant|> ", "<|system|>", "<|tool|>", "<|endoftext|>", "[CLS]",
                  "[SEP]", "[MASK]", "gift card", "Gift Card", "yay", "yay\u0301", "<extra_id_7>"],
        "ranges": [[0x20, 0x7E], [0x20, 0x7E], [0x00, 0x1F], [0x7F, 0xFF], [0x100, 0x24F],
                   [0x300, 0x36F], [0x370, 0x52F], [0x620, 0x6FF], [0x900, 0x97F], [0xE00, 0xE7F],
                   [0x1100, 0x11FF], [0x1800, 0x180E], [0x1E00, 0x1FFF], [0x2000, 0x206F],
                   [0x2070, 0x218F], [0x2190, 0x2BFF], [0x3000, 0x30FF], [0x4E00, 0x9FFF],
                   [0xAC00, 0xD7A3], [0xE000, 0xE010], [0xF900, 0xFAFF], [0xFB00, 0xFFFF],
                   [0x10400, 0x1044F], [0x1D400, 0x1D7FF], [0x1F300, 0x1FAFF], [0x20000, 0x2A6DF],
                   [0xE0000, 0xE01EF]]}


def byte_level(texts, merges, pre_tokenizer, special, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    # "yay" only as a whole word, "gift card" anywhere; both are ordinary texts to Decode.
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=256 + merges, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tokenizer.add_tokens([AddedToken("yay", single_word=True, rstrip=True),
                          AddedToken("gift card", normalized=False)])
    return tokenizer


def roberta(texts):
    special = [AddedToken(t, normalized=True) for t in ("<s>", "<pad>", "</s>", "<unk>")]
    special.append(AddedToken("<mask>", lstrip=True, normalized=False))
    tokenizer = byte_level(texts, 2500, pre_tokenizers.ByteLevel(add_prefix_space=False), special,
                           continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return tokenizer


def phi(texts):
    special = [AddedToken(f"<|{t}|>", normalized=False) for t in
               ("endoftext", "assistant", "end", "user", "system", "tool")]
    split = pre_tokenizers.Split(Regex(O200K), behavior="isolated")
    tokenizer = byte_level(texts, 2500, pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), special)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def bert(texts):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=2500, show_progress=False,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tokenizer.add_tokens([AddedToken("yay", single_word=True),
                          AddedToken("gift card", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def write(name, content):
    with open(os.path.join(here, name), "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


def stored(name, tokenizer):
    """As the tokenizers of today write it, but for RoBERTa the merges as older files have them."""
    content = json.loads(tokenizer.to_str())
    if name == "roberta":
        content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    content["model"]["vocab"] = dict(sorted(content["model"]["vocab"].items(), key=lambda e: e[1]))
    write(name + ".json", content)
    return Tokenizer.from_file(os.path.join(here, name + ".json"))


def digests(strings, lines_of):
    lines = [lines_of(text) for text in strings]
    return [hashlib.sha256("".join(lines[i:i + 1000]).encode()).hexdigest()
            for i in range(0, len(lines), 1000)]


os.makedirs(here, exist_ok=True)
texts = reviews()
parts = parts_of(texts)
write("parts.json", parts)
strings = [fuzzed(parts, sample) for sample in range(STRINGS)]
golden = {"texts": {"first": strings[:SHOWN], "sha256": digests(strings, lambda t: t + "\n")}}
for name, make in (("roberta", roberta), ("phi", phi), ("bert", bert)):
    reference = stored(name, make(texts))

    def ids_and_text(text):
        ids = reference.encode(text, add_special_tokens=False).ids
        return " ".join(map(str, ids)) + "\n" + reference.decode(ids) + "\n"

    golden[name] = {"first": [reference.encode(t, add_special_tokens=False).ids
                              for t in strings[:SHOWN]],
                    "sha256": digests(strings, ids_and_text)}
t5 = T5Tokenizer(spiece, legacy=True)
pieces = sentencepiece.SentencePieceProcessor(model_file=spiece)


def near_tie(text):
    """Whether the lead of the best cut over the second is within the rounding of float sums: such
    a string ("444": 4|44 or 44|4) differs between releases of the library."""
    for part in re.split("<extra_id_[0-9]{1,2}>|</s>|<pad>|<unk>", text):
        best = [sum(map(pieces.get_score, ids)) for ids in pieces.nbest_encode_as_ids(part, 2)]
        if len(best) == 2 and best[0] - best[1] < 0.01:
            return True
    return False


def t5_ids(text):
    return t5(text, add_special_tokens=False)["input_ids"]


ties = {text: n for n, text in enumerate(strings) if near_tie(text)}
golden["t5"] = {"first": [t5_ids(t) for t in strings[:SHOWN]], "near_ties": sorted(ties.values()),
                "sha256": digests(strings, lambda t: "" if t in ties else
                                  " ".join(map(str, t5_ids(t))) + "\n")}
write("golden.json", golden)
