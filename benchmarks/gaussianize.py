"""How Gaussian can sentence embeddings be made, how fast, and does similarity gain by it?

Needs the STS files (``--data``) and isotropy[flow,demo]. MiniLM's layer 5, mean-pooled.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _common import report
from nflows.transforms import AffineCouplingTransform, CompositeTransform
from nflows.transforms.base import Transform
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr
from torch import nn

from isotropy import Comparison, FlowGaussianizer, RotationGaussianizer, Whitening, compare
from isotropy.metrics import METRICS

HIDDEN, COUPLINGS, DROPOUT, BATCH, HELD = 1024, 12, 0.6, 512, 3000
SETS = ("sts-test", "sts12-test", "sts13-test", "sts14-test", "sts15-test")
MEASURES = [f"isotropy.metrics.{name}" for name in ("mardia", "sliced", "projected", "coordinates")]
NEAR = 0.95  # centred cosine from which two sentences are near-duplicates


# -- data --------------------------------------------------------------------------------------


def read(folder: Path) -> tuple[list[str], list[str], dict[str, tuple[list, list, list]]]:
    """Unique sentences of the test sets, the source of each, and the scored pairs of each set."""
    sources: dict[str, str] = {}
    pairs: dict[str, tuple[list, list, list]] = {}
    for name in SETS:
        lines = (folder / f"{name}.csv").open(encoding="utf-8")
        rows = [line.rstrip("\n").split("\t") for line in lines]
        for row in rows:
            # The benchmark draws on the yearly sets: its rows name their file, theirs the year.
            source = row[1] if name == "sts-test" else name
            for text in row[5:7]:
                sources.setdefault(text, source)
        scored = [row for row in rows if row[4]]
        pairs[name] = (
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


def clusters_of(X: np.ndarray) -> np.ndarray:
    """A number for each row, the same for rows joined by a chain of near-duplicates."""
    unit = X - X.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found: list[np.ndarray] = []
    for start in range(0, len(unit), 2048):
        near = np.argwhere(unit[start : start + 2048] @ unit.T > NEAR)
        found.append(near + np.array([start, 0]))
    rows, columns = np.concatenate(found).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(X), len(X)))
    return connected_components(graph, directed=False)[1]


def held_out(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mask of whole groups in random order, about `HELD` rows of them."""
    mask = np.zeros(len(groups), dtype=bool)
    names, sizes = np.unique(groups, return_counts=True)
    for index in rng.permutation(len(names)):
        if mask.sum() + sizes[index] <= 1.3 * HELD:
            mask |= groups == names[index]
        if mask.sum() >= HELD:
            break
    return mask


def splits(X: np.ndarray, sources: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Masks of rows to learn from and rows to judge by."""
    rng = np.random.default_rng(0)
    clusters, origin = clusters_of(X), np.array(sources)
    random = held_out(np.arange(len(X)), rng)
    whole = held_out(clusters, rng)
    other = held_out(origin, rng)
    # Sources share sentences: what has a near-duplicate in what is learned from is not judged by.
    alone = other & ~np.isin(clusters, clusters[~other])
    return {
        "random": (~random, random),
        "clusters of near-duplicates": (~whole, whole),
        "whole sources": (~other, alone),
    }


# -- gain --------------------------------------------------------------------------------------


def gain(model, rows: np.ndarray) -> float:
    """Held-out nats per row over the Gaussian of full covariance."""
    gaussian = copy.copy(model)
    gaussian.falls_back_ = True
    return float((model.score_samples(rows) - gaussian.score_samples(rows)).mean())


def gains(X: np.ndarray, sources: list[str], epochs: list[int]) -> list[dict]:
    table = []
    for split, (learn, judge) in splits(X, sources).items():
        models: dict = {"RBIG": RotationGaussianizer(random_state=0)}
        for count in epochs:
            models[f"flow, {count} epochs"] = FlowGaussianizer(max_iter=count, random_state=0)
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(X[learn])
            seconds = time.perf_counter() - start
            found = gain(model, X[judge])
            table.append(
                {
                    "split": f"{split} ({judge.sum():,} rows)",
                    "model": name,
                    "seconds": round(seconds, 1),
                    "iterations": model.n_iter_,
                    "own held-out nats": round(model.gain_, 1),
                    "nats": round(found, 1),
                    "nats / s": round(found / seconds, 2),
                }
            )
            print(table[-1], flush=True)
    return table


def gaussianity(X: np.ndarray, sources: list[str], epochs: int) -> Comparison:
    """Raw, whitened, RBIG and flow side by side, on rows that none was fitted on."""
    learn, judge = splits(X, sources)["clusters of near-duplicates"]
    models = {
        "whitened": Whitening("pca"),
        "RBIG": RotationGaussianizer(random_state=0),
        "flow": FlowGaussianizer(max_iter=epochs, random_state=0),
    }
    fitted = {name: model.fit(X[learn]) for name, model in models.items()}
    names = [n for n, metric in METRICS.items() if metric.function.__module__ in MEASURES]
    return compare(X[judge], fitted, metrics=names, refit=False)


# -- the peer ----------------------------------------------------------------------------------


class BoundedCoupling(AffineCouplingTransform):
    def _scale_and_shift(self, params):
        raw, shift = params.chunk(2, dim=1)
        return torch.exp(0.5 * torch.tanh(raw / 0.5)), shift


class Net(nn.Sequential):
    def __init__(self, n_in: int, n_out: int) -> None:
        last = nn.Linear(HIDDEN, n_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(n_in, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), last)

    def forward(self, x, context=None):
        return super().forward(x)


class Turn(Transform):
    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, inputs, context=None):
        return inputs @ self.matrix, inputs.new_zeros(len(inputs))


def plain_epoch(Z: torch.Tensor) -> float:
    """Seconds of an epoch of the loop that one writes with nflows, of the same architecture."""
    d = Z.shape[1]
    halves = [(torch.arange(d) < (d + 1) // 2) == bool(k % 2) for k in range(COUPLINGS)]
    parts: list[Transform] = []
    for index, mask in enumerate(halves):
        if index and index % 2 == 0:
            parts.append(Turn(torch.linalg.qr(torch.randn(d, d))[0]))
        parts.append(BoundedCoupling(mask.float(), Net))
    parts.append(Turn(torch.eye(d)))
    flow = CompositeTransform(parts)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=2e-3, weight_decay=1.0)
    start = time.perf_counter()
    for part in torch.randperm(len(Z)).split(BATCH):
        Y, volume = flow(Z[part])
        loss = (0.5 * Y.square().sum(1) - volume).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def our_epoch(X: np.ndarray, precision: str) -> float:
    # An epoch more or less is the training alone: no whitening, no set-up.
    model = FlowGaussianizer(max_iter=2, precision=precision, random_state=0)
    history = model.fit(X).history_
    return history[1]["seconds"] - history[0]["seconds"]


def speed(X: np.ndarray, repeats: int) -> list[dict]:
    """Rows per second; ours count the held-out gain after each epoch in."""
    Z = torch.from_numpy(Whitening("pca").fit_transform(X))
    n_ours = len(X) - round(0.1 * len(X))
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        rates.setdefault("plain nflows loop", []).append(len(Z) / plain_epoch(Z))
        for precision in ("float32", "bfloat16"):
            name = f"isotropy, products in {precision}"
            rates.setdefault(name, []).append(n_ours / our_epoch(X, precision))
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
        found[name] = round(100 * float(spearmanr((E[a] * E[b]).sum(1), scores)[0]), 1)
    return {**found, "mean": round(float(np.mean(list(found.values()))), 2)}


def similarity(X: np.ndarray, index: dict, pairs: dict, epochs: int) -> list:
    """Without labels: fitted on all sentences, evaluated on the pairs of each set."""
    table = [{"rows": "raw", **spearman(X, index, pairs)}]
    settings = {
        "RBIG": RotationGaussianizer(random_state=0),
        "RBIG, 1 layer": RotationGaussianizer(max_layers=1, random_state=0),
        f"flow, {epochs} epochs": FlowGaussianizer(max_iter=epochs, random_state=0),
        "flow, 5 epochs": FlowGaussianizer(max_iter=5, random_state=0),
        "flow, 1 epoch": FlowGaussianizer(max_iter=1, random_state=0),
        "flow, 5 epochs, volume weight 0.5": FlowGaussianizer(
            max_iter=5, volume_weight=0.5, early_stopping=False, random_state=0
        ),
        "flow, 5 epochs, volume weight 0.9": FlowGaussianizer(
            max_iter=5, volume_weight=0.9, early_stopping=False, random_state=0
        ),
        "flow, 5 epochs, scales within 0.05": FlowGaussianizer(
            max_iter=5, scale_bound=0.05, random_state=0
        ),
        "bert-flow, 5 epochs": FlowGaussianizer("bert-flow", max_iter=5, random_state=0),
    }
    for power in (1.0, 0.75, 0.5):
        Y = Whitening("pca", power=power).fit(X).transform(X)
        table.append({"rows": f"whitening, power {power}", **spearman(Y, index, pairs)})
    for name, model in settings.items():
        Y = model.fit(X).transform(X)
        for power in (1.0, 0.75, 0.5):
            # The map leaves the axes nearly in place, so their scales can be given back in part.
            scaled = Y * model.eigenvalues_ ** ((1 - power) / 2)
            row = {"rows": f"{name}, power {power}", **spearman(scaled, index, pairs)}
            table.append({**row, "own held-out nats": round(model.gain_, 1)})
            print(table[-1], flush=True)
    return table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True, help="the folder of the STS files")
    options.add_argument("--cache", type=Path, help="where to keep the encoded rows (.npy)")
    options.add_argument("--epochs", type=int, nargs="+", default=[25, 90])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument(
        "--parts", nargs="+", default=["speed", "gain", "gaussianity", "similarity"]
    )
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    texts, sources, pairs = read(chosen.data)
    X = encoded(texts, chosen.cache)
    shape = f"{len(X):,} sentences, MiniLM layer 5"
    if "speed" in chosen.parts:
        report("gaussianize_speed", f"Training rows per second, {shape}", speed(X, chosen.repeats))
    if "gain" in chosen.parts:
        table = gains(X, sources, chosen.epochs)
        report("gaussianize_gain", f"Held-out gain over the Gaussian, {shape}", table)
    if "gaussianity" in chosen.parts:
        cards = gaussianity(X, sources, chosen.epochs[0])
        print(f"\nGaussianity of held-out rows, {shape}\n{cards}")
        table = [
            {"metric": name, **{k: f"{card[name]:.4g}" for k, card in cards.scorecards.items()}}
            for name in cards.metrics
        ]
        report("gaussianize_metrics", f"Gaussianity of held-out rows, {shape}", table)
    if "similarity" in chosen.parts:
        index = {text: k for k, text in enumerate(texts)}
        table = similarity(X, index, pairs, chosen.epochs[0])
        report("gaussianize_similarity", f"Spearman x 100 ('all' aggregation), {shape}", table)


if __name__ == "__main__":
    main()
