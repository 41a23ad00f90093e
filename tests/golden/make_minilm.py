"""Writes minilm_golden.safetensors: 200 real texts and the first 96 of 384 values of their vectors.

python make_minilm.py MINILM_FOLDER GIFT_CARDS_FOLDER   (torch 2.11, transformers 4.49, safetensors)
Texts: titles, descriptions and reviews of Gift Cards, from short to longer than the limit of 128 tokens.
"""
import copy
import gzip
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertModel, BertTokenizer

import rounding

minilm, data = Path(sys.argv[1]), Path(sys.argv[2])


def texts_of(name, field, count):
    with gzip.open(data / name, "rt", encoding="utf-8") as f:
        found = {json.loads(line).get(field) or "" for line in f} - {""}
    found = sorted(found, key=lambda text: (len(text), text))
    return found[::len(found) // count][:count - 2] + found[-2:]


texts = (texts_of("items.jsonl.gz", "title", 60) + texts_of("items.jsonl.gz", "description", 60)
         + texts_of("reviews.jsonl.gz", "text", 80))
texts[50] = "Crème brûlée – 北京 & Ωmega™ naïve"  # and one with letters that need the normaliser
assert len(texts) == 200
tokenizer, model = BertTokenizer.from_pretrained(minilm), BertModel.from_pretrained(minilm).eval()
batches = [tokenizer(text, truncation=True, max_length=128, return_tensors="pt") for text in texts]
print("tokens", sorted(batch["input_ids"].shape[1] for batch in batches))


@torch.no_grad()
def computed(model):
    out = []
    for batch in batches:  # one at a time: no padding
        mean = model(**batch).last_hidden_state.mean(1)
        out.append(torch.nn.functional.normalize(mean, dim=1)[0])
    return {"vectors": torch.stack(out)[:, :96].contiguous()}


joined = "\0".join(texts).encode()
save_file({"texts": torch.tensor(list(joined), dtype=torch.uint8), **computed(model),
           **rounding.of_model(computed(copy.deepcopy(model).double()), computed, model)},
          Path(__file__).parent / "minilm_golden.safetensors")
