"""One pass over the rows: sums around a fixed shift, in blocks, on threads, numpy or torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from isotropy.rows.arrays import (
    block_rows,
    dtype_in,
    is_torch,
    namespace,
    raise_on_bad_row,
    spread,
    workers_for,
    working_block,
)
from isotropy.rows.products import gram, weighted_sum
from isotropy.rows.sample import Sample

SMALL_JOB = 2**34
"""Multiplications below which a pass takes well under a second in float64, so it gets it. Above,
float32 rows are multiplied in float32, block by block, and the blocks are summed in float64."""

_CHUNK_BYTES = 2**20  # rows handled at a time between two products: they stay in the cache
_DEVICE_BLOCK = 16  # a block on an accelerator is this many times larger than on a processor


class RawSums:
    """Weighted sums over rows ``y = x - shift``, and over the unit rows ``x / |x|``.

    Counts of a weight w are w for frequencies; `unit_square` is weighted by w for frequencies and
    by w^2 for probabilities: what a row contributes to the sum over all pairs by meeting itself.
    """

    def __init__(self, d: int, sample: int = 0) -> None:
        self.sample = Sample(sample, d)
        self.n_rows = self.n_zero_rows = 0
        self.weight = self.weight2 = self.fourth = 0.0
        self.norm = self.norm2 = self.unit_weight = self.unit_weight2 = 0.0
        self.norm_min, self.norm_max = np.inf, 0.0
        self.first, self.third = np.zeros(d), np.zeros(d)
        self.unit_sum, self.unit_square = np.zeros(d), np.zeros(d)
        self.scatter: Any = 0.0
        self.unit_gram: Any = 0.0

    def add_matrix(self, name: str, product: Any) -> None:
        """Add a product to the float64 sum of that name, in place from the second on."""
        total = getattr(self, name)
        if isinstance(total, float):
            setattr(self, name, _to_numpy(product).copy())
        else:
            total += product if isinstance(product, np.ndarray) else _to_numpy(product)

    def __iadd__(self, other: RawSums) -> RawSums:
        for name, value in vars(other).items():
            merge = {"norm_min": min, "norm_max": max}.get(name, lambda a, b: a + b)
            setattr(self, name, merge(getattr(self, name), value))
        return self

    def finite(self) -> bool:
        vectors = (self.fourth, self.first, self.third, self.unit_sum, self.norm2)
        return all(np.isfinite(v).all() for v in vectors)


class Pass:
    """A pass over one array: the arithmetic is chosen once, then blocks are dealt to threads.

    Parameters
    ----------
    X : array of shape (n, d), numpy or torch
    weights : array of shape (n,) or None
    order : {1, 2, 4}
        The highest order of the sums.
    unit : {"none", "sums", "gram"}
        Which sums over unit rows to take along.
    normalize : bool
        Sum unit rows in the place of the rows.
    frequency : bool
        Whether weights count repetitions.
    seen : int
        Rows of earlier passes into the same state: they count towards a large job.
    first_row : int
        The number that an error gives the first row.
    sample : int
        How many rows to keep.
    """

    def __init__(
        self,
        X: Any,
        weights: np.ndarray | None,
        *,
        order: int = 4,
        unit: str = "sums",
        normalize: bool = False,
        frequency: bool = True,
        seen: int = 0,
        first_row: int = 0,
        sample: int = 0,
    ) -> None:
        self.X, self.weights, self.sample = X, weights, sample
        self.order, self.unit = order, unit
        self.normalize, self.frequency, self.first_row = normalize, frequency, first_row
        self.n, self.d = self.X.shape
        self.on_device = is_torch(self.X) and self.X.device.type != "cpu"
        self.xp: Any = namespace(self.X) if self.on_device else np
        some, weights_of_some = self._sample()
        products = self.d if order > 1 or unit == "gram" else 1
        self.dtype: Any = self._choose_dtype(some, (seen + self.n) * self.d * products)
        self.shift = self._choose_shift(some, weights_of_some)
        itemsize = np.dtype(self.dtype).itemsize
        self.rows_per_block = block_rows(self.d, itemsize)
        self.rows_per_chunk = max(64, _CHUNK_BYTES // (self.d * itemsize))
        if self.on_device:
            self.rows_per_block *= _DEVICE_BLOCK
            self.rows_per_chunk = self.rows_per_block

    def _sample(self) -> tuple[np.ndarray, np.ndarray]:
        """At most some 1,024 rows, evenly spread, in float64: they set the shift and the scale."""
        step = max(1, self.n // 1024)
        rows = self.X[::step]
        sample = rows.double().cpu().numpy() if is_torch(rows) else rows.astype(np.float64)
        weights = np.ones(len(sample)) if self.weights is None else self.weights[::step]
        good = np.isfinite(sample).all(1) & (weights > 0)  # bad rows raise later, with their number
        sample, weights = sample[good], weights[good]
        if self.normalize:
            norms = np.linalg.norm(sample, axis=1, keepdims=True)
            sample = sample / np.where(norms > 0, norms, 1)
        return sample, weights

    def _choose_dtype(self, sample: np.ndarray, multiplications: int) -> Any:
        stored = str(self.X.dtype).removeprefix("torch.")
        if stored not in ("float32", "float16", "bfloat16") or multiplications <= SMALL_JOB:
            return np.float64
        if self.on_device and _doubles_at_full_speed(self.X.device):
            return np.float64
        size = np.abs(sample).max(initial=0.0)
        return np.float32 if 1e-12 < size < 1e12 else np.float64  # else squares leave float32

    def _choose_shift(self, sample: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """A point near the mean; zero, which saves a copy, where the mean is within the spread."""
        if not len(sample):
            return np.zeros(self.d)
        share = weights / weights.sum()
        mean = (sample * share[:, None]).sum(0)
        if mean @ mean <= float((((sample - mean) ** 2).sum(1) * share).sum()) / 4:
            return np.zeros(self.d)
        return mean.astype(self.dtype).astype(np.float64)

    def run(self) -> RawSums:
        """The sums over all rows; a ``ValueError`` names the first row that is not finite."""
        n_blocks = -(-self.n // self.rows_per_block)
        n_workers = 1 if self.on_device else workers_for(n_blocks)
        rows = min(self.n, self.rows_per_block)
        buffers = Buffers.of(self, n_workers, rows)
        parts = [RawSums(self.d, self.sample) for _ in range(n_workers)]

        def work(worker: int) -> None:
            for index in range(worker, n_blocks, n_workers):
                start = index * self.rows_per_block
                stop = min(start + self.rows_per_block, self.n)
                block = working_block(self.X, start, stop, self.dtype)
                weights = None if self.weights is None else self.weights[start:stop]
                self.bring_in(block, weights, start, parts[worker], buffers[worker])

        spread(work, n_workers)
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total

    def bring_in(
        self,
        block: Any,
        weights: np.ndarray | None,
        start: int,
        total: RawSums,
        buffers: Buffers,
    ) -> None:
        """Add one block of the working type, whose first row is number `start`, to `total`."""
        with (
            np.errstate(over="ignore", invalid="ignore", under="ignore"),
            _full_float32(self.on_device),
        ):
            if self._add_block(total, block, weights, buffers):
                return
            raise_on_bad_row(block, self.first_row + start)
            # Good rows, but a square overflowed or vanished: once more in float64.
            wide = working_block(block, 0, len(block), np.float64)
            (buffers,) = Buffers.of(self, 1, len(wide), np.float64)
            if not self._add_block(total, wide, weights, buffers):
                raise ValueError("X holds numbers whose squares overflow float64; rescale X.")

    def suits(self, block: Any) -> bool:
        """Whether the shift is within the spread of other rows too, by some 64 of them."""
        rows = block[:: max(1, len(block) // 64)]
        if is_torch(rows):
            rows = rows.double().cpu().numpy()
        with np.errstate(all="ignore"):
            rows = rows.astype(np.float64)
            if self.normalize:
                norms = np.linalg.norm(rows, axis=1, keepdims=True)
                rows = rows / np.where(norms > 0, norms, 1)
            mean = rows.mean(0)
            away = mean - self.shift
            return bool(away @ away <= ((rows - mean) ** 2).sum(1).mean())

    def _add_block(
        self, total: RawSums, block: Any, weights: np.ndarray | None, buffers: Buffers
    ) -> bool:
        """Add one block; False, and nothing added, where a square does not fit its type."""
        xp, m, part = self.xp, len(block), RawSums(self.d)
        w = np.ones(m) if weights is None else weights
        centred = block if buffers.centred is None else buffers.centred[:m]
        hats = None if buffers.hats is None else buffers.hats[:m]
        moved, shift = bool(self.shift.any()), _like(block, self.shift)
        for start in range(0, m, self.rows_per_chunk):
            rows = slice(start, start + self.rows_per_chunk)
            x, y, wx = block[rows], centred[rows], w[rows]
            if self.unit != "none" or self.normalize:
                norms = np.sqrt(_to_numpy(_row_squares(xp, x)))
                if _vanished(x, norms):
                    return False
                inverse = 1 / np.where(norms > 0, norms, np.inf)
                if self.unit != "none":
                    self._unit_sums(part, x, norms, inverse, wx)
                if hats is not None:
                    scale = inverse if weights is None else inverse * np.sqrt(wx)
                    xp.multiply(x, _like(x, scale)[:, None], out=hats[rows])
                if self.normalize:
                    x = xp.multiply(x, _like(x, inverse)[:, None], out=y)
            if moved:
                xp.subtract(x, shift, out=y)
            elif x is not y and buffers.centred is not None:
                y[...] = x
            part.first += self._sum(wx, y)
            if self.order > 2:
                squares = _to_numpy(_row_squares(xp, y))
                part.third += self._sum(wx * squares, y)
                part.fourth += float((wx * squares**2).sum())
            if weights is not None:
                y *= _like(y, np.sqrt(wx))[:, None]
        if not part.finite():
            return False
        part.n_rows = int(np.count_nonzero(w))
        part.weight, part.weight2 = float(w.sum()), float(np.square(w).sum())
        total += part
        total.sample.add(block, weights)
        if self.order > 1:
            total.add_matrix("scatter", self._gram(centred, buffers.product))
        if hats is not None:
            total.add_matrix("unit_gram", self._gram(hats, buffers.product))
        return True

    def _unit_sums(
        self, part: RawSums, x: Any, norms: np.ndarray, inverse: np.ndarray, w: np.ndarray
    ) -> None:
        live = w[norms > 0]
        part.n_zero_rows += int(np.count_nonzero(w[norms == 0]))
        part.norm += float((w * norms).sum())
        part.norm2 += float((w * norms**2).sum())
        part.unit_weight += float(live.sum())
        part.unit_weight2 += float(np.square(live).sum())
        if (counted := norms[w > 0]).size:
            part.norm_min = min(part.norm_min, float(counted.min()))
            part.norm_max = max(part.norm_max, float(counted.max()))
        part.unit_sum += self._sum(w * inverse, x)
        meets_itself = w if self.frequency else w * w
        part.unit_square += self._sum(meets_itself * inverse**2, x * x)

    def _sum(self, weights: np.ndarray, rows: Any) -> np.ndarray:
        """The weighted sum of rows, in float64 on the processor."""
        weights = _like(rows, weights)
        return _to_numpy(weights @ rows if is_torch(rows) else weighted_sum(weights, rows))

    def _gram(self, rows: Any, out: Any) -> Any:
        return self.xp.matmul(rows.T, rows, out=out) if is_torch(rows) else gram(rows, out)


class Buffers:
    """Memory of one thread: centred rows, unit rows and a product, where the pass needs them."""

    def __init__(self, centred: Any, hats: Any, product: Any) -> None:
        self.centred, self.hats, self.product = centred, hats, product

    @classmethod
    def of(cls, run: Pass, workers: int, rows: int, dtype: Any = None) -> list[Buffers]:
        """Buffers for so many threads, each kind in one piece and from the calling thread.

        The heap of that thread keeps pieces up to 32 MiB for the next call (glibc); fresh memory
        would cost more in page faults than the copy into it.
        """
        dtype = dtype or run.dtype

        def empty(wanted: bool, rows: int) -> Any:
            if not wanted:
                return [None] * workers
            shape = (workers, rows, run.d)
            if not run.on_device:
                return _room(shape, dtype)
            return run.xp.empty(shape, dtype=dtype_in(run.xp, dtype), device=run.X.device)

        copied = bool(run.shift.any()) or run.normalize or run.weights is not None
        gram = run.unit == "gram"
        parts = empty(copied, rows), empty(gram, rows), empty(run.order > 1 or gram, run.d)
        return [cls(*part) for part in zip(*parts, strict=True)]


def _room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        d = shape[-1]
        raise ValueError(
            f"rows of {d:,} dimensions need {d} x {d} numbers to sum their products, "
            f"{8 * d * d / 2**30:.3g} GiB, more than there is memory for. Take fewer; if "
            "columns are embeddings, pass X.T."
        ) from error


def _doubles_at_full_speed(device: Any) -> bool:
    """Whether float64 products take no longer than float32 ones: NVIDIA's A100 and H100 kinds."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) in ((8, 0), (9, 0))


@contextmanager
def _full_float32(on_device: bool) -> Iterator[None]:
    """Products of float32 in float32: TF32, where a user allows it, keeps 10 bits of 23."""
    if not on_device:
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _like(block: Any, values: np.ndarray) -> Any:
    """`values` in the library, type and place of `block`."""
    if not is_torch(block):
        return values.astype(block.dtype, copy=False)
    xp = namespace(block)
    return xp.as_tensor(values, dtype=block.dtype, device=block.device)


def _to_numpy(values: Any) -> np.ndarray:
    """`values` in float64 on the processor."""
    if is_torch(values):
        values = values.double().cpu().numpy()
    return values.astype(np.float64, copy=False)


def _row_squares(xp: Any, x: Any) -> Any:
    return xp.einsum("ij,ij->i", x, x)


def _vanished(x: Any, norms: np.ndarray) -> bool:
    """Whether a norm is lost to overflow or underflow (a zero row is not)."""
    if not np.isfinite(norms).all():
        return True
    if str(x.dtype).removeprefix("torch.") == "float64":
        return False
    tiny = np.flatnonzero(norms < 1e-15)
    return bool(tiny.size) and bool((x[tiny] != 0).any())
