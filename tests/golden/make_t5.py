"""Writes tiny T5 models in Hugging Face form and what transformers computes with them in fp64:
t5/ (v1.0, one file), t5_v11/ (v1.1, shards, a config.json as newer libraries write it),
t5_golden.safetensors and t5_v11_golden.safetensors.

python make_t5.py   (torch 2.11, transformers 4.49, safetensors)
"""
import contextlib
import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention, T5LayerNorm

import rounding

torch.set_num_threads(1)
here = Path(__file__).parent
SIZES = dict(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=3, dropout_rate=0.1,
             relative_attention_num_buckets=32, relative_attention_max_distance=128,
             decoder_start_token_id=0)


def random_model(config):
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():  # far from symmetric, so that a mistake shows
            p.copy_(1 + 0.3 * torch.randn_like(p) if name.endswith("norm.weight")
                    else 0.3 * torch.randn_like(p))
    return model


def samples():
    lengths = [21, 9, 40]
    S = max(lengths)
    ids = torch.zeros(3, S, dtype=torch.long)
    mask = torch.zeros(3, S, dtype=torch.bool)
    for b, n in enumerate(lengths):
        ids[b, :n] = torch.randint(2, 64, (n,))
        ids[b, n - 1] = 1
        mask[b, :n] = True
    targets = torch.randint(2, 64, (3, 19))
    targets[0, 12:] = 0
    targets[1, 5:] = 0
    inputs = torch.cat([torch.zeros(3, 1, dtype=torch.long), targets[:, :-1]], 1)
    added = 0.5 * torch.randn(3, S, 16)  # what a recommender adds to the embeddings
    return {"ids": ids, "mask": mask.to(torch.uint8), "targets": targets, "inputs": inputs, "added": added}


def logits_of(model, memory, inputs, cross_mask):
    hidden = model.decoder(input_ids=inputs, encoder_hidden_states=memory,
                           encoder_attention_mask=cross_mask).last_hidden_state
    return model.lm_head(hidden * 16 ** -0.5 if model.config.tie_word_embeddings else hidden)


def encode(model, given, mask):
    embeddings = model.shared(given["ids"])
    return model.encoder(inputs_embeds=embeddings + given["added"].to(embeddings.dtype),
                         attention_mask=mask).last_hidden_state


@contextlib.contextmanager
def norms_and_softmax_in_double():
    """transformers casts both to fp32 whatever the model's type; a reference in fp64 must not."""
    norm, to_float = T5LayerNorm.forward, torch.Tensor.float

    def plain_norm(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    T5LayerNorm.forward, torch.Tensor.float = plain_norm, torch.Tensor.double
    yield
    T5LayerNorm.forward, torch.Tensor.float = norm, to_float


def computed(model, given, kinds):
    """Encoder output, logits, loss and gradients in the model's type."""
    out = {}
    mask = given["mask"].bool()
    for kind in kinds:
        cross_mask = mask if kind == "masked" else None
        out["memory"] = memory = encode(model, given, mask)
        out[f"{kind}.logits"] = logits = logits_of(model, memory, given["inputs"], cross_mask)
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), given["targets"].flatten(), reduction="sum",
            ignore_index=0 if kind == "masked" else -100)
        out[f"{kind}.loss"] = loss.reshape(1)
        model.zero_grad()
        loss.backward()
        for name, p in model.named_parameters():
            out[f"{kind}.grad.{name}"] = p.grad.clone()
    return out


def recorded(model, given, kinds):
    """All that in fp64, with what fp32 makes of it; logits in bf16, too."""
    with norms_and_softmax_in_double():
        out = computed(copy.deepcopy(model).double(), given, kinds)
    out |= rounding.of_model(out, lambda single: computed(single, given, kinds), model)
    half, mask = copy.deepcopy(model).bfloat16(), given["mask"].bool()
    for kind in kinds:
        with torch.no_grad():
            out[f"{kind}.logits.bf16"] = logits_of(half, encode(half, given, mask), given["inputs"],
                                                   mask if kind == "masked" else None)
    return out


def beams(model, given):
    """Beam search over the plain model (no added vectors, cross-attention sees padding as in ISRF's code)."""
    out = {}
    mask = given["mask"].bool()
    for width, returned, new in ((4, 4, 12), (20, 10, 8), (3, 2, 50), (30, 20, 6)):
        memory = model.encoder(input_ids=given["ids"], attention_mask=mask)  # generate() changes it
        got = model.generate(encoder_outputs=memory, attention_mask=torch.ones_like(mask),
                             num_beams=width, num_return_sequences=returned, early_stopping=True,
                             length_penalty=1.0, max_new_tokens=new, do_sample=False,
                             return_dict_in_generate=True, output_scores=True)
        out[f"beam.{width}.{returned}.{new}.sequences"] = got.sequences
        out[f"beam.{width}.{returned}.{new}.scores"] = got.sequences_scores
    return out


def beams_with_rounding(model, given):
    out = beams(model, given)
    with norms_and_softmax_in_double():
        exact = beams(copy.deepcopy(model).double(), given)

    def scores(single):
        got = beams(single, given)
        assert all(torch.equal(got[k], out[k]) for k in out if k.endswith(".sequences"))  # no near-equals
        return {k: v for k, v in got.items() if k.endswith(".scores")}

    return out | rounding.of_model(exact, scores, model)


def save(name, tensors):
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, here / name)


def main():
    torch.manual_seed(5)
    config = T5Config(**SIZES, feed_forward_proj="relu")
    model = random_model(config)
    with torch.no_grad():
        model.shared.weight[1] *= 4  # hypotheses of many lengths
    folder = here / "t5"
    folder.mkdir(exist_ok=True)
    config.save_pretrained(folder)
    save_file({k: v.detach().clone() for k, v in model.named_parameters()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    given = samples()
    out = given | recorded(model, given, ("open", "masked"))
    distances = torch.arange(-300, 301)
    for kind in ("encoder", "decoder"):
        out[f"buckets.{kind}"] = T5Attention._relative_position_bucket(
            distances, bidirectional=kind == "encoder", num_buckets=32, max_distance=128)
    with torch.no_grad():
        out |= beams_with_rounding(model, given)
    save("t5_golden.safetensors", out)

    torch.manual_seed(11)
    config = T5Config(**SIZES, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    model = random_model(config)
    folder = here / "t5_v11"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    (folder / "generation_config.json").unlink()
    given = samples()
    save("t5_v11_golden.safetensors", given | recorded(model, given, ("masked",)))
    newer = json.loads((folder / "config.json").read_text())
    newer["dtype"] = newer.pop("torch_dtype")
    newer.pop("_attn_implementation_autoset", None)
    newer |= {"tie_word_embeddings": True, "scale_decoder_outputs": False, "is_decoder": False,
              "transformers_version": "5.0.0"}
    (folder / "config.json").write_text(json.dumps(newer, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
