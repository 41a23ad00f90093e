"""Makes small.safetensors with the reference library and prints how it reads ours.

    python make_safetensors.py                     writes small.safetensors beside this script
    python make_safetensors.py read FILE           prints name, type, shape, sum of every tensor
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).parent
if sys.argv[1:2] == ["read"]:
    for name, value in sorted(load_file(sys.argv[2]).items()):
        print(name, value.dtype, list(value.shape), value.double().sum().item())
else:
    save_file(
        {
            "matrix": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
            "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
            "brain": torch.tensor([[1.5], [-2.0], [3.0]], dtype=torch.bfloat16),
            "double": torch.tensor(0.1, dtype=torch.float64),
            "long": torch.tensor([-1, 2**40], dtype=torch.int64),
            "int": torch.tensor([7], dtype=torch.int32),
            "byte": torch.tensor([0, 255, 3], dtype=torch.uint8),
            "empty": torch.zeros(0, 4),
        },
        here / "small.safetensors",
        metadata={"format": "pt"},
    )
