"""Dask collections give what one machine gives, also when a worker is killed meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from isotropy import ComponentRemoval, MeanRemoval, Moments, Whitening, compare, score

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")

X = np.random.default_rng(3).normal(size=(900, 12)) @ np.random.default_rng(4).normal(size=(12, 12))
X += 5


def collections():
    bag = pytest.importorskip("dask.bag")
    frame = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=[f"x{i}" for i in range(12)])
    vectors = pandas.Series(list(X))
    with dask.config.set({"dataframe.convert-string": False}):
        series = frame.from_pandas(vectors, npartitions=3)
    return {
        "array": da.from_array(X, chunks=(250, 5)),
        "unknown sizes": da.from_array(X, chunks=(250, 12))[da.ones(900, chunks=250) > 0],
        "bag": bag.from_sequence(list(X), npartitions=4),
        "frame": frame.from_pandas(table, npartitions=3),
        "series": series,
    }


KINDS = ["array", "unknown sizes", "bag", "frame", "series"]


@pytest.mark.parametrize("kind", KINDS)
def test_moments_and_fits_are_those_of_one_machine(kind):
    given = collections()[kind]
    found, wanted = Moments(unit="gram").update(given), Moments(unit="gram").update(X)
    for name in ("mean", "scatter", "third", "unit_sum", "unit_gram"):
        one, other = getattr(found, name), getattr(wanted, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * np.abs(other).max())
    for corrector in (Whitening(), ComponentRemoval(2), MeanRemoval(normalize="both")):
        one, other = corrector.fit(given).transform(X), corrector.fit(X).transform(X)
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_transform_is_lazy_and_of_the_same_kind(kind):
    given = collections()[kind]
    fitted = Whitening(n_components=7).fit(X)
    out = fitted.transform(given)
    assert type(out).__module__.startswith("dask")
    found = out.compute()
    np.testing.assert_allclose(
        np.asarray(list(found) if kind == "bag" else found), fitted.transform(X), atol=1e-12
    )
    if kind == "array":
        assert out.shape == (900, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_comparisons_are_those_of_one_machine(kind):
    given = collections()[kind]
    names = ["mean_cosine", "isoscore", "effective_rank", "uniformity"]
    found, wanted = score(given, names), score(X, names)
    for name in names:
        assert found[name] == pytest.approx(wanted[name], rel=1e-10)
    correctors = {"centred": MeanRemoval(), "white": Whitening()}
    table, other = compare(given, correctors, names), compare(X, correctors, names)
    for column in ("raw", "centred", "white"):
        for name in names:
            assert table[column][name] == pytest.approx(other[column][name], rel=1e-8, abs=1e-10)


def test_weights_of_a_dask_array():
    weights = np.random.default_rng(0).integers(0, 4, 900).astype(float)
    given = da.from_array(X, chunks=(200, 12))
    wanted = Moments().update(X, weights)
    for form in (weights, da.from_array(weights, chunks=300)):
        found = Moments().update(given, form)
        np.testing.assert_allclose(found.scatter, wanted.scatter, rtol=1e-10)
    with pytest.raises(ValueError, match="shape"):
        Moments().update(given, weights[:5])


def test_what_is_wrong_is_said_with_its_partition():
    bad = X.copy()
    bad[620, 3] = np.nan
    with pytest.raises(ValueError, match=r"row 120 of partition 2 is the first bad one"):
        Whitening().fit(da.from_array(bad, chunks=(250, 12)))
    with pytest.raises(ValueError, match="2-D"):
        Whitening().fit(da.from_array(X[:, 0], chunks=250))
    with pytest.raises(ValueError, match="expecting 12 features"):
        Whitening().fit(X).transform(da.from_array(X[:, :5], chunks=(250, 5)))
    ragged = pytest.importorskip("dask.bag").from_sequence([[1.0, 2.0], [1.0]], npartitions=1)
    with pytest.raises(ValueError, match="several shapes"):
        Whitening().fit(ragged)
    text = pytest.importorskip("dask.bag").from_sequence(["[1.0 2.0]"], npartitions=1)
    with pytest.raises(ValueError, match="convert-string"):
        Whitening().fit(text)
    with pytest.raises(ValueError, match="columns"):
        Moments().update(X[:, :3]).update(da.from_array(X, chunks=(250, 12)))


def _slow(block, seconds):
    time.sleep(seconds)
    return block


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    made = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True)
    with made, Client(made) as client:
        yield client


def test_a_cluster_of_processes_survives_the_loss_of_a_worker(cluster):
    # Every block takes a while, so that work is under way on both workers when one is killed.
    given = da.from_array(X, chunks=(30, 12)).map_blocks(_slow, 0.1, dtype=X.dtype)
    processes = cluster.run(os.getpid)
    victim = next(iter(processes.values()))
    threading.Timer(0.7, os.kill, (victim, signal.SIGKILL)).start()
    fitted = Whitening().fit(given)
    assert fitted.moments_.n_rows == 900
    np.testing.assert_allclose(fitted.transform(X), Whitening().fit(X).transform(X), atol=1e-10)
    cluster.wait_for_workers(2, timeout=60)  # the nanny brings another
    assert victim not in cluster.run(os.getpid).values()


def test_files_are_opened_by_the_workers(cluster, tmp_path):
    from isotropy.jobs.dask import from_rows

    for i, part in enumerate(np.array_split(X, 5)):
        np.save(tmp_path / f"part-{i}.npy", part)
    given = from_rows(str(tmp_path), block_rows=200)
    assert given.chunks[0] == (200, 200, 200, 200, 100)
    np.testing.assert_array_equal(given.compute(), X)
    out = Whitening().fit(given).transform(given)
    np.testing.assert_allclose(out.compute(), Whitening().fit(X).transform(X), atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "zarr"])
def test_a_worker_killed_while_writing_leaves_each_row_once(cluster, tmp_path, kind):
    cluster.wait_for_workers(2, timeout=60)
    fitted = Whitening(n_components=7).fit(X)
    given = da.from_array(X, chunks=(30, 12)).map_blocks(_slow, 0.1, dtype=X.dtype)
    out, place = fitted.transform(given), str(tmp_path / "out")
    victim = next(iter(cluster.run(os.getpid).values()))
    killer = threading.Timer(0.7, os.kill, (victim, signal.SIGKILL))
    killer.start()
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        da.to_zarr(out, place)
        found = zarr.open_array(place, mode="r")[:]
    else:
        frame = pytest.importorskip("dask.dataframe")
        frame.from_dask_array(out, columns=[f"x{i}" for i in range(7)]).to_parquet(place)
        assert len(list(Path(place).glob("*.parquet"))) == 30  # named by partition
        found = frame.read_parquet(place).compute().to_numpy()
    killer.join()
    np.testing.assert_allclose(found, fitted.transform(X), atol=1e-12)
    assert victim not in cluster.run(os.getpid).values()
