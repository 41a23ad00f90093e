"""Writes phi/ and phi_untied/ (a tiny Phi3 in Hugging Face form) and phi_golden.safetensors: what transformers
computes with it.

python make_phi.py   (torch 2.11, transformers 4.49, safetensors)
"""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Phi3Config, Phi3ForCausalLM
from transformers.models.phi3 import modeling_phi3

import rounding

here = Path(__file__).parent


def wide_norm(self, x):  # the reference rounds to fp32 here, even in fp64
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    wide = x.to(kind)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * wide.to(x.dtype)


modeling_phi3.Phi3RMSNorm.forward = wide_norm
SHORT = [1.0, 1.0, 1.1, 1.25, 1.5, 2.0]
LONG = [1.0, 1.3, 2.4, 5.5, 11.0, 29.0]


def make(tied):
    torch.manual_seed(17)
    config = Phi3Config(
        vocab_size=512, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, original_max_position_embeddings=64,
        rope_theta=10000.0, partial_rotary_factor=0.75, tie_word_embeddings=tied, sliding_window=None,
        rope_scaling={"type": "longrope", "short_factor": SHORT, "long_factor": LONG},
        bos_token_id=499, eos_token_id=499, pad_token_id=499, rms_norm_eps=1e-5,
        attn_implementation="sdpa")  # computes in the type of its input, unlike "eager"
    model = Phi3ForCausalLM(config).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():  # far from symmetric, so that a mistake shows
            p.copy_((1 + 0.3 * torch.randn_like(p)) if name.endswith("norm.weight")
                    else (0.5 if "embed" in name else 0.2) * torch.randn_like(p))
            p.copy_(p.bfloat16())  # published files are bf16
    return model


def write(model, name):
    folder = here / name
    folder.mkdir(exist_ok=True)
    weights = {k: v.detach().bfloat16() for k, v in model.named_parameters()}
    names = sorted(weights)
    shards = [names[: len(names) // 2], names[len(names) // 2:]]
    index = {"metadata": {"total_size": sum(2 * v.numel() for v in weights.values())}, "weight_map": {}}
    for i, part in enumerate(shards):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        save_file({k: weights[k].contiguous() for k in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"] |= {k: file for k in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    published = model.config.to_diff_dict()
    published["tie_word_embeddings"] = model.config.tie_word_embeddings
    published["torch_dtype"] = "bfloat16"
    published["architectures"] = ["Phi3ForCausalLM"]
    for key in ("_attn_implementation_autoset", "_name_or_path", "transformers_version"):
        published.pop(key, None)
    (folder / "config.json").write_text(json.dumps(published, indent=1, sort_keys=True))
    (folder / "generation_config.json").write_text(
        json.dumps({"bos_token_id": 499, "eos_token_id": [498, 499], "pad_token_id": 499}))


def computed(key, model, ids):
    out = {}
    logits = model(ids).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="sum")
    model.zero_grad()
    loss.backward()
    out[key + ".logits"] = logits[[0, 17, ids.shape[1] - 1]]
    out[key + ".loss"] = loss.reshape(1)
    for name, p in model.named_parameters():
        if p.dim() == 1:
            out[f"{key}.grad.{name}"] = p.grad.clone()
        else:  # some rows, and all of them summed: the files stay small
            out[f"{key}.grad.{name}.rows"] = p.grad[::37].clone()
            out[f"{key}.grad.{name}.sum"] = p.grad.sum(0)
    return out


def main():
    torch.set_num_threads(1)
    out = {}
    for tied in (True, False):
        model = make(tied)
        kind = "tied" if tied else "untied"
        write(model, "phi" if tied else "phi_untied")
        for length in (40, 100):  # short and long factors: the original context is 64
            torch.manual_seed(length)
            ids = torch.randint(0, 490, (1, length))
            key = f"{kind}.{length}"
            out[key + ".ids"] = ids[0]
            exact = computed(key, model, ids)
            out |= exact | rounding.of_model(exact, lambda single: computed(key, single, ids), model)
            half = make(tied).bfloat16()
            half.model.rotary_emb = modeling_phi3.Phi3RotaryEmbedding(half.config)  # its fp32 numbers again
            out[key + ".bf16"] = half(ids).logits[0][[0, 17, length - 1]].float()
    save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "phi_golden.safetensors")


if __name__ == "__main__":
    main()
