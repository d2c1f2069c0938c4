"""Rows of embeddings as the numerical code wants them: checked, in blocks, over threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

BLOCK_BYTES = 12 * 2**20
"""Bytes of working memory a block of rows takes per thread: large enough for the matrix
product to run at full speed, small enough for the state to stay the larger part."""


def is_torch(X: Any) -> bool:
    """Whether `X` is a torch tensor, without importing torch."""
    return type(X).__module__.partition(".")[0] == "torch" and hasattr(X, "detach")


def namespace(X: Any) -> ModuleType:
    """numpy, or torch for a torch tensor."""
    if is_torch(X):
        import torch

        return torch
    return np


def numpy_dtype(X: Any) -> np.dtype[Any]:
    """The numpy type that holds the numbers of an array, numpy or torch, exactly."""
    if not is_torch(X):
        return np.dtype(X.dtype)
    name = str(X.dtype).removeprefix("torch.")
    return np.dtype("float32" if name == "bfloat16" else name)


def to_numpy(X: Any) -> np.ndarray:
    """The array in numpy on the processor; nothing is copied that is there already."""
    if not is_torch(X):
        return np.asarray(X)
    X = X.detach().cpu()
    rows: np.ndarray = (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy()
    return rows


def as_type(X: Any, dtype: Any) -> Any:
    """The array, numpy or torch, in a numpy type."""
    return X.to(dtype_in(namespace(X), dtype)) if is_torch(X) else X.astype(dtype, copy=False)


def at_least_float32(X: Any) -> Any:
    """The array in the type in which its rows are computed: float32 or float64."""
    return as_type(X, np.promote_types(output_dtype(np.empty(0, numpy_dtype(X))), np.float32))


def in_kind_of(X: Any, values: Any) -> Any:
    """Numbers in the library, on the device and in the floating type of `X`; else float64."""
    if not is_torch(X):
        return to_numpy(values).astype(output_dtype(X), copy=False)
    return namespace(X).as_tensor(values, dtype=output_dtype(X), device=X.device)


def unit_rows(X: Any) -> Any:
    """The rows of an array scaled to length one, in its own floating type; zero rows stay zero.

    Parameters
    ----------
    X : array of shape (n, d), numpy or torch
        Floating; half precision is computed in float32.

    Returns
    -------
    array of shape (n, d)
        In the library and on the device of `X`.

    Notes
    -----
    Lengths whose squares leave the type are found and those rows scaled by their largest entry
    first, so rows of 1e-40 or 1e30 have length one in float32 too.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows import unit_rows
    >>> unit_rows(np.array([[3e200, 4e200], [0.0, 0.0]])).round(2).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    xp = namespace(X)
    wide = at_least_float32(X)
    tiny = xp.finfo(wide.dtype).tiny ** 0.5
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        lengths = (wide * wide).sum(1)[:, None] ** 0.5
        lost = ~((lengths > tiny * 1e8) & (lengths < 1e-1 / tiny))
        if bool(lost.any()):
            peak = xp.amax(abs(wide), 1)[:, None]
            scale = xp.where(lost & (peak > 0), peak, xp.ones_like(peak))
            wide = wide / scale
            lengths = (wide * wide).sum(1)[:, None] ** 0.5
        unit = wide / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
    return in_kind_of(X, unit)


def unit_roundoff(X: Any) -> float:
    """Spacing of the numbers in which the rows were stored; 0 for integers, which are exact."""
    if is_torch(X):
        import torch

        return torch.finfo(X.dtype).eps if X.is_floating_point() else 0.0
    return float(np.finfo(X.dtype).eps) if X.dtype.kind == "f" else 0.0


def working_block(X: Any, start: int, stop: int, dtype: Any) -> Any:
    """Rows ``start:stop`` as an array of the working type; a view where they are that already."""
    block = X[start:stop]
    if is_torch(block):
        block = block.to(dtype_in(namespace(block), dtype))
        return block.numpy() if block.device.type == "cpu" else block
    return block.astype(dtype, copy=False)


def dtype_in(xp: ModuleType, dtype: Any) -> Any:
    """The dtype of that name in the array library `xp`."""
    return getattr(xp, np.dtype(dtype).name)


def output_dtype(X: Any) -> Any:
    """The type that comes back: the input's own where it is floating, else float64."""
    if is_torch(X):
        import torch

        return X.dtype if X.is_floating_point() else torch.float64
    return X.dtype.newbyteorder("=") if X.dtype.kind == "f" else np.dtype(np.float64)


class BadRowError(ValueError):
    """A row holds NaN or infinity.

    Parameters
    ----------
    row : int
        Its number.
    kind : str
        What it holds.
    name : str
        What the rows are called.
    place : str, default=""
        Where it is to be found, beside its number.
    """

    def __init__(self, row: int, kind: str, name: str, place: str = "") -> None:
        super().__init__(
            f"{name} contains NaN or infinity (inf): row {row}{place} is the first bad one and "
            f"holds {kind}. Drop or repair such rows before."
        )
        self.row, self._kind, self._name = row, kind, name

    def at(self, place: str) -> BadRowError:
        """The same error that says where the row is to be found.

        Parameters
        ----------
        place : str

        Returns
        -------
        BadRowError
        """
        return BadRowError(self.row, self._kind, self._name, place)


def raise_on_bad_row(block: Any, start: int, *, name: str = "X") -> None:
    """Raise a ``ValueError`` that names the first row holding NaN or infinity, if there is one."""
    good = namespace(block).isfinite(block).all(1)
    if bool(good.all()):
        return
    row = int((~good).nonzero()[0][0])
    values = block[row]
    kind = "NaN" if bool(namespace(block).isnan(values).any()) else "infinity (inf)"
    raise BadRowError(start + row, kind, name)


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """`sample_weight` as float64 of length `n`: finite, not negative, not all zero."""
    if sample_weight is None:
        return None
    if is_torch(sample_weight):
        sample_weight = sample_weight.detach().cpu().numpy()
    if np.ma.is_masked(sample_weight):
        raise ValueError("sample_weight is a masked array with masked values: fill them.")
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have one entry a row, shape ({n},), got shape {weights.shape}."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"sample_weight must be finite and not negative; entry {row} is {weights[row]}."
        )
    return weights


def block_rows(d: int, itemsize: int) -> int:
    """How many rows of `d` numbers make a block."""
    return int(np.clip(BLOCK_BYTES // max(1, d * itemsize), 256, 16384))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


_lending = threading.Lock()
_borrowers = 0
_lent: list[tuple[Any, int]] = []


def _blas() -> list[Any]:
    return [lib for lib in _controller().lib_controllers if lib.user_api == "blas"]


def blas_threads() -> int:
    """How many threads BLAS was told to use: the number that we may use too."""
    with _lending:
        counts = [n for _, n in _lent] if _borrowers else [lib.num_threads for lib in _blas()]
    return max(counts, default=1)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS on the thread that calls it, while our own threads use the cores that it was given.

    OpenBLAS knows one setting for the whole process, so it is changed as seldom and for as short
    as can be: the first job that needs it takes it, the last one that leaves gives it back, and a
    setting that somebody else has changed meanwhile is left as it is.
    """
    global _borrowers, _lent
    with _lending:
        if not _borrowers:
            _lent = [(lib, lib.num_threads) for lib in _blas()]
            for lib, n in _lent:
                if n > 1:
                    lib.set_num_threads(1)
        _borrowers += 1
    try:
        yield
    finally:
        with _lending:
            _borrowers -= 1
            if not _borrowers:
                for lib, n in _lent:
                    if n > 1 and lib.num_threads == 1:
                        lib.set_num_threads(n)


def workers_for(n_blocks: int) -> int:
    """How many threads are worth starting for so many blocks."""
    return max(1, min(blas_threads(), n_blocks))


def spread(work: Callable[[int], None], n_workers: int) -> None:
    """Call ``work(worker)`` once for each worker, on threads of their own.

    A single worker runs here. BLAS is left as it is set: what is no product runs in parallel, and
    large products take turns on its threads.
    """
    if n_workers <= 1:
        work(0)
        return
    with ThreadPoolExecutor(n_workers) as pool:
        for done in [pool.submit(work, worker) for worker in range(n_workers)]:
            done.result()
