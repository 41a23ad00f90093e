"""Writes gru4rec_golden.safetensors: a tiny GRU4Rec of random weights and what PyTorch's own layers compute with it in
fp64. The form is RecBole's (GRU without biases, a dense layer, scores by the item table), written from its equations.

inputs i64 [B,L] prefixes of histories, newest last, padded with 0 on the right; lengths i64 [B]; targets i64 [B] the
event after each prefix; events are item rows + 1. weight.NAME: item_embedding.weight [I+1,d], whose row 0 is padding,
gru_layers.weight_ih_l0 [3h,d] and gru_layers.weight_hh_l0 [3h,h] with the gates in the order r, z, n,
dense.weight [d,h], dense.bias [d].
hidden [B,h] the GRU's state after the last event; query [B,d]; scores [B,I] of all items but padding; loss [1] the sum
of -log softmax(scores)[target]; grad.NAME of that sum; adam.NAME the weights after one step of Adam (1e-3, eps 1e-8, no
decay) on the mean. NAME.rounding: see rounding.py.

python make_gru4rec.py   (torch 2.11, safetensors)
"""
import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import rounding

torch.set_num_threads(1)
torch.manual_seed(5)
ITEMS, LENGTH, DIM, HIDDEN = 9, 5, 8, 6
HISTORIES = [[3, 7, 5, 1, 9, 2, 8], [9, 4], [4, 4, 2, 6], [1, 8, 3], [6, 5, 9, 7, 3, 4], [2, 1]]


class Gru4Rec(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_embedding = nn.Embedding(ITEMS + 1, DIM, padding_idx=0)
        self.gru_layers = nn.GRU(DIM, HIDDEN, bias=False, batch_first=True)
        self.dense = nn.Linear(HIDDEN, DIM)

    def forward(self, inputs, lengths):
        states, _ = self.gru_layers(self.item_embedding(inputs))
        hidden = states[torch.arange(len(inputs)), lengths - 1]
        query = self.dense(hidden)
        return hidden, query, query @ self.item_embedding.weight[1:].T


pairs = [(events[:n][-LENGTH:], events[n]) for events in HISTORIES for n in range(1, len(events))]
inputs = torch.zeros(len(pairs), LENGTH, dtype=torch.long)
for row, (prefix, _) in enumerate(pairs):
    inputs[row, :len(prefix)] = torch.tensor(prefix)
lengths = torch.tensor([len(prefix) for prefix, _ in pairs])
targets = torch.tensor([target for _, target in pairs])


def computed(model):
    hidden, query, scores = model(inputs, lengths)
    loss = F.cross_entropy(scores, targets - 1, reduction="sum")
    loss.backward()
    out = {"hidden": hidden, "query": query, "scores": scores, "loss": loss.reshape(1)}
    out |= {f"grad.{name}": p.grad.clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad /= len(targets)
    torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8).step()
    return out | {f"adam.{name}": p for name, p in model.named_parameters()}


model = Gru4Rec().double()
with torch.no_grad():
    for p in model.parameters():  # large, so that the gates are far from linear
        p.copy_(0.7 * torch.randn_like(p))
    model.item_embedding.weight[0] = 0
exact = computed(copy.deepcopy(model))
out = {"inputs": inputs, "lengths": lengths, "targets": targets}
out |= {f"weight.{name}": p for name, p in model.named_parameters()}
out |= exact | rounding.of_model(exact, computed, model)
save_file({name: x.detach().clone().contiguous() for name, x in out.items()},
          Path(__file__).parent / "gru4rec_golden.safetensors")
