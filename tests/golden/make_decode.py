"""Writes decode_golden.safetensors: what transformers decodes with the tiny T5 of make_t5.py, and what its warpers
leave of random logits.

python make_decode.py   (torch 2.11, transformers 4.49, safetensors)
"""
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LogitsProcessorList, T5ForConditionalGeneration
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

torch.manual_seed(11)
torch.set_num_threads(1)
here = Path(__file__).parent
model = T5ForConditionalGeneration.from_pretrained(here / "t5").eval()
golden = load_file(here / "t5_golden.safetensors")
ids, mask = golden["ids"], golden["mask"].bool()
out = {}


@torch.no_grad()
def generate(**options):
    memory = model.encoder(input_ids=ids, attention_mask=mask)  # generate() changes it
    return model.generate(encoder_outputs=memory, attention_mask=torch.ones_like(mask), do_sample=False,
                          return_dict_in_generate=True, output_scores=True, **options)


# Beams: diverse groups, least lengths. The library refuses equal groups (diversity 0), which the published code of
# ISRF asks for and older versions decoded.
validate, GenerationConfig.validate = GenerationConfig.validate, lambda *_, **__: None
cases = [  # beams, groups, diversity, returned, limit, min_new_tokens, length penalty
    (21, 3, 0.0, 4, 20, 9, 1.0), (21, 3, 0.5, 21, 20, 9, 1.0), (21, 3, 0.5, 21, 20, 0, 1.0), (12, 4, 1.5, 12, 12, 3, 2.0),
    (6, 6, 0.7, 6, 10, 0, 0.0), (10, 2, 25.0, 10, 15, 2, 1.0), (8, 2, 0.1, 8, 30, 0, 1.0), (20, 1, 0.0, 10, 12, 6, 1.0),
    (5, 1, 0.0, 5, 9, 4, 0.5),
]
for beams, groups, diversity, returned, limit, least, penalty in cases:
    got = generate(num_beams=beams, num_beam_groups=groups, diversity_penalty=diversity, num_return_sequences=returned,
                   max_new_tokens=limit, min_new_tokens=least, length_penalty=penalty, early_stopping=True)
    key = f"beam.{beams}.{groups}.{diversity:g}.{returned}.{limit}.{least}.{penalty:g}"
    out[key + ".sequences"], out[key + ".scores"] = got.sequences, got.sequences_scores
got = generate(num_beams=21, num_beam_groups=3, diversity_penalty=0.5, max_new_tokens=20, min_length=10,
               num_return_sequences=1, early_stopping=True)
out["min_length.sequences"], out["min_length.scores"] = got.sequences, got.sequences_scores
GenerationConfig.validate = validate

# Greedy, with the log probability of every token.
got = generate(max_new_tokens=25)
out["greedy.sequences"] = got.sequences
out["greedy.log_probabilities"] = model.compute_transition_scores(got.sequences, got.scores, normalize_logits=True)

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
    print(key, kept.sum(1).tolist())
save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "decode_golden.safetensors")
