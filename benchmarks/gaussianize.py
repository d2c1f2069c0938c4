"""How Gaussian can sentence embeddings be made, how fast, and does similarity gain by it?

Needs the STS files (``--data``) and isotropy[flow,demo]. MiniLM's layer 5, mean-pooled.
"""

from __future__ import annotations

import argparse
import copy
import re
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _common import report
from nflows.transforms import AffineCouplingTransform, CompositeTransform
from scipy.stats import spearmanr
from torch import nn

from isotropy import FlowGaussianizer, RotationGaussianizer, Whitening

HIDDEN, COUPLINGS, DROPOUT, BATCH, HELD = 1024, 4, 0.5, 512, 3000
SETS = ("sts-test", "sts12-test", "sts13-test", "sts14-test", "sts15-test")


# -- data --------------------------------------------------------------------------------------


def read(folder: Path) -> tuple[list[str], list[str], dict[str, tuple[list, list, list]]]:
    """Texts, the source of each, and the scored pairs of each test set."""
    sources: dict[str, str] = {}
    pairs: dict[str, tuple[list, list, list]] = {}
    for path in sorted(folder.glob("*.csv")):
        rows = [line.rstrip("\n").split("\t") for line in path.open(encoding="utf-8")]
        for row in rows:
            # The benchmark draws on the yearly sets: its rows name their file, theirs the year.
            name = row[1] if path.stem.startswith("sts-") else path.stem
            for text in row[5:7]:
                sources.setdefault(text, name)
        if path.stem in SETS:
            scored = [row for row in rows if row[4]]
            pairs[path.stem] = (
                [row[5] for row in scored],
                [row[6] for row in scored],
                [float(row[4]) for row in scored],
            )
    return list(sources), list(sources.values()), pairs


def encoded(texts: list[str], cache: Path | None) -> np.ndarray:
    if cache is not None and cache.is_file():
        rows = np.load(cache)
        if len(rows) == len(texts):
            return rows
    from isotropy.encoders import encode

    rows = encode("minilm", texts, layer=5, max_length=128)
    if cache is not None:
        np.save(cache, rows)
    return rows


def distinct(texts: list[str]) -> np.ndarray:
    """Where each sentence first occurs, whatever its case, spaces and punctuation."""
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        first.setdefault(re.sub(r"[^a-z0-9]", "", text.lower()), index)
    return np.array(sorted(first.values()))


def by_source(sources: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Held-out mask of whole sources, about `HELD` rows of them."""
    names = rng.permutation(np.unique(sources))
    chosen: list[str] = []
    for name in names:
        size = np.isin(sources, [*chosen, name]).sum()
        if size <= 1.3 * HELD:
            chosen.append(name)
    return np.isin(sources, chosen)


# -- gain --------------------------------------------------------------------------------------


def gain(model, rows: np.ndarray) -> float:
    """Held-out nats per row over the Gaussian of full covariance."""
    gaussian = copy.copy(model)
    gaussian.falls_back_ = True
    return float((model.score_samples(rows) - gaussian.score_samples(rows)).mean())


def gains(X: np.ndarray, held: np.ndarray, split: str, models: dict) -> list[dict]:
    table = []
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X[~held])
        seconds = time.perf_counter() - start
        found = gain(model, X[held])
        table.append(
            {
                "split": split,
                "model": name,
                "seconds": round(seconds, 1),
                "iterations": model.n_iter_,
                "own held-out nats": round(model.gain_, 1),
                "nats": round(found, 1),
                "nats / s": round(found / seconds, 2),
                "fell back": model.falls_back_,
            }
        )
        print(table[-1], flush=True)
    return table


# -- the peer ----------------------------------------------------------------------------------


class BoundedCoupling(AffineCouplingTransform):
    def _scale_and_shift(self, params):
        raw, shift = params.chunk(2, dim=1)
        return torch.exp(2 * torch.tanh(raw / 2)), shift


class Net(nn.Sequential):
    def __init__(self, n_in: int, n_out: int) -> None:
        last = nn.Linear(HIDDEN, n_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(n_in, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), last)

    def forward(self, x, context=None):
        return super().forward(x)


def plain_epoch(Z: torch.Tensor) -> float:
    """Seconds of an epoch of the loop that one writes with nflows."""
    d = Z.shape[1]
    masks = [(torch.arange(d) % 2 == k % 2).float() for k in range(COUPLINGS)]
    flow = CompositeTransform([BoundedCoupling(mask, Net) for mask in masks])
    optimizer = torch.optim.AdamW(flow.parameters(), lr=2e-3, weight_decay=1e-2)
    start = time.perf_counter()
    for part in torch.randperm(len(Z)).split(BATCH):
        Y, volume = flow(Z[part])
        loss = (0.5 * Y.square().sum(1) - volume).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def our_epoch(X: np.ndarray) -> float:
    # An epoch more or less is the training alone: no whitening, no set-up.
    model = FlowGaussianizer(hidden=HIDDEN, dropout=DROPOUT, max_iter=2, random_state=0)
    history = model.fit(X).history_
    return history[1]["seconds"] - history[0]["seconds"]


def speed(X: np.ndarray, repeats: int) -> list[dict]:
    Z = torch.from_numpy(Whitening().fit_transform(X))
    n_ours = len(X) - round(0.1 * len(X))
    rates: dict[str, list[float]] = {"plain nflows loop": [], "isotropy": []}
    for _ in range(repeats):
        rates["plain nflows loop"].append(len(Z) / plain_epoch(Z))
        rates["isotropy"].append(n_ours / our_epoch(X))
    base = np.median(rates["plain nflows loop"])
    return [
        {
            "loop": name,
            "rows / s": round(float(np.median(values))),
            "best": round(max(values)),
            "ratio": round(float(np.median(values) / base), 2),
        }
        for name, values in rates.items()
    ]


# -- similarity --------------------------------------------------------------------------------


def spearman(E: np.ndarray, index: dict[str, int], pairs: dict) -> dict[str, float]:
    E = E / np.linalg.norm(E, axis=1, keepdims=True)
    found = {}
    for name, (left, right, scores) in pairs.items():
        a, b = ([index[text] for text in side] for side in (left, right))
        found[name] = round(100 * spearmanr((E[a] * E[b]).sum(1), scores)[0], 1)
    return {**found, "mean": round(float(np.mean(list(found.values()))), 2)}


def similarity(E: np.ndarray, chosen: np.ndarray, index: dict, pairs: dict, epochs: int) -> list:
    """Without labels: fitted on all distinct sentences, evaluated on the pairs of each set."""
    X = E[chosen]
    table = [{"rows": "raw", **spearman(E, index, pairs)}]
    settings = {
        "RBIG": RotationGaussianizer(random_state=0),
        "flow": FlowGaussianizer(max_iter=epochs, random_state=0),
        "flow, 2 epochs": FlowGaussianizer(max_iter=2, random_state=0),
        "flow, volume weight 0.5": FlowGaussianizer(
            max_iter=2, volume_weight=0.5, early_stopping=False, random_state=0
        ),
    }
    for power in (1.0, 0.75, 0.5):
        Y = Whitening(power=power).fit(X).transform(E)
        table.append({"rows": f"whitening, power {power}", **spearman(Y, index, pairs)})
    for name, model in settings.items():
        Y = model.fit(X).transform(E)
        for power in (1.0, 0.75, 0.5):
            # The map leaves the axes nearly in place, so their scales can be given back in part.
            scaled = Y * model.eigenvalues_ ** ((1 - power) / 2)
            row = {"rows": f"{name}, power {power}", "gain": round(model.gain_, 1)}
            table.append({**row, **spearman(scaled, index, pairs)})
            print(table[-1], flush=True)
    return table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="the folder of the STS files")
    options.add_argument("--cache", type=Path, help="where to keep the encoded rows (.npy)")
    options.add_argument("--epochs", type=int, nargs="+", default=[30, 120])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--parts", nargs="+", default=["speed", "gain", "similarity"])
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    texts, sources, pairs = read(chosen.data)
    E = encoded(texts, chosen.cache)
    rows = distinct(texts)
    X, origin = E[rows], np.array(sources)[rows]
    rng = np.random.default_rng(0)
    shape = f"{len(X):,} distinct sentences, MiniLM layer 5"
    if "speed" in chosen.parts:
        report("gaussianize_speed", f"Training rows per second, {shape}", speed(X, chosen.repeats))
    if "gain" in chosen.parts:
        random = np.zeros(len(X), dtype=bool)
        random[rng.permutation(len(X))[:HELD]] = True
        table = []
        for split, held in (("random", random), ("whole sources", by_source(origin, rng))):
            models: dict = {"RBIG": RotationGaussianizer(random_state=0)}
            for epochs in chosen.epochs:
                models[f"flow, {epochs} epochs"] = FlowGaussianizer(max_iter=epochs, random_state=0)
            table += gains(X, held, f"{split} ({held.sum():,} rows)", models)
        report("gaussianize_gain", f"Held-out gain over the Gaussian, {shape}", table)
    if "similarity" in chosen.parts:
        index = {text: k for k, text in enumerate(texts)}
        table = similarity(E, rows, index, pairs, chosen.epochs[0])
        report("gaussianize_similarity", f"Spearman x 100 ('all' aggregation), {shape}", table)


if __name__ == "__main__":
    main()
