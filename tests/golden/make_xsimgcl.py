"""Writes xsimgcl_golden.safetensors: one training step of XSimGCL (Yu et al. 2023) on a tiny graph by a dense
reference in fp64, written from the equations; the noise is given.

users, items [1] i64: U and I. edges i64 [E,2]: user row, item row. Node 0 stands alone, user row u is node u + 1, item
row i is node U + 1 + i. adjacency f64 [M,M]: 1/sqrt(degree degree) of each edge.
nodes [M,d]: Z^0. noise.1, noise.2 [M,d]: uniform numbers on [0,1) of each layer, u^k below.
batch.users, batch.positives, batch.negatives i64 [B]: rows; unique.users, unique.items i64: distinct rows of
batch.users and batch.positives, ascending.

layer.k [M,d] = A Z^{k-1} + EPS sign(A Z^{k-1}) u^k/|u^k|, Z^{k-1} being layer k - 1 with its noise; z [M,d]: the mean of
layers 1 and 2; the view is layer 1. clean.z [M,d]: z without noise; clean.scores [U,I]: what is predicted.
With z of the batch: bpr [1] = sum of -log(1e-5 + sigmoid(s+ - s-)); users_norm, items_norm [1]: |Z_u|, |Z_i+| over all
rows of the batch together, repeats included; contrast.users, contrast.items [1]: sums over the distinct rows of -log
softmax(cos(z, layer.1)/TAU)[same row] against all distinct rows.
norm.loss [1] = bpr/B + L2 (users_norm + items_norm)/B + CL (contrast.users/|unique.users| + contrast.items/
|unique.items|), norm.grad.nodes, norm.adam.nodes (one step: 1e-3, eps 1e-8, no decay).
squares.loss, squares.grad.nodes, squares.adam.nodes: the same with L2/2 (users_norm^2 + items_norm^2)/B, which is a sum
over the batch. NAME.rounding: see rounding.py.

python make_xsimgcl.py   (torch 2.11, safetensors)
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

import rounding

torch.set_num_threads(1)
torch.manual_seed(17)
USERS, ITEMS, DIM, LAYERS, VIEW = 6, 9, 8, 2, 1
EPS, TAU, CL, L2 = 0.2, 0.15, 0.2, 1e-2
NODES = 1 + USERS + ITEMS
EDGES = torch.tensor([[0, 0], [0, 3], [0, 5], [1, 3], [1, 8], [2, 1], [2, 2], [2, 3], [2, 7], [3, 4], [3, 0], [4, 6],
                      [4, 5], [5, 8], [5, 2], [5, 4]])
BATCH = torch.tensor([0, 2, 2, 5, 3, 0, 4]), torch.tensor([3, 3, 7, 8, 4, 3, 6]), torch.tensor([1, 0, 8, 0, 7, 4, 2])


def normalised_adjacency():
    a = torch.zeros(NODES, NODES, dtype=torch.float64)
    for user, item in EDGES.tolist():
        a[1 + user, 1 + USERS + item] = a[1 + USERS + item, 1 + user] = 1
    degree = a.sum(1).clamp_min(1)
    return a / (degree[:, None] * degree[None, :]).sqrt()


def propagate(nodes, noises):
    layers, a = [nodes], adjacency.to(nodes.dtype)
    for noise in noises:
        z = a @ layers[-1]
        if noise is not None:
            z = z + EPS * z.sign().detach() * normalize(noise.to(nodes.dtype), dim=1)
        layers.append(z)
    return layers, torch.stack(layers[1:]).mean(0)


def contrast(z, view):
    logits = normalize(z, dim=1) @ normalize(view, dim=1).T / TAU
    return -logits.log_softmax(1).diagonal().sum()


def step(nodes, form):
    nodes = nodes.detach().clone().requires_grad_()
    layers, z = propagate(nodes, noises)
    user, positive, negative = (z[1 + BATCH[0]], z[1 + USERS + BATCH[1]], z[1 + USERS + BATCH[2]])
    margin = (user * positive).sum(1) - (user * negative).sum(1)
    got = {"bpr": -(1e-5 + margin.sigmoid()).log().sum(), "users_norm": user.norm(), "items_norm": positive.norm()}
    views = {"contrast.users": 1 + unique_users, "contrast.items": 1 + USERS + unique_items}
    got |= {name: contrast(z[rows], layers[VIEW][rows]) for name, rows in views.items()}
    size = len(BATCH[0])
    length = (got["users_norm"] + got["items_norm"] if form == "norm"
              else (user.square().sum() + positive.square().sum()) / 2)
    loss = (got["bpr"] + L2 * length) / size + CL * sum(got[name] / len(rows) for name, rows in views.items())
    loss.backward()
    grad = nodes.grad.clone()
    torch.optim.Adam([nodes], lr=1e-3, eps=1e-8).step()
    out = {name: value.reshape(1) for name, value in got.items()} | {f"layer.{k}": layers[k] for k in (1, 2)}
    return out | {"z": z, f"{form}.loss": loss.reshape(1), f"{form}.grad.nodes": grad, f"{form}.adam.nodes": nodes}


def computed(nodes):
    clean = propagate(nodes, [None] * LAYERS)[1]
    return (step(nodes, "norm") | step(nodes, "squares")
            | {"clean.z": clean, "clean.scores": clean[1:1 + USERS] @ clean[1 + USERS:].T})


adjacency = normalised_adjacency()
nodes = 0.5 * torch.randn(NODES, DIM, dtype=torch.float64)
noises = [torch.randint(2 ** 24, (NODES, DIM)).double() / 2 ** 24 for _ in range(LAYERS)]  # exact in fp32 too
unique_users, unique_items = BATCH[0].unique(), BATCH[1].unique()
exact = computed(nodes)
out = {"users": torch.tensor([USERS]), "items": torch.tensor([ITEMS]), "edges": EDGES, "adjacency": adjacency,
       "nodes": nodes, "noise.1": noises[0], "noise.2": noises[1], "batch.users": BATCH[0],
       "batch.positives": BATCH[1], "batch.negatives": BATCH[2], "unique.users": unique_users,
       "unique.items": unique_items}
out |= exact | rounding.of_inputs(exact, computed, [nodes])
save_file({name: x.detach().clone().contiguous() for name, x in out.items()},
          Path(__file__).parent / "xsimgcl_golden.safetensors")
