"""Writes decode_golden.safetensors: what transformers decodes with the tiny T5 of make_t5.py, and what its warpers
leave of random logits.

python make_decode.py   (torch 2.11, transformers 4.49, safetensors)
"""
import copy
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LogitsProcessorList, T5ForConditionalGeneration
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

import rounding
from make_t5 import norms_and_softmax_in_double

torch.manual_seed(11)
torch.set_num_threads(1)
here = Path(__file__).parent
model = T5ForConditionalGeneration.from_pretrained(here / "t5").eval()
golden = load_file(here / "t5_golden.safetensors")
ids, mask = golden["ids"], golden["mask"].bool()
out = {}


@torch.no_grad()
def generate(model, key, **options):
    """Tokens and scores of hypotheses; of a single beam the log probability of every token."""
    memory = model.encoder(input_ids=ids, attention_mask=mask)  # generate() changes it
    got = model.generate(encoder_outputs=memory, attention_mask=torch.ones_like(mask), do_sample=False,
                         return_dict_in_generate=True, output_scores=True, **options)
    if options.get("num_beams", 1) > 1:
        return {key + ".sequences": got.sequences, key + ".scores": got.sequences_scores}
    return {key + ".sequences": got.sequences,
            key + ".log_probabilities": model.compute_transition_scores(got.sequences, got.scores,
                                                                        normalize_logits=True)}


full = torch.full


def full_in_double(*arguments, dtype=None, **options):
    """The library keeps the scores of groups of beams in fp32 whatever the model computes in."""
    return full(*arguments, dtype=torch.float64 if dtype == torch.float32 else dtype, **options)


def record(key, **options):
    """In fp32, with what that rounds away."""
    stored = generate(model, key, **options)
    with norms_and_softmax_in_double(), mock.patch.object(torch, "full", full_in_double):
        exact = generate(copy.deepcopy(model).double(), key, **options)
    numbers = next(k for k in exact if not k.endswith(".sequences"))

    def scores(single):
        got = generate(single, key, **options)
        assert torch.equal(got[key + ".sequences"], stored[key + ".sequences"]), f"{key}: near-equals"
        return {numbers: got[numbers]}

    out.update(stored | rounding.of_model(exact, scores, model))


# Beams: diverse groups, least lengths. The library refuses equal groups (diversity 0), which the published code of
# ISRF asks for and older versions decoded.
validate, GenerationConfig.validate = GenerationConfig.validate, lambda *_, **__: None
cases = [  # beams, groups, diversity, returned, limit, min_new_tokens, length penalty
    (21, 3, 0.0, 4, 20, 9, 1.0), (21, 3, 0.5, 21, 20, 9, 1.0), (21, 3, 0.5, 21, 20, 0, 1.0), (12, 4, 1.5, 12, 12, 3, 2.0),
    (6, 6, 0.7, 6, 10, 0, 0.0), (10, 2, 25.0, 10, 15, 2, 1.0), (8, 2, 0.1, 8, 30, 0, 1.0), (20, 1, 0.0, 10, 12, 6, 1.0),
    (5, 1, 0.0, 5, 9, 4, 0.5),
]
for beams, groups, diversity, returned, limit, least, penalty in cases:
    record(f"beam.{beams}.{groups}.{diversity:g}.{returned}.{limit}.{least}.{penalty:g}", num_beams=beams,
           num_beam_groups=groups, diversity_penalty=diversity, num_return_sequences=returned, max_new_tokens=limit,
           min_new_tokens=least, length_penalty=penalty, early_stopping=True)
record("min_length", num_beams=21, num_beam_groups=3, diversity_penalty=0.5, max_new_tokens=20, min_length=10,
       num_return_sequences=1, early_stopping=True)
GenerationConfig.validate = validate

record("greedy", max_new_tokens=25)

# Warpers. Rows: spread, flat, ties (half precision), ties of the best, impossible tokens.
V = 3000
logits = torch.randn(6, V) * torch.tensor([3.0, 1.0, 2.0, 1.0, 2.0, 1.0]).unsqueeze(1)
logits[2] = logits[2].bfloat16().float()
logits[3] = logits[3].mul(2).round().div(2)
logits[4, 100:] = -float("inf")
logits[5] = (torch.arange(V) % 7 == 0) * 4.0
out["warp.logits"] = logits
for t, k, p in [(1.0, 0, 0.9), (0.7, 0, 0.95), (1.3, 0, 0.3), (0.7, 50, 1.0), (1.0, 50, 0.8), (2.5, 20, 0.5), (0.4, 1, 1.0),
                (1.0, 0, 1e-6), (0.6, 4000, 0.2), (1.0, 7, 0.999)]:
    warpers = LogitsProcessorList()
    if t != 1.0:
        warpers.append(TemperatureLogitsWarper(t))
    if k != 0:
        warpers.append(TopKLogitsWarper(top_k=k))
    if p < 1.0:
        warpers.append(TopPLogitsWarper(top_p=p))
    scores = warpers(None, logits.clone())
    kept = scores > -float("inf")
    key = f"warp.{t:g}.{k}.{p:g}"
    out[key + ".counts"] = kept.sum(1)
    out[key + ".tokens"] = kept.nonzero()[:, 1].to(torch.int32)
    out[key + ".probabilities"] = scores.softmax(-1)[kept]

    def log_probabilities(logits, t=t, kept=kept, key=key):
        return {key + ".log_probabilities": (logits / t).masked_fill(~kept, -float("inf")).log_softmax(-1)[kept]}

    out |= rounding.of_inputs(log_probabilities(logits.double()), log_probabilities, [logits])
    print(key, kept.sum(1).tolist())
save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "decode_golden.safetensors")
