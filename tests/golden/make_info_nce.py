"""Writes info_nce_golden.safetensors: the loss of PULSE equation 1 and its gradients by PyTorch, in fp64.

python make_info_nce.py   (torch 2.11, safetensors)
"""
from pathlib import Path

import torch
from safetensors.torch import save_file

import rounding

out = {}
generator = torch.Generator().manual_seed(11)
for name, (batch, width, negatives) in {"full": (16, 12, 10), "short": (6, 12, 5)}.items():
    anchors, positives = (3 * torch.randn((batch, width), generator=generator, dtype=torch.float64) for _ in range(2))
    positives[2] *= 1e-3  # cosines do not see it, gradients do
    rows = torch.stack([torch.tensor([j for j in torch.randperm(batch, generator=generator).tolist() if j != i][:negatives])
                        for i in range(batch)])
    inputs = (anchors, positives, torch.tensor(0.07, dtype=torch.float64).log())

    def computed(*given):
        h, z, log_t = (x.clone().requires_grad_() for x in given)
        candidates = torch.cat([z.unsqueeze(1), z[rows]], dim=1)  # [B, 1+K, d]
        logits = torch.nn.functional.cosine_similarity(h.unsqueeze(1), candidates, dim=2, eps=1e-12) / log_t.exp()
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))
        loss.backward()
        return {f"{name}.loss": loss.detach(), f"{name}.grad.anchors": h.grad, f"{name}.grad.positives": z.grad,
                f"{name}.grad.log_tau": log_t.grad}

    for key, value in zip(("anchors", "positives", "log_tau", "negatives"), (*inputs, rows)):
        out[f"{name}.{key}"] = value.clone().contiguous()
    exact = computed(*inputs)
    out |= exact | rounding.of_inputs(exact, computed, inputs)
save_file(out, Path(__file__).parent / "info_nce_golden.safetensors")
