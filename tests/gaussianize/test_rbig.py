"""RotationGaussianizer: density, way back, tails, stopping, and the whitening as the worst case."""

import numpy as np
import pytest
from scipy import stats
from sklearn.utils.estimator_checks import parametrize_with_checks

import isotropy
from isotropy import FallbackWarning, Moments, RankWarning, RotationGaussianizer

pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning"),
]


def skewed(n=1500, seed=0):
    """A bent, skewed cloud in three dimensions: x1 leans on the square of x0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    X[:, 1] += 0.7 * X[:, 0] ** 2
    X[:, 2] = np.exp(0.6 * X[:, 2])
    return X * [1, 5, 0.2] + [3, -2, 10]


@parametrize_with_checks([RotationGaussianizer(max_layers=3, random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def fitted():
    return RotationGaussianizer(20, random_state=0).fit(skewed())


def gaussian_log_density(X, rows):
    return stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(rows)


def test_unseen_rows_are_likelier_than_under_the_gaussian(fitted):
    new = skewed(seed=1)
    gain = (fitted.score_samples(new) - gaussian_log_density(skewed(), new)).mean()
    assert gain > 0.3
    assert fitted.gain_ == pytest.approx(gain, abs=0.25)
    assert fitted.score(new) == pytest.approx(fitted.score_samples(new).mean())
    Y = fitted.transform(new)
    assert 2 * abs(stats.skew(Y)).max() < abs(stats.skew(new)).max()


def test_the_density_is_the_jacobian_of_the_map(fitted):
    """log p(x) = log N(f(x)) + log |det df/dx|, the derivative taken numerically."""
    step = 1e-6
    for x in skewed(seed=2)[:8]:
        ends = np.stack([x + s * step * e for e in np.eye(3) for s in (1, -1)])
        Y = fitted.transform(ends)
        jacobian = (Y[0::2] - Y[1::2]) / (2 * step)
        wanted = stats.norm.logpdf(fitted.transform(x[None])).sum()
        wanted += np.linalg.slogdet(jacobian)[1]
        assert fitted.score_samples(x[None])[0] == pytest.approx(wanted, abs=1e-3)


def test_the_density_integrates_to_one():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.exponential(size=600), rng.normal(size=600)])
    rbig = RotationGaussianizer(4, random_state=0).fit(X)
    axis = np.linspace(-12, 14, 521)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    total = np.exp(rbig.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("far", [1, 1e3, 1e6])
def test_rows_far_outside_stay_finite_and_come_back(fitted, far):
    X = skewed(seed=3) * far
    Y = fitted.transform(X)
    assert np.isfinite(Y).all()
    assert np.isfinite(fitted.score_samples(X)).all()
    np.testing.assert_allclose(fitted.inverse_transform(Y), X, rtol=1e-6, atol=1e-6 * far)


def test_hard_data_is_finite_and_comes_back(hard):
    rbig = RotationGaussianizer(5, random_state=0).fit(hard)
    Y = rbig.transform(hard)
    assert np.isfinite(Y).all()
    assert Y.dtype == (hard.dtype if hard.dtype.kind == "f" else np.float64)
    wide = hard.astype(np.float64)
    back = rbig.inverse_transform(rbig.transform(wide))
    spread = np.abs(wide - wide.mean(0)).max()
    np.testing.assert_allclose(back / spread, wide / spread, atol=1e-3)


def test_gaussian_rows_fall_back_to_the_whitening_and_say_so():
    X = np.random.default_rng(0).normal(size=(800, 20))
    with pytest.warns(FallbackWarning, match="held-out"):
        rbig = RotationGaussianizer(5, n_quantiles=100, random_state=0).fit(X)
    assert rbig.falls_back_
    assert rbig.gain_ <= 0
    np.testing.assert_allclose(rbig.transform(X), isotropy.Whitening().fit_transform(X), atol=1e-9)
    np.testing.assert_allclose(rbig.score_samples(X), gaussian_log_density(X, X), atol=1e-8)


def test_layers_stop_when_the_total_correlation_does_not_fall():
    X = skewed()
    rbig = RotationGaussianizer(200, random_state=0).fit(X)
    assert 0 < rbig.n_iter_ < 200
    assert len(rbig.total_correlation_) == rbig.n_iter_ == len(rbig.rotations_)
    last = [entry["held_out_reduction"] for entry in rbig.history_[-rbig.patience :]]
    assert max(last) <= 0
    eager = RotationGaussianizer(200, patience=1, tol=0.02, random_state=0).fit(X)
    assert eager.n_iter_ < rbig.n_iter_
    assert rbig.gain_ == pytest.approx(
        sum(entry["held_out_reduction"] for entry in rbig.history_[: rbig.n_iter_])
    )


def test_options_are_heeded():
    X = skewed()
    a = RotationGaussianizer(2, random_state=0).fit(X)
    assert len(a.history_) <= 2
    assert RotationGaussianizer(2, n_quantiles=7, random_state=0).fit(X).knots_[0].shape == (3, 7)
    pca = RotationGaussianizer(2, rotation="pca", random_state=0).fit(X)
    assert np.abs(pca.rotations_[0] - a.rotations_[0]).max() > 0.1
    assert RotationGaussianizer(2, n_components=2, random_state=0).fit_transform(X).shape[1] == 2
    assert not np.allclose(
        RotationGaussianizer(2, validation_fraction=0.4, random_state=0).fit(X).transform(X),
        a.transform(X),
    )
    assert not np.allclose(
        RotationGaussianizer(2, random_state=1).fit(X).transform(X), a.transform(X)
    )
    for wrong in (
        {"rotation": "ica"},
        {"max_layers": 0},
        {"n_quantiles": 2},
        {"patience": 0.5},
        {"validation_fraction": 1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RotationGaussianizer(**wrong).fit(X)


def test_weights_are_repetitions():
    X = skewed(400)
    w = np.random.default_rng(1).integers(0, 4, 400)
    a = RotationGaussianizer(3, n_quantiles=9, random_state=0).fit(X, sample_weight=w)
    b = RotationGaussianizer(3, n_quantiles=9, random_state=0).fit(np.repeat(X, w, axis=0))
    assert a.n_iter_ > 0
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-8)


def test_more_rows_add_layers():
    rbig = RotationGaussianizer(3, random_state=0).partial_fit(skewed())
    before = rbig.n_iter_
    rbig.partial_fit(skewed(4000, seed=5))
    assert rbig.n_iter_ > before > 0
    assert rbig.moments_.n_rows == 5500
    X = skewed(seed=6)
    np.testing.assert_allclose(rbig.inverse_transform(rbig.transform(X)), X, atol=1e-7)


def test_samples_look_like_the_rows(fitted):
    drawn = fitted.sample(3000, random_state=0)
    assert drawn.shape == (3000, 3)
    for j in range(3):
        assert stats.ks_2samp(drawn[:, j], skewed(seed=7)[:, j]).statistic < 0.08
    np.testing.assert_array_equal(drawn, fitted.sample(3000, random_state=0))


def test_a_saved_one_comes_back_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "r", moments=True)
    loaded = isotropy.load(tmp_path / "r")
    X = skewed(seed=8)
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
    assert loaded.history_ == fitted.history_
    assert isinstance(loaded.moments_, Moments)


def test_torch_comes_back_as_torch(fitted):
    torch = pytest.importorskip("torch")
    X = skewed(seed=9)
    Y = fitted.transform(torch.from_numpy(X))
    assert isinstance(Y, torch.Tensor)
    np.testing.assert_allclose(Y.numpy(), fitted.transform(X), atol=1e-12)
    np.testing.assert_allclose(fitted.inverse_transform(Y).numpy(), X, atol=1e-8)


def test_a_refused_refit_leaves_the_old_state_whole():
    X = skewed()
    rbig = RotationGaussianizer(3, random_state=0).fit(X)
    wanted = rbig.transform(X)
    bad = X.copy()
    bad[7, 1] = np.nan
    for fit in (rbig.fit, rbig.partial_fit):
        with pytest.raises(ValueError, match="row 7"):
            fit(bad)
    np.testing.assert_array_equal(rbig.transform(X), wanted)


def test_too_few_rows_fall_back():
    with pytest.warns(FallbackWarning, match="distinct rows"), pytest.warns(RankWarning):
        rbig = RotationGaussianizer().fit(np.random.default_rng(0).normal(size=(9, 16)))
    assert rbig.falls_back_
