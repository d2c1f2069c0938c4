"""Moments with labels: against a slow reference, in parts, in any order, from anywhere."""

import pickle

import numpy as np
import pytest
from cases import Blocks

from isotropy import CrossMoments, Moments

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 5)) * np.arange(1, 6) + 1000 * np.arange(5, 0, -1)
CLASSES = RNG.choice(np.array(["b", "a", "c", "rare"]), N, p=[0.5, 0.3, 0.19, 0.01])
YEARS = RNG.integers(2015, 2025, N)
W = np.where(CLASSES == "rare", 2.0, RNG.integers(0, 4, N))

LABELS = {
    "texts": (CLASSES, {}),
    "integers": (YEARS, {}),
    "booleans": (CLASSES == "b", {}),
    "numbers far from 0": (1e3 + 1e-3 * RNG.normal(size=N), {}),
    "whole numbers": (YEARS, {"concept": "numbers"}),
    "two concepts of classes": (np.column_stack([CLASSES, CLASSES == "a"]).astype(object), {}),
    "several numbers": (RNG.normal(size=(N, 3)) + 7, {}),
    "both": ({"source": CLASSES, "year": YEARS + 0.5}, {}),
    "a list of arrays": ([CLASSES, YEARS], {}),
}


def columns(z, concept="auto"):
    """One-hot columns and numbers, dense: the slow way."""
    if isinstance(z, dict):
        return np.column_stack([columns(part) for part in z.values()])
    if isinstance(z, list):
        return np.column_stack([columns(part) for part in z])
    if z.ndim == 2:
        return np.column_stack([columns(part) for part in z.T])
    if concept == "numbers" or z.dtype.kind == "f":
        return z[:, None].astype(np.longdouble)
    return np.column_stack([(z == label) for label in sorted(set(z.tolist()))]).astype(
        np.longdouble
    )


def reference(X, z, w, **options):
    Z, rows = columns(z, **options), X.astype(np.longdouble)
    means = (w @ rows / w.sum()), (w @ Z / w.sum())
    Y, V = rows - means[0], Z - means[1]
    return {
        "mean": means[0],
        "z_mean": means[1],
        "scatter": (Y * w[:, None]).T @ Y,
        "cross": (V * w[:, None]).T @ Y,
        "z_scatter": (V * w[:, None]).T @ V,
        "spread": (w[:, None] * Y**2).sum(),
    }


def same(found, wanted, scale=1e-11):
    for name, value in wanted.items():
        atol = scale * max(1e-300, float(np.abs(value).max()))
        np.testing.assert_allclose(
            np.asarray(getattr(found, name), float), value.astype(float), 0, atol, err_msg=name
        )


def part(z, rows):
    if isinstance(z, dict):
        return {name: column[rows] for name, column in z.items()}
    return [column[rows] for column in z] if isinstance(z, list) else z[rows]


@pytest.mark.parametrize("kind", LABELS)
def test_sums_are_those_of_the_slow_way_a_thousand_spreads_off(kind):
    z, options = LABELS[kind]
    wanted = reference(X, z, W, **options)
    found = CrossMoments(**options).update(X, W, z=z)
    same(found, wanted, 1e-9 if "far" in kind else 1e-11)
    np.testing.assert_allclose(found.scatter, Moments(order=2).update(X, W).scatter, rtol=1e-12)


@pytest.mark.parametrize("kind", LABELS)
def test_parts_add_up_in_any_order_also_where_they_hold_other_classes(kind):
    z, options = LABELS[kind]
    whole = CrossMoments(**options).update(X, W, z=z)
    order = np.argsort(CLASSES, kind="stable")  # pieces know one class or two
    pieces = [
        CrossMoments(**options).update(X[rows], W[rows], z=part(z, rows))
        for rows in np.array_split(order, 7)
    ]
    for way in (pieces, pieces[::-1]):
        found = sum(way)
        assert found.concepts == whole.concepts
        same(found, {n: getattr(whole, n) for n in ("mean", "z_mean", "cross", "z_scatter")}, 1e-9)


def test_blocks_weights_and_torch_are_rows_as_any_other():
    torch = pytest.importorskip("torch")
    wanted = CrossMoments().update(
        np.repeat(X, W.astype(int), 0), z=np.repeat(CLASSES, W.astype(int))
    )
    names = ("mean", "z_mean", "scatter", "cross", "z_scatter")
    for given in (X, Blocks(X), torch.from_numpy(X), np.asfortranarray(X)):
        found = CrossMoments().update(given, W, z=CLASSES)
        same(found, {name: getattr(wanted, name) for name in names}, 1e-11)
    sent = CrossMoments().update(X, W, z=CLASSES, device="cpu")
    same(sent, {name: getattr(wanted, name) for name in names}, 1e-9)


def test_unit_rows_take_the_place_of_rows():
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    found = CrossMoments(normalize=True).update(X, z=CLASSES)
    same(found, reference(unit, CLASSES, np.ones(N)), 1e-9)


def test_dask_sums_where_the_rows_lie():
    da = pytest.importorskip("dask.array")
    wanted = CrossMoments().update(X, W, z=CLASSES)
    given = da.from_array(X, chunks=(70, 5))
    found = CrossMoments().update(given, W, z=CLASSES)
    same(found, {name: getattr(wanted, name) for name in ("mean", "scatter", "cross")}, 1e-11)


def test_files_copies_and_pickles_hold_all_of_it(tmp_path):
    moments = CrossMoments().update(X, z={"source": CLASSES, "year": YEARS + 0.5})
    moments.save(tmp_path / "m")
    for twin in (CrossMoments.load(tmp_path / "m"), pickle.loads(pickle.dumps(moments))):
        twin.update(X[:3], z={"source": ["new", "a", "b"], "year": [1.0, 2.0, 3.0]})
        assert twin.concepts == {"source": ["a", "b", "c", "new", "rare"], "year": None}
        assert twin.n_rows == N + 3
    assert moments.concepts["source"] == ["a", "b", "c", "rare"]
    with pytest.raises(ValueError, match="holds a CrossMoments, not Moments"):
        Moments.load(tmp_path / "m")


def test_rows_without_a_label_are_left_out_and_counted():
    labels = CLASSES.astype(object)
    for row, missing in enumerate((None, np.nan, float("nan"))):
        labels[row] = missing
    found = CrossMoments().update(X, z=labels)
    assert (found.n_rows, found.n_unlabelled) == (N - 3, 3)
    same(found, reference(X[3:], CLASSES[3:], np.ones(N - 3)), 1e-11)
    none = CrossMoments().update(X, z=[None] * N)
    assert (none.n_rows, none.n_unlabelled) == (0, N)
    assert (none + found).n_unlabelled == N + 3


def test_classes_have_means_and_weights():
    found = CrossMoments(order=1).update(X, W, z=CLASSES)
    for label, mean, weight in zip(
        found.concepts["z"], found.means(), found.class_weights(), strict=True
    ):
        mine = label == CLASSES
        assert weight == W[mine].sum()
        np.testing.assert_allclose(mean, np.average(X[mine], axis=0, weights=W[mine]), rtol=1e-13)
    assert found.scatter is None and found.z_scatter is None


@pytest.mark.parametrize(
    ("z", "told"),
    [
        (None, "z is missing"),
        (CLASSES[:-1], "300 rows, but labels of shape"),
        ([object()] * N, "row 0 is object"),
        (np.full(N, np.inf), "row 0 is infinite"),
        (np.zeros((N, 2, 2)), "shape"),
        (np.zeros(N, "M8[D]"), "datetime"),
        ({}, "no concept"),
        (YEARS + 0.5, "other concepts do not add up: z: classes and z: numbers"),
        ({"other": CLASSES}, "other concepts"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_changes(z, told):
    moments = CrossMoments().update(X, z=CLASSES)
    before = moments.pack()
    with pytest.raises(ValueError, match=told) as caught:
        moments.update(X, z=z)
    assert "\n" not in str(caught.value)
    after = moments.pack()
    assert after[0] == before[0]
    assert all(np.array_equal(after[1][name], array) for name, array in before[1].items())
    bad = X.copy()
    bad[7] = np.nan
    with pytest.raises(ValueError, match="row 7"):
        moments.update(bad, z=np.repeat("new", N))
    assert moments.pack()[0] == before[0]


def test_a_class_without_weight_is_no_class():
    found = CrossMoments().update(X, CLASSES == "b", z=CLASSES)
    assert found.concepts == {"z": ["b"]}
    assert found.cross.shape == (1, 5)


def test_moments_with_and_without_labels_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        CrossMoments(unit="none", order=2).update(X, z=CLASSES) + Moments(
            unit="none", order=2
        ).update(X)


def test_no_dense_matrix_of_classes_is_built():
    import tracemalloc

    n, k = 200_000, 2000
    rows, z = np.ones((n, 2), np.float32), np.arange(n) % k
    tracemalloc.start()
    CrossMoments(order=1).update(rows, z=z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * k / 8  # bits of a dense one-hot matrix
