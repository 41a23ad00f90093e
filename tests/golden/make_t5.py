"""Writes t5/ (a tiny T5 in Hugging Face form) and t5_golden.safetensors: what transformers computes with it.

python make_t5.py   (torch 2.11, transformers 4.49, safetensors)
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

torch.manual_seed(5)
torch.set_num_threads(1)
here = Path(__file__).parent
config = T5Config(
    vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=3, dropout_rate=0.1,
    relative_attention_num_buckets=32, relative_attention_max_distance=128,
    feed_forward_proj="relu", decoder_start_token_id=0)
model = T5ForConditionalGeneration(config).eval()
with torch.no_grad():
    for name, p in model.named_parameters():  # far from symmetric, so that a mistake shows
        p.copy_(1 + 0.3 * torch.randn_like(p) if name.endswith("norm.weight")
                else 0.3 * torch.randn_like(p))
    model.shared.weight[1] *= 4  # hypotheses of many lengths
folder = here / "t5"
folder.mkdir(exist_ok=True)
config.save_pretrained(folder)
weights = {k: v.detach().clone() for k, v in model.named_parameters()}
save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

out = {}
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
out["ids"], out["mask"], out["targets"] = ids, mask.to(torch.uint8), targets
inputs = torch.cat([torch.zeros(3, 1, dtype=torch.long), targets[:, :-1]], 1)
out["inputs"] = inputs

added = 0.5 * torch.randn(3, S, 16)  # what a recommender adds to the embeddings
out["added"] = added
memory = model.encoder(inputs_embeds=model.shared(ids) + added, attention_mask=mask).last_hidden_state
out["memory"] = memory
for kind, cross_mask in (("open", None), ("masked", mask)):
    hidden = model.decoder(input_ids=inputs, encoder_hidden_states=memory,
                           encoder_attention_mask=cross_mask).last_hidden_state
    logits = model.lm_head(hidden * 16 ** -0.5)
    out[f"{kind}.logits"] = logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum",
                                             ignore_index=0 if kind == "masked" else -100)
    out[f"{kind}.loss"] = loss.reshape(1)
    model.zero_grad()
    loss.backward(retain_graph=True)
    for name, p in model.named_parameters():
        out[f"{kind}.grad.{name}"] = p.grad.clone()

distances = torch.arange(-300, 301)
for kind in ("encoder", "decoder"):
    out[f"buckets.{kind}"] = T5Attention._relative_position_bucket(
        distances, bidirectional=kind == "encoder", num_buckets=32, max_distance=128)

# Beam search over the plain model (no added vectors, cross-attention open as in isrf 6.7).
with torch.no_grad():
    for beams, returned, new in ((4, 4, 12), (20, 10, 8), (3, 2, 50), (30, 20, 6)):
        memory = model.encoder(input_ids=ids, attention_mask=mask)  # generate() changes it
        got = model.generate(encoder_outputs=memory, attention_mask=torch.ones_like(mask),
                             num_beams=beams, num_return_sequences=returned, early_stopping=True,
                             length_penalty=1.0, max_new_tokens=new, do_sample=False,
                             return_dict_in_generate=True, output_scores=True)
        key = f"beam.{beams}.{returned}.{new}"
        out[key + ".sequences"] = got.sequences
        out[key + ".scores"] = got.sequences_scores
save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "t5_golden.safetensors")
