"""Moments of several processes: the all-reduce gives each the moments of all rows."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from isotropy import CrossMoments, Moments
from isotropy.jobs import all_reduce

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).normal(size=(1000, 6)) + 1000
W = np.random.default_rng(1).integers(0, 3, 1000).astype(float)
CUTS = {"even": 500, "one has nothing": 0, "uneven": 999}
Z = np.where(np.arange(1000) < 700, "early", "late")  # a process may know one class alone
OPTIONS = {"whole": {"unit": "gram"}, "sums": {"order": 1, "unit": "none"}}


def _work(rank, folder):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for case, cut in CUTS.items():
        part = slice(cut, None) if rank else slice(cut)
        for name, options in OPTIONS.items():
            mine = Moments(**options).update(X[part], W[part])
            all_reduce(mine).save(f"{folder}/{case} {name} {rank}.safetensors")
            assert mine.n_rows == np.count_nonzero(W[part])  # as it was
        mine = CrossMoments().update(X[part], W[part], z=Z[part])
        all_reduce(mine).save(f"{folder}/{case} cross {rank}.safetensors")
    for name, mine in (
        ("options", Moments(order=2 if rank else 4).update(X)),
        ("width", Moments().update(X[:, : 3 + rank])),
    ):
        with pytest.raises(ValueError) as caught:
            all_reduce(mine)
        Path(f"{folder}/{name}{rank}.txt").write_text(str(caught.value))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, which cost seconds to start, wrote all that they got."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(_work, (folder,), nprocs=2)
    return folder


@pytest.mark.parametrize("case", CUTS)
@pytest.mark.parametrize("options", OPTIONS)
def test_each_process_gets_the_moments_of_all(folder, case, options):
    wanted = Moments(**OPTIONS[options]).update(X, W)
    for rank in range(2):
        found = Moments.load(folder / f"{case} {options} {rank}.safetensors")
        assert found.n_rows == wanted.n_rows and found.total_weight == wanted.total_weight
        assert (found.norm_min, found.norm_max) == (wanted.norm_min, wanted.norm_max)
        np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-14)
        for name in ("scatter", "third", "unit_sum", "unit_square_sum", "unit_gram"):
            one, other = getattr(found, name), getattr(wanted, name)
            if other is not None:
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())
        assert (found.fourth or 0) == pytest.approx(wanted.fourth or 0, rel=1e-12)


@pytest.mark.parametrize("case", CUTS)
def test_each_process_gets_the_labels_of_all(folder, case):
    wanted = CrossMoments().update(X, W, z=Z)
    for rank in range(2):
        found = CrossMoments.load(folder / f"{case} cross {rank}.safetensors")
        assert found.concepts == wanted.concepts and found.n_rows == wanted.n_rows
        for name in ("z_mean", "cross", "z_scatter", "spread", "scatter"):
            one, other = getattr(found, name), getattr(wanted, name)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_what_does_not_add_up_is_an_error_in_every_process(folder):
    for rank in range(2):
        assert "several options" in (folder / f"options{rank}.txt").read_text()
        assert "3 to 4 dimensions" in (folder / f"width{rank}.txt").read_text()


def _left_alone(rank, folder):
    import datetime

    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=20),
    )
    dist.barrier()
    if rank:
        os._exit(0)
    with pytest.raises(RuntimeError) as caught:
        all_reduce(Moments().update(X))
    Path(f"{folder}/died.txt").write_text(str(caught.value))


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_for_the_others(tmp_path):
    context = torch.multiprocessing.spawn(_left_alone, (tmp_path,), nprocs=2, join=False)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and any(one.is_alive() for one in context.processes):
        time.sleep(0.1)
    assert (tmp_path / "died.txt").read_text()


def test_blocks_are_sent_to_a_device():
    wanted = Moments().update(X, W)
    for given in (X, torch.from_numpy(X)):
        found = Moments().update(given, W, device="cpu")
        np.testing.assert_allclose(found.scatter, wanted.scatter, rtol=0, atol=1e-9)
    bad = X.copy()
    bad[700] = np.nan
    with pytest.raises(ValueError, match="row 700 is the first bad one"):
        Moments().update(bad, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rows_on_the_processor_are_summed_on_the_card():
    wanted = Moments().update(X, W)
    found = Moments().update(X, W, device="cuda")
    np.testing.assert_allclose(found.scatter, wanted.scatter, rtol=0, atol=1e-9)
