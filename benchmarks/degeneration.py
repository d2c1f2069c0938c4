"""Representation degeneration in a language model with tied embeddings, shown and repaired.

A small GPT-2 is trained on WikiText-2 with and without a regularizer of its embedding matrix; the
figures of Gao et al. 2019 and of Li et al. 2020 (table 1) are taken at the end (isotropy[train]).
"""

import argparse
import json
import logging
import math
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from _common import RESULTS, machine, report
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from isotropy import score
from isotropy.losses import (
    IsoScoreStar,
    MeanCosine,
    SpectrumControl,
    SpreadOut,
    regularize_embeddings,
)
from isotropy.metrics import frequency_table, origin_in_hull

ARMS = {
    "none": None,
    "cosine": (MeanCosine, 10.0),
    "spread-out": (SpreadOut, 10.0),
    "spectrum": (SpectrumControl, 100.0),
    "IsoScore*": (IsoScoreStar, 10.0),
}
METRICS = ["mean_cosine", "isoscore", "effective_rank", "top_variance_share"]

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--text", type=Path, default=Path("../shared/data/lm/wikitext2"))
options.add_argument("--vocabulary", type=int, default=10_000)
options.add_argument("--dims", type=int, default=128)
options.add_argument("--layers", type=int, default=2)
options.add_argument("--steps", type=int, default=1000)
options.add_argument("--batch", type=int, default=32)
options.add_argument("--context", type=int, default=64)
options.add_argument("--rate", type=float, default=2e-3)
options.add_argument("--seeds", type=int, default=3)
options.add_argument("--arms", nargs="+", default=["none", "cosine", "spread-out", "spectrum"])
options.add_argument("--weight", type=float, help="of all regularizers, in the place of ARMS")
options.add_argument("--name", default="degeneration", help="of the file of results")
options.add_argument("--quick", action="store_true", help="20 steps, one seed; writes no file")


def tokens_of(folder, size, context):
    """Blocks of token ids of the training and the validation text, and the counts by id."""
    words = {part: (folder / f"{part}.txt").read_text("utf-8").split() for part in PARTS}
    counts = Counter(words["train"])
    counts.pop("<unk>", None)
    kept = ["<unk>", *(word for word, _ in counts.most_common(size - 1))]
    ids = {word: k for k, word in enumerate(kept)}
    blocks, seen = {}, np.zeros(len(kept), dtype=np.int64)
    for part in PARTS:
        tokens = np.fromiter((ids.get(word, 0) for word in words[part]), dtype=np.int64)
        blocks[part] = torch.from_numpy(tokens[: len(tokens) // context * context]).view(
            -1, context
        )
        if part == "train":
            seen = np.bincount(tokens, minlength=len(kept))
    return blocks, seen


PARTS = ("train", "valid")


class Blocks(torch.utils.data.Dataset):
    def __init__(self, blocks):
        self.blocks = blocks

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        return {"input_ids": self.blocks[index], "labels": self.blocks[index]}


@torch.no_grad()
def held_out(model, blocks):
    """Perplexity of the blocks, and the hidden states that the embeddings are multiplied with."""
    model.eval()
    device, total, n, states = model.device, 0.0, 0, []
    for part in blocks.split(64):
        part = part.to(device)
        hidden = model.transformer(part).last_hidden_state[:, :-1].reshape(-1, model.config.n_embd)
        logits = model.lm_head(hidden).float()
        wanted = part[:, 1:].reshape(-1)
        total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
        n += len(wanted)
        if sum(map(len, states)) < 20_000:
            states.append(hidden.float().cpu())
    return math.exp(total / n), torch.cat(states).numpy()


def run(arm, seed, blocks, counts, chosen):
    set_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(counts),
            n_positions=chosen.context,
            n_embd=chosen.dims,
            n_layer=chosen.layers,
            n_head=max(1, chosen.dims // 32),
            bos_token_id=0,
            eos_token_id=0,
            loss_type="ForCausalLM",
        )
    )
    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=chosen.steps,
                per_device_train_batch_size=chosen.batch,
                learning_rate=chosen.rate,
                warmup_steps=chosen.steps // 20,
                lr_scheduler_type="cosine",
                weight_decay=0.01,
                bf16=True,
                use_cpu=not cuda,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=seed,
            ),
            train_dataset=Blocks(blocks["train"]),
        )
        if ARMS[arm] is not None:
            kind, weight = ARMS[arm]
            weight = weight if chosen.weight is None else chosen.weight
            regularize_embeddings(trainer, kind(), weight)
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    perplexity, states = held_out(model, blocks["valid"])
    matrix = model.get_input_embeddings().weight.detach().float().cpu().numpy()
    card = score(matrix, METRICS)
    rare = score(matrix[np.argsort(-counts, kind="stable")[len(counts) // 2 :]], ["mean_cosine"])
    hull = origin_in_hull(states)
    table = frequency_table(matrix, counts)
    sigma = np.linalg.svd(matrix, compute_uv=False)
    return {
        "regularizer": arm,
        "seed": seed,
        "perplexity": perplexity,
        **{name: card[name] for name in METRICS},
        "mean_cosine_rare": rare["mean_cosine"],
        "spectrum": (sigma / sigma[0]).round(4).tolist(),
        "hull_contains_origin": hull.contains,
        "hull_margin": hull.margin,
        "hull_residual": hull.residual,
        "hidden_states": len(states),
        "buckets": [vars(bucket) for bucket in table.buckets],
        "norm_correlation": table.norm_correlation,
        "mean_correlation": table.mean_correlation,
        "seconds": seconds,
    }


def mean_and_spread(values):
    values = np.asarray(values, dtype=float)
    spread = f" ± {values.std(ddof=1):.3g}" if len(values) > 1 else ""
    return f"{values.mean():.4g}{spread}"


def main():
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.seeds = 20, 1
    if not chosen.text.is_dir():
        raise SystemExit(f"{chosen.text}: no such folder; --text names one with WikiText-2.")
    logging.disable(logging.WARNING)
    blocks, counts = tokens_of(chosen.text, chosen.vocabulary, chosen.context)
    runs = []
    for seed in range(chosen.seeds):
        for arm in chosen.arms:
            runs.append(run(arm, seed, blocks, counts, chosen))
            last = runs[-1]
            print(
                f"seed {seed} {arm:10s} perplexity {last['perplexity']:.1f}, mean cosine "
                f"{last['mean_cosine']:.3f} (rarer half {last['mean_cosine_rare']:.3f}), "
                f"{last['seconds']:.0f} s",
                flush=True,
            )
    by_arm = {arm: [r for r in runs if r["regularizer"] == arm] for arm in chosen.arms}
    names = ["perplexity", *METRICS, "mean_cosine_rare", "norm_correlation", "hull_margin"]
    rows = []
    for arm, mine in by_arm.items():
        row = {"regularizer": arm}
        row |= {name: mean_and_spread([r[name] for r in mine]) for name in names}
        row["hull contains 0"] = f"{sum(bool(r['hull_contains_origin']) for r in mine)}/{len(mine)}"
        rows.append(row)
    title = (
        f"GPT-2 of {chosen.layers} layers and {chosen.dims} dimensions, {len(counts):,} words, "
        f"{chosen.steps:,} steps of {chosen.batch * chosen.context:,} tokens, "
        f"{chosen.seeds} seeds"
    )
    write = not chosen.quick
    report(chosen.name, title, rows, write=write)
    buckets = []
    for arm, mine in by_arm.items():
        for k, bucket in enumerate(mine[0]["buckets"]):
            row = {"regularizer": arm, "rank": f"{bucket['first']}-{bucket['last']}"}
            for name in ("norm", "distance", "dot", "mean_cosine"):
                row[name] = mean_and_spread([r["buckets"][k][name] for r in mine])
            buckets.append(row)
    report(f"{chosen.name}_buckets", "By frequency, 3 neighbours", buckets, write=write)
    if write:
        told = {"options": {k: str(v) for k, v in vars(chosen).items()}, "runs": runs}
        path = RESULTS / f"{chosen.name}_runs.json"
        path.write_text(json.dumps({**told, "machine": machine()}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
