"""What is loaded does what was saved; a refit forgets; a refusal and a fit leave the rest alone."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from cases import CORRECTORS, LEARNERS, Blocks, bent, fitted, learn_on
from sklearn.base import clone

import isotropy
from isotropy import AffineMap, ClusterRemoval, HubnessBias, Moments, RandomRotation
from isotropy.rows import Rows
from isotropy.storage.state import load_state, save_state
from isotropy.tables import CORRECTORS as TABLE

pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning"),
]

X = bent()
Q = np.random.default_rng(1).normal(size=(40, 8)) - 3


def test_every_corrector_of_the_table_meets_the_contracts():
    known = {name for name, found in TABLE.items() if found.__name__ != "FlowGaussianizer"}
    assert {TABLE.name_of(type(corrector)) for corrector in CORRECTORS + LEARNERS} >= known


def test_a_changed_mean_is_refused(tmp_path):
    info, arrays = load_state(saved(isotropy.MeanRemoval().fit(X, queries=Q), tmp_path / "c"))
    kind = info.pop("class")
    for name in ("fitted.mean_", "fitted.query_mean_"):
        for bad in (arrays[name][:3], arrays[name] * np.nan):
            save_state(tmp_path / "bad", kind, info, {**arrays, name: bad})
            with pytest.raises(ValueError, match="does not fit"):
                isotropy.load(tmp_path / "bad")


def arrays_of(thing, name=""):
    """Every array that a fitted object holds, by the way to it."""
    if isinstance(thing, np.ndarray):
        return {name: thing}
    if isinstance(thing, AffineMap):
        thing = thing.arrays()
    elif isinstance(thing, Moments):
        thing = thing.pack()[1]
    elif hasattr(thing, "arrays"):  # a flow
        thing = thing.arrays()
    elif isinstance(thing, list):
        thing = dict(enumerate(thing))
    elif name == "":
        thing = {key: value for key, value in vars(thing).items() if key.endswith("_")}
    if not isinstance(thing, dict):
        return {}
    found = {}
    for key, value in thing.items():
        found |= arrays_of(value, f"{name}.{key}")
    return found


def state_of(corrector):
    """All that it holds, to be compared: numbers to the bit."""
    arrays = {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays_of(corrector).items()}
    plain = {
        name: repr(value)
        for name, value in vars(corrector).items()
        if isinstance(value, int | float | str | bool | None)
    }
    # Wall-clock seconds of training are no result.
    return {**arrays, **plain, "has": set(vars(corrector)), "params": repr(corrector.get_params())}


def every_method(corrector):
    """What each method that takes rows gives."""
    Y = corrector.transform(X)
    given = {"transform": Y, "transform_queries": corrector.transform_queries(Q)}
    given["for_queries"] = corrector.for_queries(Q[:20] + 1).transform(Q)
    if hasattr(corrector, "inverse_transform") and getattr(corrector, "normalize", "") in (
        "none",
        "",
    ):
        given["inverse_transform"] = corrector.inverse_transform(Y)
    for name in ("score_samples", "predict", "bias"):
        if hasattr(corrector, name):
            given[name] = getattr(corrector, name)(X)
    given["names"] = np.asarray(corrector.get_feature_names_out(), str)
    return given


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(b[name], value, err_msg=name)


def saved(corrector, path):
    extra = {} if isinstance(corrector, ClusterRemoval | HubnessBias) else {"moments": True}
    corrector.save(path, **extra)
    return path


def test_memory_has_one_order_in_what_is_fitted_loaded_copied_and_unpickled(
    any_corrector, tmp_path
):
    """The same layout by construction: so the same code runs, and the same bits come out."""
    found = fitted(any_corrector, np.asfortranarray(X), queries=np.asfortranarray(Q))
    others = {
        "loaded": isotropy.load(saved(found, tmp_path / "c")),
        "unpickled": pickle.loads(pickle.dumps(found)),
        "copied": copy.deepcopy(found),
        "refitted": fitted(clone(found), np.asfortranarray(X), queries=np.asfortranarray(Q)),
    }
    assert not getattr(found, "falls_back_", False)  # there is more than a whitening
    wanted = arrays_of(found)
    assert wanted
    for how, other in others.items():
        given = arrays_of(other)
        assert given.keys() == wanted.keys(), how
        for name, array in wanted.items():
            twin = given[name]
            assert array.flags.c_contiguous and twin.flags.c_contiguous, (how, name)
            assert (twin.dtype, twin.shape) == (array.dtype, array.shape), (how, name)
            assert twin.strides == array.strides or not array.size, (how, name)
            assert twin.tobytes() == array.tobytes(), (how, name)


def test_what_is_loaded_does_what_was_saved_in_every_method(any_corrector, tmp_path):
    found = fitted(any_corrector, X, queries=Q)
    path = saved(found, tmp_path / "c")
    loaded = isotropy.load(path)
    assert type(loaded) is type(found) and repr(loaded) == repr(found)
    assert_same(every_method(found), every_method(loaded))
    again = load_state(saved(loaded, tmp_path / "again"))
    first = load_state(path)
    assert again[0] == first[0]
    assert_same(first[1], again[1])
    if hasattr(found, "partial_fit"):
        learn_on(found, X[:50] + 1)
        learn_on(loaded, X[:50] + 1)
        assert_same(every_method(found), every_method(loaded))


def test_a_refit_forgets_all_that_was_learned_before(any_corrector):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdefgh"))
    narrow = X[:, :6] + 1
    fresh = fitted(clone(any_corrector), narrow)
    assert hasattr(fitted(any_corrector, frame, queries=frame[:30] - 5), "feature_names_in_")
    again = fitted(any_corrector, narrow)
    assert state_of(again) == state_of(fresh)
    # Rows of a file have no names either.
    named = fitted(clone(any_corrector), frame[list("abcdef")])
    assert not hasattr(fitted(named, Blocks(narrow)), "feature_names_in_")


def test_a_refusal_changes_nothing(any_corrector):
    found = fitted(any_corrector, X, queries=Q)
    before = state_of(found)
    bad = X.copy()
    bad[7, 3] = np.nan
    for rows, more in ((bad, {}), (X[:0], {}), (X[0], {}), (X + 1, {"queries": Q[:, :5]})):
        with pytest.raises(ValueError):
            fitted(found, rows, **more)
        assert state_of(found) == before
    with pytest.raises(ValueError):
        fitted(found, X, sample_weight=-np.ones(len(X)))
    assert state_of(found) == before
    if hasattr(found, "partial_fit"):
        for rows in (bad, X[:, :5]):
            with pytest.raises(ValueError):
                learn_on(found, rows)
            assert state_of(found) == before
    for call in (found.transform, found.transform_queries, found.for_queries):
        with pytest.raises(ValueError):
            call(X[:, :5])
        assert state_of(found) == before


def test_what_is_the_users_stays_as_it_was(any_corrector):
    rows, asked = X.copy(), Q.copy()
    params = repr(any_corrector.get_params())
    filters, errors = list(warnings.filters), np.geterr()
    drawn = np.random.get_state()[1].tobytes()  # noqa: NPY002
    found = fitted(any_corrector, rows, queries=asked)
    every_method(found)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(asked, Q)
    assert repr(found.get_params()) == params
    assert (list(warnings.filters), np.geterr()) == (filters, errors)
    assert np.random.get_state()[1].tobytes() == drawn  # noqa: NPY002
    # What was learned does not hang on the user's arrays.
    before = every_method(found)
    rows += 1
    asked += 1
    assert_same(before, every_method(found))


def test_rows_of_files_are_learned_from_and_corrected_where_they_are(any_corrector):
    """`transform` of rows that come in blocks gives such rows, corrected as they are read."""
    wanted = fitted(clone(any_corrector), X)
    found = fitted(any_corrector, Blocks(X))
    lazily = found.transform(Blocks(X))
    assert isinstance(lazily, Rows)
    assert lazily.shape == wanted.transform(X).shape
    whole = lazily.in_memory()
    tolerance = 1e-6 if isinstance(found, HubnessBias) else 1e-8  # its bank is of float32
    np.testing.assert_allclose(whole, wanted.transform(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n_components", [None, 3])
def test_a_random_rotation_stays_when_rows_come_later(n_components, tmp_path):
    rows = X @ np.linalg.qr(X[:8])[0]
    found = RandomRotation(n_components, random_state=None).fit(rows)
    first = found.affine_map_.matrix
    found.save(tmp_path / "r", moments=True)
    loaded = isotropy.load(tmp_path / "r")
    for later in (found, loaded):
        later.partial_fit(rows)
        np.testing.assert_allclose(later.affine_map_.matrix, first, atol=1e-9)
    assert np.abs(found.fit(rows).affine_map_.matrix - first).max() > 1e-3
