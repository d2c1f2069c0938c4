"""What every corrector promises, on every hard data set."""

import warnings

import numpy as np
import pytest
from cases import TOLERANCE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import isotropy
from isotropy import AffineMap, Moments, RankWarning, Whitening

pytestmark = pytest.mark.filterwarnings("ignore::isotropy.RankWarning")


def test_the_result_is_finite_in_the_type_that_came(corrector, hard):
    before = hard.copy()
    Y = corrector.fit(hard).transform(hard)
    assert np.isfinite(Y).all()
    assert Y.dtype == (hard.dtype if hard.dtype.kind == "f" else np.float64)
    assert Y.shape == (len(hard), len(corrector.get_feature_names_out()))
    np.testing.assert_array_equal(hard, before)


def test_rows_one_by_one_equal_rows_at_once(corrector, hard):
    Y = corrector.fit(hard).transform(hard)
    one_by_one = np.vstack([corrector.transform(row[None]) for row in hard[:7]])
    tolerance = TOLERANCE[Y.dtype.name]
    scale = np.abs(Y[:7].astype(float)).max() or 1.0
    np.testing.assert_allclose(one_by_one / scale, Y[:7] / scale, atol=tolerance)


def test_an_empty_batch_gives_an_empty_result(corrector):
    X = np.random.default_rng(0).normal(size=(30, 8))
    Y = corrector.fit(X).transform(X[:0])
    assert Y.shape == (0, corrector.transform(X).shape[1])


def test_a_single_vector_is_refused_with_the_way_out(corrector):
    X = np.random.default_rng(0).normal(size=(30, 8))
    with pytest.raises(ValueError, match="reshape"):
        corrector.fit(X).transform(X[0])


def test_pieces_fitted_in_turn_equal_one_fit(corrector):
    X = np.random.default_rng(0).normal(size=(90, 8)) * np.arange(1, 9) + 4
    whole = corrector.fit(X).transform(X)
    parts = type(corrector)(**corrector.get_params())
    for piece in (X[:40], X[40:41], X[41:]):
        parts.partial_fit(piece)
    np.testing.assert_allclose(parts.transform(X), whole, atol=1e-10)


def test_moments_alone_fit_the_same_map(corrector):
    X = np.random.default_rng(0).normal(size=(90, 8)) * np.arange(1, 9) + 4
    normalize = corrector.normalize in ("before", "both")
    moments = Moments.from_rows(X, normalize=normalize)
    by_moments = type(corrector)(**corrector.get_params()).fit_moments(moments)
    np.testing.assert_allclose(by_moments.transform(X), corrector.fit(X).transform(X), atol=1e-12)
    with pytest.raises(ValueError, match="normalize"):
        corrector.fit_moments(Moments.from_rows(X, normalize=not normalize))


def test_weights_are_repetitions_and_order_does_not_matter(corrector):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5)) * [1, 2, 3, 4, 5] + 4
    w = rng.integers(0, 4, 60)
    repeated = rng.permutation(np.repeat(X, w, axis=0))
    a = corrector.fit(X, sample_weight=w).transform(X)
    b = type(corrector)(**corrector.get_params()).fit(repeated).transform(X)
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_the_way_back_returns_what_was_not_removed(corrector):
    X = np.random.default_rng(0).normal(size=(90, 6)) * np.arange(1, 7) + 4
    Y = corrector.fit(X).transform(X)
    if corrector.normalize != "none":
        with pytest.raises(ValueError, match="no way back"):
            corrector.inverse_transform(Y)
        return
    back = corrector.inverse_transform(Y)
    np.testing.assert_allclose(corrector.transform(back), Y, atol=1e-9)
    rank = np.linalg.matrix_rank(corrector.affine_map_.matrix, tol=1e-9)
    if rank == 6:
        np.testing.assert_allclose(back, X, atol=1e-9)


def test_a_saved_corrector_comes_back_the_same(corrector, tmp_path):
    X = np.random.default_rng(0).normal(size=(90, 6)) + 4
    corrector.fit(X).save(tmp_path / "c", moments=True)
    loaded = isotropy.load(tmp_path / "c")
    assert type(loaded) is type(corrector)
    assert loaded.get_params() == corrector.get_params()
    np.testing.assert_array_equal(loaded.transform(X), corrector.transform(X))
    if corrector.normalize == "none":
        Y = corrector.transform(X)
        np.testing.assert_array_equal(loaded.inverse_transform(Y), corrector.inverse_transform(Y))
    again = loaded.partial_fit(X + 1).transform(X)
    np.testing.assert_allclose(again, corrector.partial_fit(X + 1).transform(X), atol=1e-12)
    with pytest.raises(ValueError, match="holds a"):
        other = (
            isotropy.MeanRemoval if type(corrector) is isotropy.Whitening else isotropy.Whitening
        )
        other.load(tmp_path / "c")


def test_a_refused_refit_leaves_the_old_state_whole(corrector):
    X = np.random.default_rng(0).normal(size=(50, 6)) + 4
    wanted = corrector.fit(X).transform(X)
    bad = np.vstack([X, np.full((1, 6), np.nan)])
    narrow = X[:, :3].copy()
    narrow[7, 1] = np.inf
    for refused in (bad, narrow, X[:, 0]):
        for fit in (corrector.fit, corrector.partial_fit):
            with pytest.raises(ValueError, match=r"row|features|1D"):
                fit(refused)
    with pytest.raises(ValueError, match="0 sample"):
        corrector.fit(X[:0])
    corrector.partial_fit(X[:0])
    np.testing.assert_array_equal(corrector.transform(X), wanted)
    assert corrector.moments_.n_rows == 50


def test_the_bad_row_is_named_in_fit_and_transform(corrector):
    X = np.random.default_rng(0).normal(size=(3000, 6)).astype(np.float32)
    corrector.fit(X)
    X[2500, 3] = np.nan
    with pytest.raises(ValueError, match="row 2500"):
        corrector.transform(X)
    with pytest.raises(ValueError, match="row 2500"):
        corrector.fit(X)


def test_a_wrong_normalize_is_refused(corrector):
    corrector.set_params(normalize="always")
    with pytest.raises(ValueError, match=r"normalize must be one of .*'always'"):
        corrector.fit(np.eye(5))


def test_a_rotation_of_the_rows_rotates_or_keeps_the_result(corrector):
    """Cosines after correction do not depend on the basis, but for the -cor methods and signs."""
    if "cor" in getattr(corrector, "method", ""):
        pytest.skip("correlations depend on the basis")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6)) * np.arange(1, 7) + 3
    Q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a = corrector.fit(X).transform(X)
    b = type(corrector)(**corrector.get_params()).fit(X @ Q).transform(X @ Q)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-8 * np.abs(a @ a.T).max())


def test_only_dropped_directions_warn(corrector):
    X = np.random.default_rng(0).normal(size=(90, 6)) + 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", RankWarning)
        corrector.fit(X)


@pytest.mark.parametrize("how", ["fit", "pipeline", "fit_transform", "partial_fit"])
def test_a_warning_names_the_line_of_the_user(how):
    X = np.eye(8)[:4]
    calls = {
        "fit": lambda: Whitening().fit(X),
        "pipeline": lambda: make_pipeline(StandardScaler(), Whitening()).fit(X),
        "fit_transform": lambda: Whitening().fit_transform(X),
        "partial_fit": lambda: Whitening().partial_fit(X),
    }
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        calls[how]()
    assert found and {one.filename for one in found} == {__file__}


def test_a_saved_map_is_no_corrector_and_the_way_out_is_named(tmp_path):
    AffineMap(np.zeros(3), np.eye(3)).save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"m.safetensors: holds an AffineMap.*AffineMap.load"):
        isotropy.load(tmp_path / "m.safetensors")
