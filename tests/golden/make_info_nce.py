"""Writes info_nce_golden.safetensors: the loss of PULSE equation 1 and its gradients by PyTorch, in fp64.

python make_info_nce.py   (torch 2.11, safetensors)
"""
from pathlib import Path

import torch
from safetensors.torch import save_file

out = {}
generator = torch.Generator().manual_seed(11)
for name, (batch, width, negatives) in {"full": (16, 12, 10), "short": (6, 12, 5)}.items():
    anchors, positives = (3 * torch.randn((batch, width), generator=generator, dtype=torch.float64) for _ in range(2))
    positives[2] *= 1e-3  # cosines do not see it, gradients do
    rows = torch.stack([torch.tensor([j for j in torch.randperm(batch, generator=generator).tolist() if j != i][:negatives])
                        for i in range(batch)])
    log_tau = torch.tensor(0.07, dtype=torch.float64).log()
    leaves = [x.clone().requires_grad_() for x in (anchors, positives, log_tau)]
    h, z, log_t = leaves
    candidates = torch.cat([z.unsqueeze(1), z[rows]], dim=1)  # [B, 1+K, d]
    logits = torch.nn.functional.cosine_similarity(h.unsqueeze(1), candidates, dim=2, eps=1e-12) / log_t.exp()
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.long))
    loss.backward()
    for key, value in {"anchors": anchors, "positives": positives, "log_tau": log_tau, "negatives": rows,
                       "loss": loss.detach(), "grad.anchors": h.grad, "grad.positives": z.grad,
                       "grad.log_tau": log_t.grad}.items():
        out[f"{name}.{key}"] = value.clone().contiguous()
save_file(out, Path(__file__).parent / "info_nce_golden.safetensors")
