"""Writes scorer_golden.safetensors: what transformers reads of the tiny Phi of make_phi.py where PULSE's scorer
lists all candidates in one text, w . h at the end of each candidate's span, or logits of letters' tokens.

python make_scorer.py   (torch 2.11, transformers 4.49, safetensors)
"""
from pathlib import Path

import torch
from make_phi import make
from safetensors.torch import save_file

import rounding

SPANS = [(7, [5, 3, 6, 4]), (12, [4, 4, 4, 9]), (30, [12, 20, 15, 11])]  # the last needs the long factors
LETTERS = [(25, 4), (31, 4), (90, 4)]


def main():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model = make(tied=True)
    model.w = torch.nn.Parameter(torch.randn(64, dtype=torch.float64))
    out = {"w": model.w}

    def keep(key, logits_of):
        def computed(model):
            logits = logits_of(model)
            model.zero_grad()
            torch.nn.functional.cross_entropy(logits[None], torch.tensor([1])).backward()
            got = {key + ".logits": logits}
            for name in ("model.norm.weight", "model.layers.0.input_layernorm.weight"):
                got[f"{key}.grad.{name}"] = dict(model.named_parameters())[name].grad.clone()
            if model.w.grad is not None:
                got[key + ".grad.score.weight"] = model.w.grad.clone()
            return got

        exact = computed(model)
        out.update(exact | rounding.of_model(exact, computed, model))

    for i, (prefix, spans) in enumerate(SPANS):
        ids = torch.randint(0, 490, (prefix + sum(spans),))
        ends = prefix + torch.tensor(spans).cumsum(0) - 1
        out[f"span.{i}.ids"], out[f"span.{i}.ends"] = ids, ends
        keep(f"span.{i}", lambda m, ids=ids, ends=ends: m.model(ids[None]).last_hidden_state[0, ends] @ m.w)
    for i, (length, count) in enumerate(LETTERS):
        ids, letters = torch.randint(0, 490, (length,)), torch.randperm(490)[:count]
        out[f"letter.{i}.ids"], out[f"letter.{i}.letters"] = ids, letters
        keep(f"letter.{i}", lambda m, ids=ids, letters=letters: m(ids[None]).logits[0, -1, letters])
    save_file({k: v.detach().contiguous() for k, v in out.items()},
              Path(__file__).parent / "scorer_golden.safetensors")


if __name__ == "__main__":
    main()
