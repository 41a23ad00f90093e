"""How far the reference itself comes from its fp64 results when it computes in fp32: what the bounds of fp32
tests are made of (bound.h). For every tensor NAME that is compared in fp32, NAME.rounding [1] f64 is stored beside it.
"""
import copy

import torch

RUNS = 9


def neighbours(x, generator):
    """x in fp32, every number moved by one unit in the last place, up or down."""
    x = x.detach().float()
    up = torch.rand(x.shape, generator=generator) < 0.5
    return torch.nextafter(x, torch.where(up, torch.inf, -torch.inf))


def of_inputs(exact, compute, inputs):
    """The .rounding of what compute(*inputs) -> {name: tensor} returns, against {name: fp64 tensor}.

    The largest difference over RUNS runs in fp32: one with the inputs as they are, the others with inputs one unit
    in the last place away, which stand for other orders of the same sums: one run of one CPU may hit by luck.
    """
    generator = torch.Generator().manual_seed(1)  # the scripts' own draws stay what they are
    worst = {}
    for run in range(RUNS):
        moved = [neighbours(x, generator) if run else x.detach().float() for x in inputs]
        for name, value in compute(*moved).items():
            apart = (value.detach().double() - exact[name].detach().double()).abs().max().item()
            worst[name] = max(worst.get(name, 0.0), apart)
    return {name + ".rounding": torch.tensor([apart], dtype=torch.float64) for name, apart in worst.items()}


def of_model(exact, compute, model):
    """The same for compute(model) -> {name: tensor}, where the parameters are the inputs."""
    def with_parameters(*moved):
        single = copy.deepcopy(model).float()
        single.zero_grad()  # copied with the model
        with torch.no_grad():
            for p, value in zip(single.parameters(), moved, strict=True):
                p.copy_(value)
        return compute(single)

    return of_inputs(exact, with_parameters, list(model.parameters()))
