"""Moments of all processes of a torch.distributed group."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.moments import Moments

__all__ = ["all_reduce"]

_SUMS = (
    "n_rows",
    "n_zero_rows",
    "total_weight",
    "total_weight2",
    "norm_sum",
    "norm_square_sum",
    "unit_weight",
    "unit_weight2",
)
_LARGEST = ("norm_max", "input_eps", "product_eps")
_ARRAYS = ("scatter", "third", "unit_sum", "unit_square_sum", "unit_gram")


def all_reduce(moments: Moments, group: Any = None) -> Moments:
    """What `Moments.all_reduce` says."""
    torch = require("torch", extra="encoders")
    dist = torch.distributed
    device = "cuda" if dist.get_backend(group) == "nccl" else "cpu"

    def reduced(values: Any, operation: Any) -> np.ndarray:
        numbers = torch.as_tensor(np.asarray(values, np.float64), device=device)
        dist.all_reduce(numbers, op=operation, group=group)
        found: np.ndarray = numbers.cpu().numpy()
        return found

    largest, added = dist.ReduceOp.MAX, dist.ReduceOp.SUM
    options = zlib.crc32(repr(sorted(moments._options().items())).encode())
    d = moments.n_features
    # The largest of a value and of its negative differ only if processes do.
    agreed = reduced([options, -options, d, -d if d else -np.inf], largest)
    if agreed[0] != -agreed[1]:
        raise ValueError("Moments of several options do not add up; make them alike everywhere.")
    if agreed[2] == 0:
        return moments.copy()
    if agreed[2] != -agreed[3]:
        raise ValueError(
            f"Moments of {int(-agreed[3])} to {int(agreed[2])} dimensions do not add up."
        )
    total = moments.copy()
    if not d:
        total._allocate(int(agreed[2]))
    weight = total.total_weight
    sums = reduced(np.append(weight * total.mean, weight), added)
    mean = sums[:-1] / sums[-1] if sums[-1] > 0 else sums[:-1]
    if weight > 0:
        total._move(mean - total.mean)
    total.mean = mean
    names = [name for name in _ARRAYS if getattr(total, name) is not None]
    parts = [np.asarray(getattr(total, name)).ravel() for name in names]
    scalars = [float(getattr(total, name)) for name in _SUMS] + [total.fourth or 0.0]
    flat = reduced(np.concatenate([*parts, scalars]), added)
    for name, part in zip(names, parts, strict=True):
        setattr(total, name, flat[: part.size].reshape(getattr(total, name).shape))
        flat = flat[part.size :]
    for name, value in zip(_SUMS, flat, strict=False):
        setattr(total, name, int(value) if name.startswith("n_") else float(value))
    if total.fourth is not None:
        total.fourth = float(flat[-1])
    ends = reduced([-total.norm_min, *(getattr(total, name) for name in _LARGEST)], largest)
    total.norm_min = float(-ends[0])
    for name, value in zip(_LARGEST, ends[1:], strict=True):
        setattr(total, name, float(value))
    total._eigen = {}
    return total
