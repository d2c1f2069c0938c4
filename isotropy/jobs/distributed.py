"""Moments of all processes of a torch.distributed group."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.moments import Moments
from isotropy.rows.sample import Sample

__all__ = ["all_reduce"]


def all_reduce(moments: Moments, group: Any = None) -> Moments:
    """The sum of the Moments of all processes of a `torch.distributed` group, in each of them.

    Every process must call it; one without rows takes part as well. The sums are moved to the
    common mean and added there: a few reductions of O(d^2) numbers, on the device that the group's
    backend wants.

    Parameters
    ----------
    moments : Moments
        Of this process's rows; left as they are.
    group : torch.distributed process group, optional
        All processes by default.

    Returns
    -------
    Moments
        Of the rows of all processes.

    Raises
    ------
    ValueError
        In every process, if options or dimensions differ between them.
    RuntimeError
        If another process dies meanwhile: at once with gloo, whose connection breaks; with nccl
        once the group's time-out is over.

    Notes
    -----
    Nothing waits for ever: a process that is alive and does not call is waited for as long as
    `torch.distributed.init_process_group` was told, ``timeout=datetime.timedelta(minutes=5)``, by
    default 30 minutes with gloo and 10 with nccl.

    Examples
    --------
    In a script that ``torchrun`` starts, after ``init_process_group``:

    >>> moments = all_reduce(Moments.from_rows(my_rows))  # doctest: +SKIP
    >>> corrector = Whitening().fit_moments(moments)  # the same everywhere  # doctest: +SKIP
    """
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
    total._agree(_all_texts(total._said(), dist, group, device))
    weight = total.total_weight
    sums = reduced(np.append(weight * total._center, weight), added)
    total = total.centered_at(sums[:-1] / sums[-1] if sums[-1] > 0 else sums[:-1])
    for rules, operation, sign in (
        (("sum", "centered sum"), added, 1.0),
        (("max",), largest, 1.0),
        (("min",), largest, -1.0),
    ):
        names = [
            n
            for n, rule in moments._merge.items()
            if rule in rules and getattr(total, n) is not None
        ]
        parts = [sign * np.asarray(getattr(total, name), np.float64) for name in names]
        flat = sign * reduced(np.concatenate([part.ravel() for part in parts]), operation)
        for name, part in zip(names, parts, strict=True):
            found = flat[: part.size].reshape(part.shape)
            setattr(total, name, found if part.ndim else type(getattr(total, name))(found))
            flat = flat[part.size :]
    if total.sampled is not None:
        mine = np.full((total.sample, total.n_features), np.nan)
        mine[: len(total.sampled)] = total.sampled
        sent = torch.as_tensor(mine, device=device)
        every = [torch.empty_like(sent) for _ in range(dist.get_world_size(group))]
        dist.all_gather(every, sent, group=group)
        rows = torch.cat(every).cpu().numpy()
        total.sampled = Sample.of(total.sample, rows[np.isfinite(rows[:, 0])]).rows
    return total


def _all_texts(text: str, dist: Any, group: Any, device: str) -> list[str]:
    """The texts of all processes, in each of them."""
    torch = require("torch", extra="encoders")
    given = text.encode()
    longest = torch.tensor([len(given)], device=device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX, group=group)
    if not int(longest):
        return [""]
    mine = torch.zeros(int(longest), dtype=torch.uint8, device=device)
    mine[: len(given)] = torch.frombuffer(bytearray(given), dtype=torch.uint8)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, mine, group=group)
    return [bytes(one.cpu().numpy()).rstrip(b"\0").decode() for one in every]
