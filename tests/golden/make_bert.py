"""Writes bert/{bert,distilbert,roberta}/ (tiny encoders with their tokenizers) and bert_golden.safetensors:
what transformers computes with them, in double precision.

python make_bert.py   (torch 2.11, transformers 4.49, tokenizers 0.21, safetensors)
The RoBERTa folder has EasyRec's form (github.com/HKUDS/EasyRec, model.py): roberta.*, mlp.dense, lm_head.
"""
import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy, normalize
from transformers import (BertConfig, BertModel, BertTokenizer, DistilBertConfig, DistilBertModel, RobertaConfig,
                          RobertaModel, RobertaTokenizer)
from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings
from transformers.models.roberta.modeling_roberta import RobertaLMHead, RobertaPreTrainedModel

import rounding

torch.manual_seed(7)
torch.set_num_threads(1)
here = Path(__file__).parent
out = {}


class EasyRecForm(RobertaPreTrainedModel):
    _tied_weights_keys = ["lm_head.decoder.weight", "lm_head.decoder.bias"]

    def __init__(self, config):
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.mlp = torch.nn.Module()
        self.mlp.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.lm_head = RobertaLMHead(config)
        self.post_init()


def shake(model):  # far from symmetric, so that a mistake shows
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = "LayerNorm.weight" in name or "layer_norm.weight" in name
            p.copy_(1 + 0.3 * torch.randn_like(p) if norm else 0.3 * torch.randn_like(p))
    return model


def pooled(hidden, mask, how, dense=None):
    if how == "mean":
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.tanh(dense(hidden[:, 0])) if how == "easyrec" else hidden[:, 0]


def record(name, base, head, pad, how, dropouts):
    """base: the network; head: the dense layer of EasyRec's pooling; how: the pooling of the loss."""
    base, lengths = base.double().eval(), [7, 3, 19, 7, 2, 12]
    ids = torch.full((6, 19), pad)
    mask = torch.zeros(6, 19, dtype=torch.long)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(5, 90, (n,))
        mask[row, :n] = 1

    def computed(modules):
        base, head = modules if len(modules) == 2 else (modules[0], None)
        hidden = base(input_ids=ids, attention_mask=mask).last_hidden_state
        got = {f"{name}.hidden": hidden[mask.bool()]}
        for kind in ("mean", "cls") + (("easyrec",) if head else ()):
            got[f"{name}.{kind}"] = pooled(hidden, mask, kind, head)
        x = normalize(pooled(hidden, mask, how, head), dim=1)
        loss = cross_entropy(x[:3] @ x[3:].T / 0.2, torch.arange(3))  # InfoNCE: text i belongs to i + 3
        loss.backward()
        got[f"{name}.loss"] = loss.reshape(1)
        named = list(base.named_parameters()) + ([(f"head.{k}", p) for k, p in head.named_parameters()] if head else [])
        return got | {f"{name}.grad.{key}": p.grad for key, p in named if p.grad is not None}

    out[f"{name}.ids"], out[f"{name}.lengths"] = ids[mask.bool()], torch.tensor(lengths)
    both = torch.nn.ModuleList([base] + ([head] if head else []))
    exact = computed(both)
    out.update(exact | rounding.of_model(exact, computed, both))
    # Dropout of everything leaves no chance: it shows where dropout stands.
    base.train()
    for kind, is_attention in (("hidden", False), ("attention", True)):
        for path, module in base.named_modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = float(dropouts(path) == is_attention)
        out[f"{name}.without_{kind}"] = base(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]


sizes = dict(vocab_size=96, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(string.ascii_lowercase) + [
    "##" + c for c in string.ascii_lowercase] + list(".,!?'") + "the gift card is good bad for a man ##ing ##ed ##s".split()
words = list(dict.fromkeys(words))
words += [f"[unused{i}]" for i in range(96 - len(words))]
texts = ["a good gift card!", "bad", "The MAN is gifted, and the cards are for giving; zebra", "", "good good good"]


def write_bert_vocab(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}) + "\n")


def record_texts(name, folder, tokenizer, base, how, head=None):
    def computed(modules):
        vectors = []
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=16, return_tensors="pt")
            batch.pop("token_type_ids", None)
            hidden = modules[0].eval()(**batch).last_hidden_state
            vectors.append(normalize(pooled(hidden, batch["attention_mask"], how, modules[-1]), dim=1)[0])
        return {f"{name}.text_vectors": torch.stack(vectors)}

    both = torch.nn.ModuleList([base] + ([head] if head else []))
    exact = computed(both)
    out.update(exact | rounding.of_model(exact, computed, both))
    print(name, [len(tokenizer(t)["input_ids"]) for t in texts])


folder = here / "bert/bert"
write_bert_vocab(folder)
bert = shake(BertModel(BertConfig(**sizes, max_position_embeddings=40, attn_implementation="eager")))
bert.save_pretrained(folder)
record("bert", bert, bert.pooler.dense, 0, "mean", lambda path: path.endswith("attention.self.dropout"))
record_texts("bert", folder, BertTokenizer.from_pretrained(folder), bert, "mean")

folder = here / "bert/distilbert"
write_bert_vocab(folder)
distilbert = shake(DistilBertModel(DistilBertConfig(
    vocab_size=96, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=40,
    attn_implementation="eager")))
distilbert.save_pretrained(folder)
record("distilbert", distilbert, None, 0, "cls", lambda path: path.endswith("attention.dropout"))
record_texts("distilbert", folder, BertTokenizer.from_pretrained(folder), distilbert, "cls")
sinusoids = torch.zeros(40, 16, dtype=torch.double)
create_sinusoidal_embeddings(40, 16, sinusoids)
out["sinusoids"] = sinusoids

folder = here / "bert/roberta"
folder.mkdir(parents=True, exist_ok=True)
bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator([t for t in texts * 3] + ["the good gifts are good for a man"], vocab_size=300, min_frequency=2,
                        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
bpe.save_model(str(folder))
rows = bpe.get_vocab_size()
sizes["vocab_size"] = rows
easyrec = shake(EasyRecForm(RobertaConfig(**sizes, max_position_embeddings=42, type_vocab_size=1, layer_norm_eps=1e-5,
                                          attn_implementation="eager")))
easyrec.save_pretrained(folder)
record("roberta", easyrec.roberta, easyrec.mlp.dense.double(), 1, "easyrec",
       lambda path: path.endswith("attention.self.dropout"))
record_texts("roberta", folder, RobertaTokenizer.from_pretrained(folder), easyrec.roberta, "easyrec", easyrec.mlp.dense)

joined = "\0".join(texts).encode()
out["texts"] = torch.tensor(list(joined), dtype=torch.uint8)
save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "bert_golden.safetensors")

# Sizes of the published networks, by name.
for kind, config in ((DistilBertModel, DistilBertConfig()),
                     (BertModel, BertConfig(num_hidden_layers=6, hidden_size=384, intermediate_size=1536)),
                     (BertModel, BertConfig()),
                     (RobertaModel, RobertaConfig(vocab_size=50265, hidden_size=1024, num_hidden_layers=24,
                                                  num_attention_heads=16, intermediate_size=4096, type_vocab_size=1,
                                                  max_position_embeddings=514))):
    with torch.device("meta"):
        print(kind.__name__, sum(p.numel() for p in kind(config).parameters()))
