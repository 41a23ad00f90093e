"""Golden token ids of the reference tokenizers (transformers 4.49, sentencepiece 0.2).

  python make_tokenizers.py VOCAB_TXT SPIECE_MODEL GIFT_CARDS_FOLDER

wordpiece.jsonl.gz: 3,000 strings, half real and half fuzzed; 50 of them with ids and decoded text,
and after every hundred the SHA-256 of their id lines ("1 2 3\\n"). sentencepiece.jsonl.gz: 400
strings with ids, pieces and decoded text.
"""
import gzip, hashlib, json, os, random, sys, unicodedata
from transformers import BertTokenizer, T5Tokenizer

vocab, spiece, gift_cards = sys.argv[1:]
here = os.path.dirname(os.path.abspath(__file__))
draw = random.Random(7)

RANGES = [(0x20, 0x7E)] * 6 + [
    (0x00, 0x1F), (0x7F, 0xA0), (0xA1, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x21FF), (0x3000, 0x30FF), (0x3400, 0x3420),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFE00, 0xFFFD),
    (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x20100),
    (0x2B700, 0x2B900), (0x2F800, 0x2FA1F), (0xE000, 0xE010), (0xE0001, 0xE007F)]
ODD = ["İ", "ẞ", "Σς", "ǅ", "K", "Å", "é", "e\u0301", "o\u0302\u0323", "[SEP]", "[MASK]x", "[sep]",
       "[CLS", "</s>", "<extra_id_0>", " <extra_id_99> ", "<extra_id_5", "<pad>", "<unk>", "a" * 100,
       "a" * 101, "é" * 100, "\u200b", "\u180e", "\ufeff", "\ufffd", "\u2028", "\u3000", "\x85",
       "\u0378", "\uffff", "the", "##ing", "un", "affable", "$9.99", "１２", "ﬁ", "½", "ⅷ", "㎏"]


def character():
    while True:  # the two Unicode tables differ in what was unassigned in the older one
        c = chr(draw.randint(*draw.choice(RANGES)))
        if unicodedata.category(c) not in ("Cn", "Cs"):
            return c


def fuzzed():
    parts = [draw.choice(ODD) if draw.random() < 0.15 else
             " " if draw.random() < 0.2 else character() for _ in range(draw.randint(0, 30))]
    return "".join(parts)


def real():
    texts = []
    for name, keys in (("items", ("title", "description", "brand")), ("reviews", ("summary", "text"))):
        with gzip.open(f"{gift_cards}/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                texts += [record[k][:160] for record in [json.loads(line)] for k in keys if record[k]]
    texts = sorted(set(texts))
    draw.shuffle(texts)
    return texts


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def write(name, records):
    with open(os.path.join(here, name), "wb") as raw, \
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as out:
        for record in records:
            out.write((json.dumps(record) + "\n").encode())


texts = real()
bert = BertTokenizer(vocab)
cased = BertTokenizer(vocab, do_lower_case=False)
strings = [text for pair in zip(texts[:1500], (fuzzed() for _ in range(1500))) for text in pair]
records, digest = [], hashlib.sha256()
for n, text in enumerate(strings):
    record, ids = {"text": text}, ids_of(bert, text)
    if n % 60 < 1:
        record |= {"ids": ids, "decoded": decoded(bert, ids), "cased": ids_of(cased, text)}
    records.append(record)
    digest.update((" ".join(map(str, ids)) + "\n").encode())
    if n % 100 == 99:
        records.append({"sha256": digest.hexdigest()})
        digest = hashlib.sha256()
write("wordpiece.jsonl.gz", records)

t5 = T5Tokenizer(spiece, legacy=True)
assert len(t5) == 32100 and t5.convert_tokens_to_ids("<extra_id_0>") == 32099
prompts = ["user_12252 item_8668"]
for _ in range(99):
    items = ", item_".join(str(draw.randint(1, 18357)) for _ in range(draw.randint(1, 20)))
    prompts.append(f"So far user_{draw.randint(1, 35598)} has purchased item_{items}.")
records = []
for text in prompts + texts[1500:1700] + [fuzzed() for _ in range(100)]:
    ids = ids_of(t5, text)
    records.append({"text": text, "ids": ids, "pieces": t5.tokenize(text),
                    "decoded": decoded(t5, ids)})
write("sentencepiece.jsonl.gz", records)
