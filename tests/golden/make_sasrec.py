"""Writes sasrec_golden.safetensors: a tiny SASRec of random weights, left-padded histories, and what
PyTorch's own layers compute with them in fp64, for the form that A-LLMRec and PULSE's public code
train ("original") and for pmixer/SASRec.pytorch of 2025 with norms after ("post") and before
("pre") the maps. Written from the description in words; every padded slot is
computed here.

FORM.weight.PATH; FORM.last [B,d] and FORM.scores [B,I] at the last slot of histories [B,L];
FORM.LOSS.loss [1] and FORM.LOSS.grad.PATH for LOSS bce and ce over seq, pos, neg, i64 [B,L], 0 is
padding. original.unpadded [B,d]: the last state of each history alone in slots 0..n-1.
FORM.dropout.{mean,variance} [B,d]: of the last states over DRAWS passes with dropout 0.5.

python make_sasrec.py   (torch 2.11, safetensors)
"""
import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import rounding

torch.set_num_threads(1)
ITEMS, DIM, BLOCKS, HEADS, LENGTH = 23, 8, 2, 2, 12
DROPOUT, DRAWS = 0.5, 25000
HISTORIES = [[3, 17, 5], [9], [4, 4, 22, 1, 8, 13, 2, 19, 6, 11, 23, 7, 15],
             [20, 2, 9, 14, 1, 16, 10, 3], [12, 21], [5, 18, 7, 23, 2, 6, 1, 9, 10, 4, 8, 3],
             [14, 13]]


class Maps(nn.Module):
    """Two convolutions of width 1 over the slots."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(DIM, DIM, 1), nn.Conv1d(DIM, DIM, 1)
        self.dropout1, self.dropout2 = nn.Dropout(DROPOUT), nn.Dropout(DROPOUT)

    def forward(self, x):
        x = self.dropout1(self.conv1(x.transpose(1, 2))).relu()
        return self.dropout2(self.conv2(x)).transpose(1, 2)


class Reference(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form
        original = form == "original"
        self.item_emb = nn.Embedding(ITEMS + 1, DIM, padding_idx=0)
        self.pos_emb = (nn.Embedding(LENGTH, DIM) if original
                        else nn.Embedding(LENGTH + 1, DIM, padding_idx=0))
        self.emb_dropout = nn.Dropout(DROPOUT)
        self.attention_layernorms, self.attention_layers = nn.ModuleList(), nn.ModuleList()
        self.forward_layernorms, self.forward_layers = nn.ModuleList(), nn.ModuleList()
        for _ in range(BLOCKS):
            self.attention_layernorms.append(nn.LayerNorm(DIM, eps=1e-8))
            self.attention_layers.append(nn.MultiheadAttention(DIM, HEADS, DROPOUT, batch_first=True))
            self.forward_layernorms.append(nn.LayerNorm(DIM, eps=1e-8))
            self.forward_layers.append(Maps())
        self.last_layernorm = nn.LayerNorm(DIM, eps=1e-8)

    def states(self, seq):
        slots = torch.arange(seq.shape[1])
        alive = (seq != 0).unsqueeze(2)
        hidden = ~torch.tril(torch.ones(seq.shape[1], seq.shape[1], dtype=torch.bool))
        x = self.item_emb(seq) * DIM ** 0.5
        if self.form == "original":
            x = self.emb_dropout(x + self.pos_emb(slots)) * alive
        else:
            x = self.emb_dropout(x + self.pos_emb((slots + 1) * (seq != 0)))
        for norm, attend, norm2, maps in zip(self.attention_layernorms, self.attention_layers,
                                             self.forward_layernorms, self.forward_layers):
            def attention(q, kv):
                return attend(q, kv, kv, attn_mask=hidden, need_weights=False)[0]

            if self.form == "original":
                q = norm(x)
                x = norm2(q + attention(q, x))
                x = (x + maps(x)) * alive
            elif self.form == "post":
                x = norm(x + attention(x, x))
                x = norm2(x + maps(x))
            else:
                n = norm(x)
                x = x + attention(n, n)
                x = x + maps(norm2(x))
        return self.last_layernorm(x)

    def losses(self, seq, pos, neg):
        h = self.states(seq)
        there = pos != 0
        plus = (h * self.item_emb(pos)).sum(2)[there]
        minus = (h * self.item_emb(neg)).sum(2)[there]
        yield "bce", (F.binary_cross_entropy_with_logits(plus, torch.ones_like(plus))
                      + F.binary_cross_entropy_with_logits(minus, torch.zeros_like(minus)))
        logits = h[there] @ self.item_emb.weight[1:].T
        yield "ce", F.cross_entropy(logits, pos[there] - 1)


def windows():
    """Inputs e_1..e_{m-1}, targets one later, negatives outside the history; newest slots last."""
    seq, pos, neg = (torch.zeros(len(HISTORIES), LENGTH, dtype=torch.long) for _ in range(3))
    for row, events in enumerate(HISTORIES):
        others = [i for i in range(1, ITEMS + 1) if i not in events]
        for back, (item, target) in enumerate(reversed(list(zip(events[:-1], events[1:])))):
            if back == LENGTH:
                break
            seq[row, -1 - back], pos[row, -1 - back] = item, target
            neg[row, -1 - back] = others[int(torch.randint(len(others), ()))]
    return seq, pos, neg


def newest(events):
    row = torch.zeros(1, LENGTH, dtype=torch.long)
    events = events[-LENGTH:]
    row[0, LENGTH - len(events):] = torch.tensor(events)
    return row


def answers(form, model):
    last = torch.cat([model.states(newest(events))[:, -1] for events in HISTORIES])
    return {f"{form}.last": last, f"{form}.scores": last @ model.item_emb.weight[1:].T}


def gradients(form, model):
    got = {}
    for kind, loss in model.losses(seq, pos, neg):
        model.zero_grad()
        loss.backward(retain_graph=True)
        got[f"{form}.{kind}.loss"] = loss.reshape(1)
        for name, p in model.named_parameters():
            got[f"{form}.{kind}.grad.{name}"] = p.grad.clone()
    return got


torch.manual_seed(3)
seq, pos, neg = windows()
out = {"seq": seq, "pos": pos, "neg": neg}
for form in ("original", "post", "pre"):
    model = Reference(form).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():  # far from symmetric, so that a mistake shows
            p.copy_(1 + 0.3 * torch.randn_like(p) if "norm" in name and name.endswith("weight")
                    else 0.4 * torch.randn_like(p))
        if form != "original":
            model.item_emb.weight[0] = model.pos_emb.weight[0] = 0
        exact = answers(form, model)
        out |= exact | rounding.of_model(exact, lambda single: answers(form, single), model)
        if form == "original":
            out["original.unpadded"] = torch.cat(
                [model.states(torch.tensor([events[-LENGTH:]]))[:, -1] for events in HISTORIES])
        single = copy.deepcopy(model).float().train()
        draws = [single.states(newest(events).expand(DRAWS, -1))[:, -1].double()
                 for events in HISTORIES]
        out[f"{form}.dropout.mean"] = torch.stack([d.mean(0) for d in draws])
        out[f"{form}.dropout.variance"] = torch.stack([d.var(0) for d in draws])
    for name, p in model.named_parameters():
        out[f"{form}.weight.{name}"] = p
    exact = gradients(form, model)
    out |= exact | rounding.of_model(exact, lambda single: gradients(form, single), model)
out["histories"] = torch.cat([newest(events) for events in HISTORIES])
save_file({k: v.detach().clone() for k, v in out.items()},
          Path(__file__).parent / "sasrec_golden.safetensors")
