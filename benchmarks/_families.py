"""Families of corrections beside those of `isotropy.choose.settings`, on some of the cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from _cells import OWN, scored
from sklearn.cluster import KMeans

from isotropy import Moments, TaperedWhitening, Whitening
from isotropy.choose.settings import SETTINGS
from isotropy.ranking import unit

ENCODERS = (
    "mean 1", "mean 3", "mean 5", "mean 6", "cls 4", "max 5", "glove", "word2vec", "shifted 1.5",
    "cosent, 6 layers", "cosent, 4 layers", "infonce .01, 6 layers shifted",
)  # fmt: skip
COLLECTIONS = (
    "sts12-test", "sts14-test", "msrp", "agnews-titles", "cranfield", "cisi", "stackoverflow",
    "agnews", "trec",
)  # fmt: skip
BESIDE = ("power .5", "power .75", "power 1", "origin .25", "origin tapered .5", "origin tapered 1")
KNEES = ((1 / 12, 1 / 2), (1 / 12, 5 / 6), (1 / 3, 1 / 2), (1 / 3, 5 / 6))


@dataclass
class Moved:
    """Any function of rows, to be scored as a map."""

    apply: Callable[[np.ndarray], np.ndarray]


def families(X: np.ndarray) -> Iterator[tuple[str, Moved, bool]]:
    """Name, map, and whether it removes the mean; no correction first."""
    moments = Moments(unit="sums", order=2).update(X)

    def fitted(corrector: Any) -> Callable[[np.ndarray], np.ndarray]:
        return corrector.fit_moments(moments).affine_map_.apply

    yield "none", Moved(lambda Y: Y), False
    maps = {name: fitted(SETTINGS[name]()) for name in ("centred", *BESIDE)}
    for name in BESIDE:
        yield name, Moved(maps[name]), not name.startswith("origin")
    for kind, start in (("origin tapered 1", lambda Y: Y), ("power 1", maps["centred"])):
        sizes = [np.sqrt((one(X) ** 2).sum(1).mean()) for one in (start, maps[kind])]
        for share in (0.25, 0.5, 0.75):
            yield (
                f"{share:g} of {kind}",
                Moved(
                    lambda Y, kind=kind, start=start, sizes=sizes, share=share: (
                        (1 - share) * start(Y) / sizes[0] + share * maps[kind](Y) / sizes[1]
                    )
                ),
                kind == "power 1",
            )
    yield (
        "raw beside origin tapered 1",
        Moved(lambda Y: np.hstack([unit(Y), unit(maps["origin tapered 1"](Y))])),
        False,
    )
    for head, tail in KNEES:
        for name, power, mean in (
            ("power .5", 0.5, 1.0),
            ("power .75", 0.75, 1.0),
            ("origin tapered 1", 1.0, 0.0),
        ):
            one = TaperedWhitening(power, head=head, tail=tail, mean_strength=mean)
            yield f"{name}, knees {head:.2f} {tail:.2f}", Moved(fitted(one)), mean == 1.0
    yield "origin .375", Moved(fitted(Whitening(power=0.375, mean_strength=0.0))), False
    yield "by stability", stable(X), True
    for k in (1, 3):
        yield f"clusters' {k} directions removed", clusterwise(X, k), True


def stable(X: np.ndarray) -> Moved:
    """Each principal direction whitened by as much of it as both halves of the rows agree on."""
    mean, d = X.mean(0), X.shape[1]
    Z = X - mean
    order = np.random.default_rng(0).permutation(len(X))
    halves = [np.linalg.eigh(Z[half].T @ Z[half])[1][:, ::-1] for half in (order[::2], order[1::2])]
    values, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    values, vectors = np.maximum(values[::-1], 1e-12 * values[-1]), vectors[:, ::-1]
    rank = np.arange(d)
    near = np.abs(rank[:, None] - rank) <= np.maximum(1, rank[:, None] // 4)
    agreed = np.minimum((((halves[0].T @ halves[1]) ** 2) * near).sum(1), 1)
    agreed = np.convolve(np.pad(agreed, 2, mode="edge"), np.ones(5) / 5, "valid")
    scales = (values / values[0]) ** (-agreed / 2)
    matrix = (vectors * (scales / scales.max())) @ vectors.T
    return Moved(lambda Y: (Y - mean) @ matrix)


def clusterwise(X: np.ndarray, k: int) -> Moved:
    """The leading directions of each of ten clusters removed from its rows."""
    mean = X.mean(0)
    model = KMeans(10, n_init=1, random_state=0).fit(unit(X - mean))
    leading = {}
    for label in range(10):
        rows = X[model.labels_ == label]
        if len(rows) >= k + 2:
            leading[label] = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:k]

    def apply(Y: np.ndarray) -> np.ndarray:
        moved, labels = Y - mean, model.predict(unit(Y - mean))
        for label, directions in leading.items():
            here = labels == label
            moved[here] -= (moved[here] @ directions.T) @ directions
        return moved

    return Moved(apply)


def family_scores(collection: Any, rows: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """As `_cells.scores`: a row a task and family."""
    return list(scored(collection, rows, families))


def family_table(files: dict[tuple[str, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Over all cells of a task that tried it: hurt, beyond noise, worst harm and mean gain."""
    cells: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for scores in files.values():
        raw = {one["task"]: one["points"] for one in scores if one["setting"] == "none"}
        for one in scores:
            gain = one["points"] - raw[one["task"].removesuffix(OWN)]
            cells.setdefault((one["task"], one["setting"]), []).append((gain, one["error"]))
    found = []
    for (task, setting), both in sorted(cells.items()):
        gain, error = np.array(both).T
        hurt = gain < -0.5
        found.append(
            {
                "task": task,
                "setting": setting,
                "cells": len(gain),
                "hurt": int(hurt.sum()),
                "beyond noise": int((hurt & (gain < -2 * error)).sum()),
                "worst harm": round(float(max(0, -gain.min())), 1),
                "mean gain": round(float(gain.mean()), 2),
            }
        )
    return found
