"""Our T5, transformers and CTranslate2 in one run on one machine: beam search for item numbers and
a training step, T5-small size, random weights.

python t5_bench.py --program BUILD/t5_bench [--threads 1] [--repeats 3] [--users 16] [--only ours,transformers,ctranslate2]

Needs torch 2.11, transformers 4.49, safetensors, sentencepiece, ctranslate2 4.8. Sixteen users (--users);
sequential: 83 source tokens, 30 beams; direct: 453 and 20; at most 8 new tokens. TRIE and EXACT
have the head restricted to the pieces of item numbers; the peers cannot. Each figure is the fastest
run after one that does not count. In fp32; CTranslate2 also in int8.
"""
import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

NEW_TOKENS = 8
TASKS = {"sequential": (83, 30), "direct": (453, 20)}
SPIECE = Path(__file__).parents[2] / "examples/t5-tokenizer/spiece.model"


def fastest_ms(repeats, body):
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        body()
        times.append(1e3 * (time.perf_counter() - begin))
    return min(times[1:])


def prepare(args, folder, seed=3):
    """Weights in Hugging Face form, the tokenizer, and one file of inputs for all."""
    import torch
    from safetensors.torch import save_file
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    torch.manual_seed(seed)
    config = T5Config(num_layers=6, num_heads=8, d_model=512, d_ff=2048, d_kv=64, vocab_size=32128,
                      decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():  # answers that depend on the input
        for name, p in model.named_parameters():
            if name.endswith(("wo.weight", "o.weight")):
                p.mul_(3)
    model.save_pretrained(folder / "model")
    tokenizer = T5Tokenizer(str(SPIECE), legacy=True)
    inputs = {}
    for task, (length, _) in TASKS.items():
        ids = torch.randint(3, 32000, (args.users, length))
        ids[:, -1] = 1
        inputs[f"{task}.ids"] = ids
    targets = torch.randint(3, 32000, (args.users, 6))
    targets[:, -1] = 1
    inputs["targets"] = targets
    rows = [tokenizer(str(number), add_special_tokens=False).input_ids for number in range(1, 12102)]
    numbers = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, pieces in zip(numbers, rows):
        row[:len(pieces)] = torch.tensor(pieces)
    inputs["numbers"] = numbers
    save_file(inputs, folder / "inputs.safetensors")
    return inputs


def ours(args, folder, _):
    """What our program prints, and its best answer per user for the free searches."""
    words = [args.program, folder / "model", folder / "inputs.safetensors", args.threads, args.repeats]
    done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line["ms"] for line in lines}, {line["name"]: line.get("best") for line in lines}


def transformers_peer(args, folder, inputs):
    import torch
    from transformers import T5ForConditionalGeneration

    torch.set_num_threads(args.threads)
    model = T5ForConditionalGeneration.from_pretrained(folder / "model").eval()
    times, best = {}, {}
    for task, (_, beams) in TASKS.items():
        ids, found = inputs[f"{task}.ids"], []

        def search():
            with torch.no_grad():
                found[:] = model.generate(ids, attention_mask=torch.ones_like(ids), num_beams=beams,
                                          num_return_sequences=10, max_new_tokens=NEW_TOKENS,
                                          early_stopping=True, do_sample=False)
        times[f"{task}.free"] = fastest_ms(args.repeats, search)
        best[f"{task}.free"] = [[t for t in found[10 * b][1:].tolist() if t > 1] for b in range(args.users)]
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)

    def step():
        model(input_ids=inputs["sequential.ids"], labels=inputs["targets"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    times["train"] = fastest_ms(args.repeats, step)
    return times, best


def ctranslate2_peer(args, folder, inputs, compute_type):
    import ctranslate2
    from transformers import T5Tokenizer

    class Converter(ctranslate2.converters.TransformersConverter):
        def load_model(self, model_class, path, **words):  # transformers 4.49 knows no "dtype"
            return model_class.from_pretrained(path, torch_dtype=words.pop("dtype", None), **words)

        def load_tokenizer(self, tokenizer_class, path, **words):
            return T5Tokenizer(str(SPIECE), legacy=True)  # the fast one would need protobuf

    target = folder / "ctranslate2"
    if not target.exists():
        Converter(str(folder / "model")).convert(str(target))
    tokenizer = T5Tokenizer(str(SPIECE), legacy=True)
    translator = ctranslate2.Translator(str(target), device="cpu", compute_type=compute_type,
                                        inter_threads=1, intra_threads=args.threads)
    times, best = {}, {}
    for task, (_, beams) in TASKS.items():
        tokens = [tokenizer.convert_ids_to_tokens(row) for row in inputs[f"{task}.ids"].tolist()]
        found = []

        def search():
            found[:] = translator.translate_batch(
                tokens, beam_size=beams, num_hypotheses=10, max_decoding_length=NEW_TOKENS,
                max_batch_size=args.users, max_input_length=0)
        times[f"{task}.free"] = fastest_ms(args.repeats, search)
        best[f"{task}.free"] = [tokenizer.convert_tokens_to_ids(r.hypotheses[0]) for r in found]
    return times, best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="ours,transformers,ctranslate2,ctranslate2-int8")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    peers = {"ours": ours, "transformers": transformers_peer,
             "ctranslate2": lambda *a: ctranslate2_peer(*a, "float32"),
             "ctranslate2-int8": lambda *a: ctranslate2_peer(*a, "int8")}
    times, best = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with contextlib.redirect_stdout(None):
            inputs = prepare(args, folder)
        for name in args.only.split(","):
            times[name], best[name] = peers[name](args, folder, inputs)

    names = list(times)
    print(f"\nms per user (training: per sample), {args.threads} thread(s), {args.users} users a batch; "
          "in brackets: times ours")
    print("| case | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for case in ("sequential.free", "sequential.trie", "direct.free", "direct.trie", "direct.exact", "train"):
        cells = []
        for name in names:
            ms = times[name].get(case)
            base = times.get("ours", {}).get(case)
            ratio = f" ({ms / base:.2f})" if ms and base and name != "ours" else ""
            cells.append(f"{ms / args.users:.1f}{ratio}" if ms else "-")
        print(f"| {case} | " + " | ".join(cells) + " |")
    for name in names[1:]:
        for case, answers in best[name].items():
            same = sum(a == b for a, b in zip(answers, best[names[0]][case]))
            print(f"{case}: best answers of {name} equal to those of {names[0]}: {same} of {args.users}")


if __name__ == "__main__":
    main()
