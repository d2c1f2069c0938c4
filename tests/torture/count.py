"""Rows found against rows wanted: which are lost, which came twice, which are of other values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Count", "compare", "corrected", "moments_of", "same_rows"]


class Count(NamedTuple):
    lost: int = 0
    doubled: int = 0
    stale: int = 0


def corrected(corrector: Path, X: np.ndarray) -> np.ndarray:
    """The rows as the corrector's file says they must become, one after the other."""
    from safetensors.numpy import load_file

    state = load_file(corrector)
    mean, matrix, offset = (state[f"map.{name}"] for name in ("mean", "matrix", "offset"))
    rows = [(row.astype(float) - mean) @ matrix + offset for row in X]
    return np.array(rows).reshape(len(X), matrix.shape[1])


def compare(found: Any, wanted: np.ndarray) -> Count:
    """Rows of `found` (None: none at all) against `wanted`, in which each row comes once."""
    if found is None or not len(found):
        return Count(lost=len(wanted))
    found = np.asarray(found, float)
    if found.shape[1] != wanted.shape[1]:
        return Count(lost=len(wanted), stale=len(found))
    at = np.array([_place(row, wanted) for row in found])
    known = at[at >= 0]
    lost = len(wanted) - len(np.unique(known))
    doubled = len(known) - len(np.unique(known))
    strange = int((at < 0).sum())
    moved = int((np.diff(known) < 0).sum())  # all there, but in another order
    return Count(max(0, lost - strange), doubled, strange + moved)


def same_rows(found: np.ndarray, wanted: np.ndarray) -> Count:
    """The same where row i must be row i: what is NaN is lost, what differs is stale."""
    empty = np.isnan(found).all(axis=1)
    near = np.isclose(found, wanted, rtol=1e-3, atol=1e-3 * max(1.0, _size(wanted))).all(axis=1)
    return Count(int(empty.sum()), 0, int((~near & ~empty).sum()))


def moments_of(corrector: Path, X: np.ndarray) -> Count:
    """Whether a whitening's file was learned from exactly these rows, each once."""
    import json

    from safetensors import safe_open

    with safe_open(corrector, "np") as file:
        told = json.loads(file.metadata()["isotropy"])
        mean, values = (file.get_tensor(f"fitted.{name}_") for name in ("mean", "eigenvalues"))
    n = int(told["n_rows"])
    if n != len(X):
        return Count(max(0, len(X) - n), max(0, n - len(X)), 0)
    X = X.astype(float)
    middle = sum(X) / len(X)
    spread = np.linalg.eigvalsh(sum(np.outer(row - middle, row - middle) for row in X))[::-1]
    spread = spread[: len(values)] / (len(X) - 1)
    right = np.allclose(mean, middle, rtol=1e-5, atol=1e-6 * _size(X)) and np.allclose(
        values, spread, rtol=1e-4, atol=1e-6 * spread.max()
    )
    return Count(stale=0 if right else len(X))


def _place(row: np.ndarray, wanted: np.ndarray) -> int:
    """The number of the row that this one is; -1 for none."""
    if not np.isfinite(row).all():
        return -1
    distance = np.abs(wanted - row).max(axis=1)
    best = int(distance.argmin())
    return best if distance[best] <= 1e-3 * max(1.0, np.abs(wanted[best]).max()) else -1


def _size(X: np.ndarray) -> float:
    return float(np.abs(X).max()) if X.size else 1.0
