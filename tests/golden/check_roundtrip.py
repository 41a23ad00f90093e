"""Reads a T5 folder written by whyrec with transformers and compares logits.

python check_roundtrip.py FOLDER   (torch 2.11, transformers 4.49, safetensors)

FOLDER holds the model and expected.safetensors: ids, mask, inputs, logits.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import GenerationConfig, T5ForConditionalGeneration
from transformers.utils import logging

logging.set_verbosity_error()
torch.set_num_threads(1)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.2}

folder = Path(sys.argv[1])
model, info = T5ForConditionalGeneration.from_pretrained(folder, torch_dtype="auto",
                                                         output_loading_info=True)
for kind, names in info.items():
    assert not names, f"{kind}: {names}"
GenerationConfig.from_pretrained(folder)
want = load_file(folder / "expected.safetensors")
assert model.dtype == want["logits"].dtype, (model.dtype, want["logits"].dtype)
with torch.no_grad():
    got = model(input_ids=want["ids"], attention_mask=want["mask"],
                decoder_input_ids=want["inputs"]).logits
difference = ((got.double() - want["logits"].double()).abs().max()
              / max(1, want["logits"].double().abs().max())).item()
print(f"{model.dtype}, tied {model.config.tie_word_embeddings}: logits differ by {difference:.2e}")
sys.exit(difference > TOLERANCE[model.dtype])
