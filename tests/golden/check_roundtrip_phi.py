"""Loads a model folder and an adapter folder that whyrec wrote and compares logits with those beside them.

python check_roundtrip_phi.py DIR   (transformers 4.49, peft 0.14; DIR has model/, adapter/, io.safetensors)
"""
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GenerationConfig, Phi3ForCausalLM, Phi3ForSequenceClassification

folder = Path(sys.argv[1])
io = load_file(folder / "io.safetensors")
ids = io["ids"][None]
generation = GenerationConfig.from_pretrained(folder / "model")
assert generation.eos_token_id == [498, 499], generation.eos_token_id


def check(name, got):
    difference = (got - io[name]).abs().max().item() / max(1, io[name].abs().max().item())
    print(f"{name}: {difference:.2e}")
    assert difference < 1e-5, name


with torch.no_grad():
    model, report = Phi3ForCausalLM.from_pretrained(folder / "model", output_loading_info=True)
    assert not any(report.values()), report
    assert model.config.tie_word_embeddings and model.dtype == torch.float32
    check("base", model(ids).logits[0])
    adapted = PeftModel.from_pretrained(model, folder / "adapter")
    check("adapted", adapted(ids).logits[0])
    scorer = Phi3ForSequenceClassification.from_pretrained(folder / "model", num_labels=1)
    scored = PeftModel.from_pretrained(scorer, folder / "scorer")
    check("score", scored(ids).logits[0])
