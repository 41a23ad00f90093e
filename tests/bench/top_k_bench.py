"""The user graph's nearest users, ours and FAISS's exact index (flat, inner product of unit vectors), in one run
on one machine; FAISS runs in a process of its own.

python top_k_bench.py --program BUILD/top_k_bench [--threads 2] [--repeats 3] [--k 100]

Needs numpy, safetensors, faiss-cpu. Vectors are made up: unit normals around 200 centres, as embeddings of texts
crowd. FAISS answers k + 1 neighbours of every row, the row itself among them; that is cut off outside the clock.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def vectors(n, width):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, width))[rng.integers(200, size=n)] + rng.standard_normal((n, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def faiss_side(file, k, threads, repeats, out):
    import faiss
    faiss.omp_set_num_threads(threads)
    x = load_file(file)["x"]
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        index = faiss.IndexFlatIP(x.shape[1])
        index.add(x)
        rows = index.search(x, k + 1)[1]
        times.append(1e3 * (time.perf_counter() - begin))
    save_file({"rows": rows.astype(np.int32)}, out)
    print(json.dumps({"ms": times}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--k", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for n, width in ((8192, 384), (22363, 384)):
            save_file({"x": vectors(n, width)}, folder / "x.safetensors")
            words = [folder / "x.safetensors", args.k, args.threads, args.repeats]
            sides = {}
            for name, command in (("ours", [args.program]), ("faiss", [sys.executable, __file__, "--faiss"])):
                done = subprocess.run([str(w) for w in [*command, *words, folder / name]], check=True,
                                      capture_output=True, text=True)
                sides[name] = (np.median(json.loads(done.stdout)["ms"]), load_file(folder / name)["rows"])
            (ours, mine), (theirs, other) = sides["ours"], sides["faiss"]
            same = np.mean([len(set(a) & set(b)) / args.k for a, b in zip(mine, other)])
            print(f"{n} x {width}, k {args.k}, {args.threads} threads: ours {ours:.0f} ms, FAISS {theirs:.0f} ms, "
                  f"ratio {theirs / ours:.2f}; {100 * same:.3f} % of neighbours in common")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--faiss"]:
        file, k, threads, repeats, out = sys.argv[2:]
        faiss_side(file, int(k), int(threads), int(repeats), out)
    else:
        main()
