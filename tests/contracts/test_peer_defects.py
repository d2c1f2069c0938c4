"""Defects read in peers' code, one test each: we do not have them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA

from isotropy import ComponentRemoval, MeanRemoval, Moments, Whitening, score
from isotropy.metrics import isoscore, isoscore_star, mean_cosine, partition_isotropy


def rows_at(mean_cosine, n=6000, d=256, unit=False):
    """float32 rows of eigenvalues over 1e4 in a random basis, with that mean cosine."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    scales = np.logspace(0, -2, d)
    X = rng.normal(size=(n, d)) * scales @ basis
    direction = rng.normal(size=d)
    length = np.sqrt(mean_cosine / (1 - mean_cosine) * (scales**2).sum())
    X += length * direction / np.linalg.norm(direction)
    if unit:
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X.astype(np.float32)


def off(Y):
    return np.abs(np.cov(Y.astype(np.float64).T) - np.eye(Y.shape[1])).max()


@pytest.mark.parametrize("unit", [False, True], ids=["raw", "unit"])
@pytest.mark.parametrize("cosine", [0.5, 0.74, 0.9, 0.96, 0.99])
@pytest.mark.parametrize("path", ["small", "large"])
def test_float32_rows_of_a_narrow_cone_are_whitened(cosine, unit, path, request):
    """scikit-learn's default and faiss form X'X - n m m' in float32."""
    if path == "large":
        request.getfixturevalue("large_job")
    X = rows_at(cosine, unit=unit)
    assert off(Whitening().fit_transform(X)) < 1e-4
    if cosine == 0.99:
        assert off(PCA(whiten=True).fit_transform(X)) > 1


def test_fewer_rows_than_columns_do_not_divide_by_zero():
    """bojone, autoliuweijie: 1 / sqrt(s) without a floor."""
    X = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    with pytest.warns(UserWarning, match="19 of 50"):
        Y = Whitening().fit_transform(X)
    assert np.isfinite(Y).all()
    assert np.abs(Y).max() < 10


def test_a_rank_deficient_direction_is_not_blown_up():
    """scikit-learn floors at eps of the scale: values up to 1e7 in float32."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 8))).astype(np.float32)
    with pytest.warns(UserWarning, match="4 of 8"):
        whitening = Whitening().fit(X)
    other = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 8))).astype(np.float32)
    assert np.abs(whitening.transform(other)).max() < 1e3


def test_zero_rows_stay_zero_when_rows_get_length_one():
    """autoliuweijie: no guard."""
    X = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    Y = MeanRemoval(0, normalize="both").fit_transform(X)
    np.testing.assert_allclose(Y, [[0, 0], [0.6, 0.8], [1, 0]])


def test_whitened_variance_is_one_and_not_one_over_n():
    """WhiteningBERT and faiss keep the scatter: variance 1 / n."""
    X = np.random.default_rng(0).normal(size=(500, 4)) * 7
    np.testing.assert_allclose(Whitening().fit_transform(X).var(0, ddof=1), 1)


def test_nothing_is_learnt_when_rows_are_corrected():
    """WhiteningBERT fits on the test pairs; SIF and uSIF recompute their direction each call."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)) + 3
    for corrector in (ComponentRemoval(1, center=False), Whitening()):
        fitted = corrector.fit(X)
        alone = fitted.transform(X[:1])
        np.testing.assert_allclose(fitted.transform(X)[:1], alone, atol=1e-12)


def test_no_row_is_left_out_of_a_fit():
    """faiss takes 1000 rows a dimension, and does not say so."""
    X = np.zeros((5000, 2))
    X[-1] = [1e6, -1e6]
    assert Moments.from_rows(X).n_rows == 5000
    np.testing.assert_allclose(MeanRemoval().fit(X).mean_, [200, -200])


def test_parameters_belong_to_the_constructor():
    """remolek/whitening takes the method in fit, so clone and grids lose it."""
    assert clone(Whitening("zca-cor", power=0.5)).get_params()["method"] == "zca-cor"


def test_a_whitened_inverse_is_the_inverse():
    """scikit-learn#3107, torch_pca#18."""
    X = np.random.default_rng(0).normal(size=(60, 4)) * [1, 5, 9, 2] + 7
    for method in ("pca", "zca", "cholesky", "pca-cor", "zca-cor"):
        whitening = Whitening(method, power=0.7).fit(X)
        back = whitening.inverse_transform(whitening.transform(X))
        np.testing.assert_allclose(back, X, atol=1e-10)


def test_the_callers_array_is_not_written_to():
    """txtai removes components in place."""
    X = np.random.default_rng(0).normal(size=(50, 4))
    before = X.copy()
    for corrector in (ComponentRemoval(1), Whitening(normalize="both"), MeanRemoval()):
        corrector.fit_transform(X)
    score(X)
    np.testing.assert_array_equal(X, before)


def test_weights_need_not_sum_to_one():
    """zipfian-whitening: p must sum to 1 over exactly the kept rows."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(50, 4)), rng.random(50)
    a, b = (
        Whitening("zca", weight_type="probability").fit(X, sample_weight=s * w).transform(X)
        for s in (1, 37)
    )
    np.testing.assert_allclose(a, b, atol=1e-10)


def test_the_partition_function_does_not_depend_on_signs_or_the_layout_of_eigenvectors():
    """IsoScore's I(W) takes rows for columns; all copies take LAPACK's sign."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) * [1, 0.6, 0.5, 0.4, 0.3] + 0.2
    flips = np.diag([1.0, -1, 1, -1, -1])
    assert partition_isotropy(X) == pytest.approx(partition_isotropy(-X), rel=1e-9)
    assert partition_isotropy(X) == pytest.approx(partition_isotropy(X @ flips), rel=1e-9)


def test_the_mean_cosine_leaves_self_pairs_out():
    """I-STAR and IsoScore's own score divide by N^2 and sample with self-pairs."""
    X = np.eye(3)
    assert mean_cosine(X) == pytest.approx(0.0, abs=1e-15)
    assert mean_cosine(np.ones((2, 5))) == pytest.approx(1.0)


def test_isoscore_of_few_isotropic_rows_is_near_one():
    """The plug-in value: 0.32 at n = 64, d = 128 where the truth is 1."""
    rng = np.random.default_rng(0)
    values = [isoscore(rng.normal(size=(64, 128))) for _ in range(20)]
    assert np.mean(values) == pytest.approx(1, abs=0.1)
    assert isoscore(rng.normal(size=(64, 128)), corrected=False) < 0.4


def test_the_prior_of_isoscore_star_has_the_scale_of_the_rows():
    """C0 = I makes unit rows look isotropic at once."""
    X = np.random.default_rng(0).normal(size=(400, 16)) * np.linspace(1, 0.05, 16)
    a, b = (isoscore_star(s * X, zeta=0.1) for s in (1, 1e-3))
    assert a == pytest.approx(b)


def test_a_scorecard_of_one_row_has_no_crash_and_no_garbage():
    card = score(np.ones((1, 4)))
    assert np.isnan(card["mean_cosine"])


def test_pairs_are_not_quadratic_in_memory():
    """I-STAR and sentence-transformers build N x N matrices: 200,000 rows would take 300 GB."""
    X = np.random.default_rng(0).normal(size=(200_000, 4)).astype(np.float32)
    card = score(X, ["mean_cosine", "cosine_spread", "uniformity_cumulant"])
    assert card["mean_cosine"] == pytest.approx(0, abs=0.01)
    assert card["cosine_spread"] == pytest.approx(0.5, abs=0.01)
