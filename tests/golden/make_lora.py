"""Writes lora/, lora_score/ and lora_split/ (adapters in peft's form), llama_as_phi/ (a tiny Llama's weights,
fused as Phi3 stores them) and lora_golden.safetensors: what peft computes with them.

python make_lora.py   (torch 2.11, transformers 4.49, peft 0.14, safetensors), after make_phi.py
"""
import copy
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Phi3ForSequenceClassification
from transformers.models.llama import modeling_llama

import make_phi
import rounding

here = Path(__file__).parent
modeling_llama.LlamaRMSNorm.forward = make_phi.wide_norm
out = {}


def adapt(model, seed, **config):
    torch.manual_seed(seed)
    adapted = get_peft_model(model, LoraConfig(lora_dropout=0.05, **config)).double().eval()
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_" in name or "score" in name:
                p.copy_((0.3 * torch.randn_like(p)).float())
    return adapted


def computed(key, adapted, ids, loss_of):
    got = {}
    logits = adapted(ids).logits
    adapted.zero_grad()
    loss_of(logits).backward()
    got[key + ".logits"] = logits[0][[0, 17, ids.shape[1] - 1]] if logits.dim() == 3 else logits
    for name, p in adapted.named_parameters():
        if p.requires_grad and ("lora_" in name or "modules_to_save" in name):
            short = name.replace(".default", "").replace(".modules_to_save", "").removeprefix("base_model.model.")
            got[f"{key}.grad.{short}"] = p.grad.clone()
    return got


def record(key, adapted, ids, loss_of):
    out[key + ".ids"] = ids[0]
    exact = computed(key, adapted, ids, loss_of)
    out.update(exact | rounding.of_model(exact, lambda single: computed(key, single, ids, loss_of), adapted))


def write(adapted, name):
    folder = here / name
    adapted.save_pretrained(folder)  # in fp64; published ones are fp32
    (folder / "README.md").unlink()
    file = folder / "adapter_model.safetensors"
    save_file({k: v.float() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "tiny"
    config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))


def text_loss(ids):
    return lambda logits: torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")


def causal():
    adapted = adapt(make_phi.make(True), 3, r=4, lora_alpha=8, target_modules=["qkv_proj", "o_proj"],
                    task_type="CAUSAL_LM")
    ids = torch.randint(0, 490, (1, 40))
    record("causal", adapted, ids, text_loss(ids))
    write(adapted, "lora")

    def merged(model):
        return {"causal.merged": model.merge_and_unload()(ids).logits[0][[0, 17, 39]]}

    exact = merged(copy.deepcopy(adapted))
    out.update(exact | rounding.of_model(exact, merged, adapted))


def score():
    base = make_phi.make(True)
    base.config.num_labels = 1
    model = Phi3ForSequenceClassification(base.config).double()
    model.model.load_state_dict(base.model.state_dict())
    adapted = adapt(model, 4, r=4, lora_alpha=6, use_rslora=True, rank_pattern={"down_proj": 2},
                    alpha_pattern={"o_proj": 3}, task_type="SEQ_CLS",
                    target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])
    ids = torch.randint(0, 490, (1, 30))
    record("score", adapted, ids, lambda logits: logits.sum())
    write(adapted, "lora_score")


def split():
    torch.manual_seed(5)
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                         rms_norm_eps=1e-5, tie_word_embeddings=False, attn_implementation="sdpa")
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(((1 + 0.3 * torch.randn_like(p)) if name.endswith("norm.weight")
                     else 0.3 * torch.randn_like(p)).bfloat16())
    state = {k: v.bfloat16() for k, v in model.state_dict().items()}
    fused = {k: v.contiguous() for k, v in state.items() if not k.split(".")[-2] in
             ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")}
    for i in range(2):
        at = f"model.layers.{i}."
        fused[at + "self_attn.qkv_proj.weight"] = torch.cat([state[f"{at}self_attn.{x}_proj.weight"] for x in "qkv"])
        fused[at + "mlp.gate_up_proj.weight"] = torch.cat(
            [state[f"{at}mlp.{x}_proj.weight"] for x in ("gate", "up")])
    folder = here / "llama_as_phi"
    folder.mkdir(exist_ok=True)
    save_file(fused, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({
        "model_type": "phi3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}, indent=1))
    adapted = adapt(model, 6, r=3, lora_alpha=9, task_type="CAUSAL_LM",
                    target_modules=["q_proj", "v_proj", "o_proj", "up_proj"])
    ids = torch.randint(0, 64, (1, 24))
    record("split", adapted, ids, text_loss(ids))
    write(adapted, "lora_split")


def main():
    torch.set_num_threads(1)
    causal()
    score()
    split()
    save_file({k: v.detach().contiguous() for k, v in out.items()}, here / "lora_golden.safetensors")


if __name__ == "__main__":
    main()
