"""A training step of the thought encoders, ours and PyTorch's, in one run on one machine: two DistilBERTs
with random weights, batch 16, ten in-batch negatives, forward, backward and AdamW in fp32.

python info_nce_bench.py --program BUILD/info_nce_bench [--threads 1] [--repeats 3] [--size small|distilbert]

Needs torch 2.11, transformers 4.49, safetensors. Dropout is 0, so that both print the same first loss.
Texts have 24 to 128 tokens; PyTorch pads them to the longest. Each figure is the fastest step after one
that does not count.
"""
import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

SIZES = {"small": dict(n_layers=2, dim=64, hidden_dim=128, n_heads=4), "distilbert": dict()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", choices=SIZES, default="small")
    args = parser.parse_args()

    import torch
    from safetensors.torch import save_file
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(3)
    torch.set_num_threads(args.threads)
    model = DistilBertModel(DistilBertConfig(dropout=0.0, attention_dropout=0.0, **SIZES[args.size]))
    inputs = {}
    for name in ("behaviour", "rationale"):
        lengths = torch.randint(24, 129, (args.batch,))
        ids = torch.randint(1000, 30000, (args.batch, int(lengths.max())))
        for row, length in zip(ids, lengths):
            row[length:] = 0
        inputs[name + ".ids"], inputs[name + ".lengths"] = ids, lengths
    inputs["negatives"] = torch.stack(
        [torch.tensor([j for j in torch.randperm(args.batch).tolist() if j != i][:10]) for i in range(args.batch)])

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder / "model")
        save_file(inputs, folder / "inputs.safetensors")
        done = subprocess.run([args.program, str(folder / "model"), str(folder / "inputs.safetensors"),
                               str(args.threads), str(args.repeats)], check=True, capture_output=True, text=True)
        ours = json.loads(done.stdout)
        behaviour = DistilBertModel.from_pretrained(folder / "model").train()
        rationale = DistilBertModel.from_pretrained(folder / "model").train()
    log_tau = torch.tensor(0.07).log().requires_grad_()
    optimizer = torch.optim.AdamW([*behaviour.parameters(), *rationale.parameters(), log_tau], lr=2e-5, fused=True)

    def vectors(encoder, name):
        ids = inputs[name + ".ids"]
        mask = torch.arange(ids.shape[1])[None] < inputs[name + ".lengths"][:, None]
        return encoder(ids, mask.long()).last_hidden_state[:, 0]

    times, first = [], None
    for _ in range(args.repeats + 1):
        begin = time.perf_counter()
        optimizer.zero_grad()
        h, z = vectors(behaviour, "behaviour"), vectors(rationale, "rationale")
        candidates = torch.cat([z.unsqueeze(1), z[inputs["negatives"]]], dim=1)
        logits = torch.nn.functional.cosine_similarity(h.unsqueeze(1), candidates, dim=2) / log_tau.exp()
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(len(h), dtype=torch.long))
        loss.backward()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - begin))
        first = loss.item() if first is None else first
    theirs = min(times[1:])
    print(f"{args.size}, {args.threads} threads: ours {ours['ms']:.1f} ms (loss {ours['loss']:.6f}), "
          f"PyTorch {theirs:.1f} ms (loss {first:.6f}), ratio {theirs / ours['ms']:.2f}")


if __name__ == "__main__":
    main()
