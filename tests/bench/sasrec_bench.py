"""An epoch of SASRec, ours and a training loop in Python, in one run on one machine: d 50, 2 blocks,
2 heads, 50 slots, batch 128, dropout 0.5, Adam (0.9, 0.98), made-up histories with the sizes of
Luxury Beauty (about 10,000 users, 6,500 items, mean length 4.15; --mean for longer ones).

python sasrec_bench.py --program BUILD/sasrec_bench [--threads 1] [--epochs 2] [--mean 4.15]

Needs torch 2.11 and safetensors. The loop is written from the description of the public code in
words: a batch's users, windows and negatives are drawn in Python, slot by slot, into padded arrays;
every padded slot is computed. The public code draws in worker processes beside the training; here
the draws are timed apart ("drawing"), so that the reference may be read with and without them. One
epoch that does not count, then the mean.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

USERS, ITEMS, DIM, BLOCKS, HEADS, LENGTH, BATCH, DROPOUT = 10000, 6500, 50, 2, 2, 50, 128, 0.5


def histories(mean):
    """Lengths 1 + geometric, items by a power law: most users are short, some fill all slots."""
    import numpy as np
    rng = np.random.default_rng(7)
    lengths = rng.geometric(1 / (mean - 1), USERS) + 1
    lengths[rng.random(USERS) < 0.01] = 60
    weights = 1 / np.arange(1, ITEMS + 1) ** 0.7
    values = rng.choice(ITEMS, lengths.sum(), p=weights / weights.sum())
    return np.concatenate([[0], np.cumsum(lengths)]), values


def reference(offsets, values, threads, epochs):
    import numpy as np
    import torch
    from torch import nn
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    np.random.seed(1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(DIM, eps=1e-8), nn.LayerNorm(DIM, eps=1e-8)
            self.attention = nn.MultiheadAttention(DIM, HEADS, DROPOUT)
            self.conv1, self.conv2 = nn.Conv1d(DIM, DIM, 1), nn.Conv1d(DIM, DIM, 1)
            self.drop1, self.drop2 = nn.Dropout(DROPOUT), nn.Dropout(DROPOUT)

        def forward(self, x, hidden, alive):
            x = x.transpose(0, 1)
            q = self.norm1(x)
            x = (q + self.attention(q, x, x, attn_mask=hidden)[0]).transpose(0, 1)
            x = self.norm2(x)
            inner = self.drop1(self.conv1(x.transpose(1, 2))).relu()
            return (self.drop2(self.conv2(inner)).transpose(1, 2) + x) * alive

    class SasRec(nn.Module):
        def __init__(self):
            super().__init__()
            self.items = nn.Embedding(ITEMS + 1, DIM, padding_idx=0)
            self.slots = nn.Embedding(LENGTH, DIM)
            self.drop = nn.Dropout(DROPOUT)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm = nn.LayerNorm(DIM, eps=1e-8)
            for p in self.parameters():
                if p.dim() >= 2:
                    nn.init.xavier_normal_(p)

        def forward(self, seq, pos, neg):
            seq = torch.from_numpy(seq)
            alive = (seq != 0).unsqueeze(2)
            x = self.drop(self.items(seq) * DIM ** 0.5 + self.slots(torch.arange(LENGTH))) * alive
            hidden = ~torch.tril(torch.ones(LENGTH, LENGTH, dtype=torch.bool))
            for block in self.blocks:
                x = block(x, hidden, alive)
            h = self.norm(x)
            return ((h * self.items(torch.from_numpy(pos))).sum(2),
                    (h * self.items(torch.from_numpy(neg))).sum(2))

    rows = [(values[offsets[u]:offsets[u + 1]] + 1).tolist() for u in range(USERS)]

    def draw():
        seqs, poss, negs = [], [], []
        for _ in range(BATCH):
            user = np.random.randint(USERS)
            while len(rows[user]) <= 1:
                user = np.random.randint(USERS)
            seq, pos, neg = (np.zeros(LENGTH, np.int64) for _ in range(3))
            own = set(rows[user])
            target, slot = rows[user][-1], LENGTH - 1
            for item in reversed(rows[user][:-1]):
                seq[slot], pos[slot] = item, target
                other = np.random.randint(1, ITEMS + 1)
                while other in own:
                    other = np.random.randint(1, ITEMS + 1)
                neg[slot] = other
                target = item
                slot -= 1
                if slot < 0:
                    break
            seqs.append(seq), poss.append(pos), negs.append(neg)
        return np.stack(seqs), np.stack(poss), np.stack(negs)

    model = SasRec().train()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    loss_of = nn.BCEWithLogitsLoss()
    seconds, drawing, loss = 0.0, 0.0, None
    for epoch in range(epochs + 1):
        if epoch == 1:
            seconds = drawing = 0.0
        for _ in range(USERS // BATCH):
            begin = time.perf_counter()
            seq, pos, neg = draw()
            drawn = time.perf_counter()
            plus, minus = model(seq, pos, neg)
            there = torch.from_numpy(pos != 0)
            adam.zero_grad()
            loss = (loss_of(plus[there], torch.ones_like(plus[there]))
                    + loss_of(minus[there], torch.zeros_like(minus[there])))
            loss.backward()
            adam.step()
            drawing += drawn - begin
            seconds += time.perf_counter() - begin
    return seconds / epochs, drawing / epochs, loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--mean", type=float, default=4.15)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    import torch
    from safetensors.torch import save_file
    offsets, values = histories(args.mean)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "histories.safetensors"
        save_file({"offsets": torch.from_numpy(offsets), "values": torch.from_numpy(values),
                   "items": torch.tensor([ITEMS])}, file)
        words = [args.program, str(file), str(args.threads), str(args.epochs)]
        mine = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE,
                                         text=True).stdout.splitlines()[-1])
    whole, drawing, loss = reference(offsets, values, args.threads, args.epochs)
    print(f"{USERS} users, {ITEMS} items, {len(values)} events (mean {len(values) / USERS:.2f}), "
          f"batch {BATCH}, {args.threads} thread(s), {args.epochs} epoch(s) of {USERS // BATCH} steps")
    print(f"ours: {mine['seconds']:.2f} s an epoch, last loss {mine['last'].split(',')[-1]}")
    print(f"Python: {whole:.2f} s an epoch, of it drawing {drawing:.2f}, last loss {loss:.4f}")
    print(f"{whole / mine['seconds']:.1f} times faster; "
          f"{(whole - drawing) / mine['seconds']:.1f} without the drawing")


if __name__ == "__main__":
    main()
