"""Writes optimizer_golden.safetensors: steps of torch.optim.AdamW with groups, clipping and transformers' schedules.

python make_optimizer.py   (torch 2.11, transformers 4.49, safetensors)
"""
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

import rounding

STEPS, WARMUP, CLIP = 12, 0.2, 1.5
out = {}
generator = torch.Generator().manual_seed(5)
starts = {name: torch.randn(shape, generator=generator, dtype=torch.float64)
          for name, shape in {"map": (4, 3), "bias": (4,), "log_tau": (1,)}.items()}
gradients = {name: torch.randn((STEPS, *start.shape), generator=generator, dtype=torch.float64)
             for name, start in starts.items()}
gradients["map"][3:5] *= 0.01  # not every step is clipped
gradients["bias"][3:5] *= 0.01
gradients["log_tau"][3:5] *= 0.01
for name in starts:
    out["start." + name], out["gradient." + name] = starts[name], gradients[name]


def train(schedule, dtype, starts, gradients):
    """What is left after all steps: parameters, norms before clipping, factors of the rate."""
    p = {name: start.to(dtype).clone().requires_grad_() for name, start in starts.items()}
    optimizer = torch.optim.AdamW([
        {"params": [p["map"]]},
        {"params": [p["bias"]], "weight_decay": 0.0},
        {"params": [p["log_tau"]], "weight_decay": 0.0, "lr": 0.05},
    ], lr=0.01, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1)
    warmup = math.ceil(WARMUP * STEPS)
    if schedule == "linear":
        scheduler = get_linear_schedule_with_warmup(optimizer, warmup, STEPS)
    elif schedule == "cosine":
        scheduler = get_cosine_schedule_with_warmup(optimizer, warmup, STEPS)
    else:
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    norms, factors = [], []
    for step in range(STEPS):
        for name in p:
            p[name].grad = gradients[name][step].to(dtype).clone()
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), CLIP))
        factors.append(scheduler.get_last_lr()[0] / 0.01)
        optimizer.step()
        scheduler.step()
    return ({name: value.detach() for name, value in p.items()}, torch.stack(norms).double(),
            torch.tensor(factors, dtype=torch.float64))


for schedule in ("constant", "linear", "cosine"):
    for key, dtype in ((schedule + ".fp64", torch.float64), (schedule + ".fp32", torch.float32)):
        parameters, out[key + ".norms"], out[key + ".factors"] = train(schedule, dtype, starts, gradients)
        out |= {f"{key}.{name}": value for name, value in parameters.items()}

    def computed(*moved):
        count = len(starts)
        got, _, _ = train(schedule, torch.float32, dict(zip(starts, moved[:count])), dict(zip(gradients, moved[count:])))
        return {f"{schedule}.fp64.{name}": value for name, value in got.items()}

    out |= rounding.of_inputs(out, computed, [*starts.values(), *gradients.values()])
save_file(out, Path(__file__).parent / "optimizer_golden.safetensors")
