"""Moments of rows of any size, kept safe from a crash by checkpoints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io import open_rows
from isotropy.jobs.places import Inputs
from isotropy.moments import Moments
from isotropy.rows.arrays import BadRowError, check_weights
from isotropy.rows.lanes import gather, rows_at_a_time
from isotropy.storage.locks import owned
from isotropy.storage.state import load_state, save_state

__all__ = ["stream_moments"]

_KIND = "MomentsCheckpoint"


def stream_moments(
    source: Any,
    sample_weight: Any = None,
    *,
    column: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: float = 30.0,
    device: Any = None,
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Moments:
    """Moments of files, folders or tables of any size, in one pass that survives a crash.

    Parameters
    ----------
    source : anything `isotropy.io.open_rows` opens, or its rows
    sample_weight : array of shape (n,), optional
    column : str, optional
        As in `open_rows`.
    checkpoint : path, optional
        A file in which the moments so far are kept. It is replaced whole; the process may be
        killed at any time. The same call then goes on with the row after the last one counted: no
        row is lost or counted twice. Once all rows are in, the same call returns at once; delete
        the file when the result is safe.
    every : float, default=30
        Seconds between two checkpoints.
    device : torch device, optional
        Where to sum; see `Moments.update`.
    progress : callable, optional
        Called with the number of rows read, after each block.
    **options
        Of `Moments`: `unit`, `order`, `weight_type`, `normalize`.

    Returns
    -------
    moments : Moments

    Raises
    ------
    isotropy.io.FileError
        If a file is damaged or changes meanwhile; file and row are named. If the checkpoint is, or
        lies among, what is read, or another job is using it.
    ValueError
        If a row holds NaN or infinity, or the checkpoint is of other rows, weights or options.

    Notes
    -----
    One thread reads while the others sum, with n d^2 multiplications in all; memory is O(d^2) and
    some five blocks of 6 MiB. A checkpoint writes 8 d^2 bytes (16 d^2 with ``unit="gram"``).

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/rows.npy", np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> moments = stream_moments(folder.name, checkpoint=f"{folder.name}/fit.ckpt")
    >>> moments.n_rows, moments.mean.tolist()
    (2, [2.0, 5.0])
    >>> folder.cleanup()
    """
    if not every >= 0:
        raise ValueError(f"every must be 0 or more seconds, got {every}.")
    rows = open_rows(source, column=column)
    n = rows.shape[0]
    weights = check_weights(sample_weight, n)
    total = Moments(**options)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        Inputs(rows).refuse(path)
    with nullcontext() if path is None else owned(path):
        return _streamed(rows, weights, total, path, every, device, progress)


def _streamed(
    rows: Any,
    weights: np.ndarray | None,
    total: Moments,
    path: Path | None,
    every: float,
    device: Any,
    progress: Callable[[int], object] | None,
) -> Moments:
    """The moments, with a checkpoint that is this job's alone."""
    n, start, empty = rows.shape[0], 0, total.copy()
    job = _job(rows, weights, total)
    if path is not None and path.exists():
        total, start = _resumed(path, job)
    blocks = _reported(rows.blocks(rows_at_a_time(rows), start=start), start, progress)
    try:
        while True:
            saved, before = time.monotonic(), start

            def due(block_done: int = 0, saved: float = saved) -> bool:
                return path is not None and time.monotonic() - saved >= every

            part, start = gather(
                blocks,
                empty,
                n,
                weights,
                start=start,
                device=device,
                stop=due,
            )
            total._absorb(part)
            if path is not None and (start > before or not path.exists()):
                save(path, total, start, job)
            if start >= n:
                break
            if start == before:
                raise ValueError(f"{rows.path}: {n} rows were promised, {start} came.")
        next(blocks, None)  # the last step checks that the files are what they were
    except BadRowError as error:
        raise error.at(rows.locate(error.row)) from None
    return total


def _reported(
    blocks: Iterator[Any], done: int, progress: Callable[[int], object] | None
) -> Iterator[Any]:
    for block in blocks:
        done += len(block)
        if progress is not None:
            progress(done)
        yield block


def _job(rows: Any, weights: np.ndarray | None, moments: Moments) -> dict[str, Any]:
    """What a checkpoint must have been made from to be gone on with."""
    weight = None if weights is None else sha256(weights.tobytes()).hexdigest()
    return {"rows": rows.fingerprint(), "weights": weight, "options": moments._options()}


def save(path: Path, moments: Moments, next_row: int, job: dict[str, Any]) -> None:
    """Write a checkpoint; it appears whole or not at all."""
    state, arrays = moments.pack()
    save_state(path, _KIND, {"moments": state, "next_row": next_row, "job": job}, arrays)


def _resumed(path: Path, job: dict[str, Any]) -> tuple[Moments, int]:
    try:
        info, arrays = load_state(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Name another file; or, if it was a checkpoint, delete it to begin anew."
        ) from error
    if info["class"] != _KIND:
        raise ValueError(f"{path}: holds a {info['class']}, not a checkpoint; name another file.")
    for key, wanted in job.items():
        if info.get("job", {}).get(key) != wanted:
            raise ValueError(
                f"{path}: is a checkpoint of other {key}, or they have changed since. Delete it "
                "to begin anew, or name another file."
            )
    return Moments.unpack(info["moments"], arrays, path=path), int(info["next_row"])
