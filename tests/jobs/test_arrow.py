"""Moments and maps of Arrow batches equal those of one array; Spark and Ray where they are."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pytest

from isotropy import MeanRemoval, Moments, Whitening
from isotropy.affine import AffineMap

pa = pytest.importorskip("pyarrow")
from isotropy.jobs.arrow import BatchCorrection, BatchMoments, merged, packed, unpacked  # noqa: E402

X = np.random.default_rng(0).normal(size=(300, 6)) * np.arange(1, 7) + 40
W = np.random.default_rng(1).integers(0, 4, 300).astype(float)
NAMES = ("mean", "scatter", "third", "unit_sum", "unit_square_sum")


def vectors(X, kind):
    flat = pa.array(X.ravel())
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, X.shape[1])
    ends = np.arange(len(X) + 1) * X.shape[1]
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)


def batches(kind="list", cuts=(70, 71, 200), X=X):
    table = pa.table({"id": np.arange(len(X)), "v": vectors(X, kind), "w": W[: len(X)]})
    whole = table.combine_chunks().to_batches()[0]
    edges = [0, *cuts, len(X)]
    return [whole.slice(a, b - a) for a, b in pairwise(edges)]


def same(found, wanted, rtol=1e-12):
    assert found.n_rows == wanted.n_rows
    for name in NAMES:
        one, other = getattr(found, name), getattr(wanted, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
def test_moments_of_batches_are_those_of_one_array(kind):
    parts = batches(kind)
    step = BatchMoments("v")
    by_partition = [*step(iter(parts[:2])), *step(iter(parts[2:])), *step(iter([]))]
    for given in (by_partition, pa.Table.from_batches(by_partition)):
        same(merged(given), Moments().update(X))
    tables = [step(pa.Table.from_batches([part])) for part in parts]
    assert all(isinstance(table, pa.Table) for table in tables)
    same(merged(row for table in tables for row in table.to_pylist()), Moments().update(X))


def test_weights_and_options_go_along():
    step = BatchMoments("v", weights="w", unit="gram", normalize=True)
    wanted = Moments(unit="gram", normalize=True).update(X, W)
    found = merged(step(iter(batches())))
    same(found, wanted)
    np.testing.assert_allclose(found.unit_gram, wanted.unit_gram, rtol=1e-12)


@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_corrected_batches_are_those_of_the_corrector(kind, dtype):
    rows = X.astype(dtype)
    corrector = Whitening(n_components=4).fit(X)
    for given in (corrector, corrector.affine_map_):
        wanted = given.apply(rows) if isinstance(given, AffineMap) else given.transform(rows)
        out = pa.Table.from_batches(BatchCorrection(given, "v", "y")(iter(batches(kind, X=rows))))
        assert out.column_names == ["id", "v", "w", "y"]
        found = np.array(out["y"].to_pylist())
        np.testing.assert_allclose(found, wanted, atol=1e-12 if dtype is np.float64 else 1e-5)


def test_nulls_stay_null_and_a_column_is_replaced_only_by_its_name():
    corrector = MeanRemoval().fit(X[:, :2])
    table = pa.table({"v": [None, [1.0, 2.0], None], "other": [1, 2, 3]})
    found = BatchCorrection(corrector, "v", "v")(table)
    assert found.column_names == ["v", "other"]
    assert [row is None for row in found["v"].to_pylist()] == [True, False, True]
    empty = BatchCorrection(corrector, "v", "y")(table.slice(0, 1))
    assert empty["y"].to_pylist() == [None]
    with pytest.raises(ValueError, match="'other' already"):
        BatchCorrection(corrector, "v", "other")(table)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="there are: id, v, w"):
        list(BatchMoments("x")(iter(batches())))
    bad = X.copy()
    bad[205, 1] = np.nan
    with pytest.raises(ValueError, match="row 205"):
        list(BatchMoments("v")(iter(batches(X=bad))))
    with pytest.raises(ValueError, match="unit must be"):
        BatchMoments("v", unit="all")
    with pytest.raises(ValueError, match="no moments"):
        merged([b"12345678901234567890"])
    with pytest.raises(ValueError, match="no partition"):
        merged([])
    data = packed(Moments().update(X))
    with pytest.raises(ValueError):
        unpacked(data[:-100])


def frames():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    table = pa.Table.from_batches(batches())
    return {
        "record batch": table.combine_chunks().to_batches()[0],
        "table": table,
        "pandas": pandas.DataFrame({"v": list(X), "w": W}),
        "polars": polars.from_arrow(table),
    }


@pytest.mark.parametrize("kind", ["record batch", "table", "pandas", "polars"])
def test_tables_bring_rows_and_weights_by_name(kind):
    given = frames()[kind]
    same(Moments().update(given, column="v"), Moments().update(X))
    same(Moments().update(given, "w", column="v"), Moments().update(X, W))
    with pytest.raises(ValueError, match="no column 'x'"):
        Moments().update(given, column="x")
    with pytest.raises(TypeError, match="no columns by name"):
        Moments().update(X, column="v")


def test_a_list_of_moments_has_a_sum():
    parts = [Moments().update(part) for part in np.array_split(X, 7)]
    same(sum(parts), Moments().update(X))
    before = parts[0].n_rows
    assert sum(parts[:1]).update(X).n_rows != before == parts[0].n_rows


def _runs(script, *modules):
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed: make test-clusters")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "equal" in done.stdout


RESULT = """
wanted = Whitening().fit(X)
assert fitted.moments_.n_rows == len(X)
scale = np.abs(wanted.moments_.scatter).max()
assert np.abs(fitted.moments_.scatter - wanted.moments_.scatter).max() <= 1e-12 * scale
assert np.abs(found - fitted.transform(X)).max() <= 1e-12
print("equal")
"""


@pytest.mark.slow
def test_spark_gives_what_one_machine_gives():
    _runs(
        textwrap.dedent(
            """
            import numpy as np
            from pyspark.sql import SparkSession
            from isotropy import Whitening
            from isotropy.jobs.arrow import BatchCorrection, BatchMoments, merged

            X = np.random.default_rng(0).normal(size=(500, 6)) * np.arange(1, 7) + 4
            spark = (
                SparkSession.builder.master("local[2]")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.bindAddress", "127.0.0.1")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.sql.execution.arrow.maxRecordsPerBatch", 60)
                .getOrCreate()
            )
            rows = [(i, [float(x) for x in row]) for i, row in enumerate(X)]
            frame = spark.createDataFrame(rows, "id long, v array<double>").repartition(3)
            parts = frame.mapInArrow(BatchMoments("v"), "moments binary").collect()
            fitted = Whitening().fit_moments(merged(parts))
            schema = "id long, v array<double>, y array<double>"
            out = frame.mapInArrow(BatchCorrection(fitted, "v", "y"), schema).orderBy("id")
            found = np.array([row["y"] for row in out.collect()])
            spark.stop()
            """
        )
        + RESULT,
        "pyspark",
    )


@pytest.mark.slow
def test_ray_data_gives_what_one_machine_gives():
    _runs(
        textwrap.dedent(
            """
            import numpy as np
            import pyarrow as pa
            import ray
            from isotropy import Whitening
            from isotropy.jobs.arrow import BatchCorrection, BatchMoments, merged

            X = np.random.default_rng(0).normal(size=(500, 6)) * np.arange(1, 7) + 4
            ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1")
            table = pa.table({"id": np.arange(500), "v": [row.tolist() for row in X]})
            dataset = ray.data.from_arrow(table).repartition(3)
            how = {"batch_format": "pyarrow", "batch_size": 60}
            parts = dataset.map_batches(BatchMoments("v"), **how).take_all()
            fitted = Whitening().fit_moments(merged(parts))
            out = dataset.map_batches(BatchCorrection(fitted, "v", "y"), **how).take_all()
            found = np.array([row["y"] for row in sorted(out, key=lambda row: row["id"])])
            ray.shutdown()
            """
        )
        + RESULT,
        "ray.data",
    )
