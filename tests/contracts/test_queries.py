"""Queries have a mean of their own: every corrector brings it to where the documents' mean goes."""

import numpy as np
import pytest
from cases import TOLERANCE, fitted

import isotropy
from isotropy import (
    AffineMap,
    AutoCorrector,
    ComponentRemoval,
    ConceptorNegation,
    HubnessBias,
    MeanRemoval,
    Moments,
    Whitening,
)
from isotropy.correctors.base import AffineCorrector

pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.gaussianize.base.FallbackWarning"),
]


def documents(n=160, d=8):
    return np.random.default_rng(0).normal(size=(n, d)) * np.arange(1, d + 1) + 6


def questions(n=70, d=8):
    return np.random.default_rng(1).normal(size=(n, d)) * np.arange(d, 0, -1) - 4 * np.ones(d)


def unit(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


def on_unit_rows(corrector):
    return getattr(corrector, "normalize", "none") in ("before", "both")


def mapped(corrector, row):
    """Where the map, without the scaling of rows before it, takes a row."""
    if isinstance(corrector, AffineCorrector):
        return corrector.affine_map_.apply(row[None])[0]
    return corrector.transform(row[None])[0]


def is_linear(corrector):
    """Whether it removes nothing of the mean, and so treats queries as rows."""
    return isinstance(corrector, HubnessBias) or not (
        getattr(corrector, "center", True)
        and getattr(corrector, "strength", 1)
        and getattr(corrector, "mean_strength", 1)
        and getattr(corrector, "chosen_", "") != "none"
    )


def test_the_mean_of_the_queries_lands_where_the_documents_mean_does(any_corrector):
    X, Q = documents(), questions()
    found = fitted(any_corrector, X, queries=Q)
    rows, asked = (unit(X), unit(Q)) if on_unit_rows(found) else (X, Q)
    if is_linear(found):
        np.testing.assert_array_equal(
            found.transform_queries(Q)[:, :8], found.transform(Q)[:, : found.n_features_in_]
        )
        return
    wanted = mapped(found, rows.mean(0))
    np.testing.assert_allclose(mapped(found.for_queries(), asked.mean(0)), wanted, atol=1e-9)
    np.testing.assert_allclose(found.query_mean_, asked.mean(0), atol=1e-12)


@pytest.mark.parametrize("normalize", ["none", "before"])
def test_the_mean_of_few_queries_is_nearer_to_the_truth_than_their_own(normalize):
    """Drawn towards the documents by chance's share, which differs where the means do."""
    draw = np.random.default_rng(0)
    found = MeanRemoval(normalize=normalize).fit(documents(d=12))
    for shift, few in ((0.1, 3), (0.5, 10), (4.0, 3)):
        own, drawn = [], []
        asked = draw.normal(size=(4000, 12)) * np.arange(1, 13) + 6 + 4 * shift
        truth = (unit(asked) if normalize == "before" else asked).mean(0)
        for Q in asked[: 40 * few].reshape(40, few, 12):
            seen = unit(Q) if normalize == "before" else Q
            own.append(((seen.mean(0) - truth) ** 2).sum())
            drawn.append(((found.for_queries(Q).mean_ - truth) ** 2).sum())
        assert np.mean(drawn) < np.mean(own), (shift, few)


def test_one_query_has_the_mean_of_the_documents(corrector):
    X, Q = documents(), questions()
    found = corrector.fit(X, queries=Q[:1])
    np.testing.assert_allclose(found.transform_queries(Q), found.transform(Q), atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_moments_of_few_queries_are_drawn_as_the_rows_are(order):
    X, Q = documents(), questions(3) / 4 + 5
    wanted = Whitening().fit(X, queries=Q)
    assert np.abs(wanted.query_mean_ - Q.mean(0)).max() > 0.1
    moments = Moments(order=order).update(Q)
    found = Whitening().fit(X, queries=moments)
    np.testing.assert_allclose(found.query_mean_, wanted.query_mean_, atol=1e-9)


@pytest.mark.parametrize("strength", [1e-3, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("normalize", ["none", "before"])
@pytest.mark.parametrize("make", [MeanRemoval, Whitening], ids=["MeanRemoval", "Whitening"])
def test_means_meet_at_any_strength(make, strength, normalize):
    name = "strength" if make is MeanRemoval else "mean_strength"
    X, Q = documents(), questions()
    found = make(**{name: strength}, normalize=normalize).fit(X, queries=Q)
    np.testing.assert_allclose(
        found.transform_queries(Q).mean(0), found.transform(X).mean(0), atol=1e-12 * 1e3
    )


@pytest.mark.parametrize(
    "linear",
    [
        MeanRemoval(0.0),
        Whitening(mean_strength=0.0),
        ComponentRemoval(2, center=False),
        ConceptorNegation(),
    ],
    ids=str,
)
def test_a_linear_map_treats_queries_as_rows(linear):
    Q = questions()
    found = linear.fit(documents(), queries=Q)
    np.testing.assert_array_equal(found.transform_queries(Q), found.transform(Q))


def test_documents_whose_mean_is_zero_have_queries_about_theirs(any_corrector):
    half = documents(80)
    X, Q = np.concatenate([half, -half]), questions()
    found = fitted(any_corrector, X, queries=Q)
    if is_linear(found) or on_unit_rows(found):
        pytest.skip("removes nothing of the mean" if is_linear(found) else "of unit rows")
    wanted = mapped(found, np.zeros(8))
    np.testing.assert_allclose(mapped(found.for_queries(), Q.mean(0)), wanted, atol=1e-9)


def test_the_same_text_as_document_and_query_finds_itself(any_corrector):
    if getattr(any_corrector, "metric", "cosine") == "inner":
        pytest.skip("the largest inner product is not with oneself")
    X = documents(60)
    found = fitted(any_corrector, X, queries=X)
    Y, Z = unit(found.transform(X)), found.transform_queries(X)
    assert ((Z @ Y.T).argmax(1) == np.arange(60)).all()


def test_files_keep_the_queries_and_a_refit_forgets_them(any_corrector, tmp_path):
    X, Q = documents(), questions()
    found = fitted(any_corrector, X, queries=Q)
    wanted = found.transform_queries(Q)
    found.save(tmp_path / "all")
    loaded = isotropy.load(tmp_path / "all")
    np.testing.assert_array_equal(loaded.transform_queries(Q), wanted)
    found.for_queries().save(tmp_path / "side")
    side = isotropy.load(tmp_path / "side")
    np.testing.assert_array_equal(side.transform(Q), wanted)
    np.testing.assert_array_equal(side.transform_queries(Q), wanted)
    if isinstance(found, HubnessBias):
        return
    fitted(found, X)
    assert not hasattr(found, "query_mean_")
    np.testing.assert_array_equal(found.transform_queries(Q), found.transform(Q))


def test_later_rows_keep_the_queries(corrector):
    X, Q = documents(), questions()
    found = corrector.fit(X, queries=Q)
    found.partial_fit(X + 1)
    rows, asked = (unit(Q) if on_unit_rows(found) else Q).mean(0), found.query_mean_
    np.testing.assert_allclose(asked, rows, atol=1e-12)
    if not is_linear(found):
        there = mapped(found.for_queries(), asked)
        np.testing.assert_allclose(there, mapped(found, found.mean_), atol=1e-9)


def test_moments_of_queries_do_as_the_rows_do(any_corrector):
    X, Q = documents(), questions()
    if isinstance(any_corrector, HubnessBias):
        pytest.skip("keeps the queries themselves")
    wanted = fitted(any_corrector, X, queries=Q).transform_queries(Q)
    unit_rows = on_unit_rows(any_corrector)
    moments = Moments.from_rows(Q, normalize=unit_rows)
    found = fitted(any_corrector, X, queries=moments)
    np.testing.assert_allclose(found.transform_queries(Q), wanted, atol=1e-9)
    if isinstance(any_corrector, AutoCorrector):
        return  # it chooses otherwise where it knows of no queries
    later = fitted(any_corrector, X)
    np.testing.assert_allclose(later.for_queries(moments).transform(Q), wanted, atol=1e-9)
    np.testing.assert_allclose(later.for_queries(Q).transform(Q), wanted, atol=1e-9)
    with pytest.raises(ValueError, match="normalize"):
        later.for_queries(Moments.from_rows(Q, normalize=not unit_rows))


def test_the_map_of_queries_turns_to_others_in_the_same_space(corrector):
    X, Q = documents(), questions()
    found = corrector.fit(X)
    twice = found.for_queries(X + 3).for_queries(Q)
    np.testing.assert_allclose(twice.transform(Q), found.for_queries(Q).transform(Q), atol=1e-8)


def test_queries_that_do_not_fit_are_refused_and_nothing_changes(any_corrector):
    X, Q = documents(), questions()
    found = fitted(any_corrector, X, queries=Q)
    wanted = found.transform_queries(Q)
    for bad, said in (
        (Q[:, :3], "features|columns"),
        (np.full((2, 8), np.nan), "row 0"),
        (Q[:0], "0 sample"),
    ):
        with pytest.raises(ValueError, match=said):
            fitted(found, X + 1, queries=bad)
        if not isinstance(found, HubnessBias):
            with pytest.raises(ValueError, match=said):
                found.for_queries(bad)
    np.testing.assert_array_equal(found.transform_queries(Q), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_queries_in_their_own_type(any_corrector, dtype):
    torch = pytest.importorskip("torch")
    X, Q = documents().astype(dtype), questions().astype(dtype)
    found = fitted(any_corrector, X, queries=torch.from_numpy(Q))
    wanted = found.transform_queries(Q)
    Y = found.transform_queries(torch.from_numpy(Q))
    assert isinstance(Y, torch.Tensor) and str(Y.dtype) == f"torch.{dtype}"
    assert wanted.dtype == dtype
    np.testing.assert_allclose(Y.numpy(), wanted, atol=TOLERANCE[dtype] * np.abs(wanted).max())


def test_the_way_back_of_queries(corrector):
    X, Q = documents(), questions()
    twin = corrector.fit(X, queries=Q).for_queries()
    if corrector.normalize != "none":
        pytest.skip("there is none")
    Y = twin.transform(Q)
    back = twin.inverse_transform(Y)
    np.testing.assert_allclose(twin.transform(back), Y, atol=1e-8)
    if np.linalg.matrix_rank(twin.affine_map_.matrix, tol=1e-9) == 8:
        np.testing.assert_allclose(back, Q, atol=1e-8)


def test_the_corrector_of_queries_learns_nothing_more(corrector):
    twin = corrector.fit(documents(), queries=questions()).for_queries()
    with pytest.raises(ValueError, match="for_queries"):
        twin.partial_fit(questions())


# -- the map -----------------------------------------------------------------------------------


def maps():
    rng = np.random.default_rng(0)
    A, m, b, u = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5), np.eye(5)[:, :1]
    return {
        "shift": AffineMap(m),
        "matrix": AffineMap(m, A),
        "offset too": AffineMap(m, A, b),
        "the shift in the offset": AffineMap(np.zeros(5), A, b),
        "the shift in the offset, fewer columns": AffineMap(np.zeros(5), A[:, :3], b[:3]),
        "removed": AffineMap(m, removed=(u, u.T)),
        "inverse": AffineMap(m, A, inverse=np.linalg.inv(A)),
    }


@pytest.mark.parametrize("name", maps())
def test_a_map_about_another_mean_takes_it_where_the_other_went(name):
    affine, rng = maps()[name], np.random.default_rng(1)
    of, q, X = rng.normal(size=5), 1e3 * rng.normal(size=5), rng.normal(size=(6, 5))
    moved = affine.about(q, of=of)
    np.testing.assert_allclose(moved.apply(X), affine.apply(X - q + of), atol=1e-9)
    np.testing.assert_allclose(moved.apply(q[None]), affine.apply(of[None]), atol=1e-12)
    np.testing.assert_allclose(
        moved.inverse().apply(moved.apply(X)),
        X
        if moved.n_features_out == 5 and name != "removed"
        else moved.inverse().apply(moved.apply(X)),
        atol=1e-8,
    )
    placed = {"mean", "offset", "center"}
    assert moved.arrays().keys() - placed == affine.arrays().keys() - placed
    for bad in (q[:3], q * np.nan, q[None]):
        with pytest.raises(ValueError, match="mean"):
            affine.about(bad)
        with pytest.raises(ValueError, match="of"):
            affine.about(q, of=bad)


@pytest.mark.parametrize("name", [n for n in maps() if "offset" in n and "too" not in n])
def test_a_shift_in_the_offset_is_found(name):
    """Without being told, the mean is the row that the map takes to zero."""
    affine, q = maps()[name], np.arange(5.0)
    np.testing.assert_allclose(affine.about(q).apply(q[None]), 0, atol=1e-12)


def test_a_linear_map_stays_as_it_is():
    affine = AffineMap(np.zeros(3), np.eye(3)[:, :2])
    assert affine.about(np.ones(3)) is affine


@pytest.mark.parametrize("d", [8, 384])
def test_the_way_back_brings_no_rounding_of_what_was_removed(d):
    """Whatever the kernel leaves of a removed direction, its inverse must not blow it up."""
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.normal(size=(d, 3)))[0]
    residue = 4 * d * np.finfo(float).eps * np.outer(U[:, 0], U[:, 0])  # as a kernel may leave
    for affine in (
        AffineMap(rng.normal(size=d), removed=(U, U.T)),
        AffineMap(rng.normal(size=d), np.eye(d) - U @ U.T + residue),
    ):
        assert np.linalg.norm(affine.inverse().matrix, 2) < 1 + 1e-9
