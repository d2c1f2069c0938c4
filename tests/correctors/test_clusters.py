"""ClusterRemoval against the paper's steps, cluster by cluster."""

import numpy as np
import pytest
from cases import HARD
from sklearn.utils.estimator_checks import parametrize_with_checks

import isotropy
from isotropy import ClusterRemoval
from isotropy.metrics import cluster_cosines


def clusters(n=400, d=10, k=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    spread = rng.normal(size=(n, d)) * np.where(np.arange(d) == labels[:, None], 4, 1)
    return 12 * rng.normal(size=(k, d))[labels] + spread, labels


@parametrize_with_checks([ClusterRemoval(3, 1)])
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("keep", [False, True])
def test_each_cluster_loses_its_mean_and_directions(keep):
    X, labels = clusters()
    found = ClusterRemoval(4, 2, keep_centers=keep).fit(X)
    Y = found.transform(X)
    assigned = found.predict(X)
    for cluster in range(4):
        mine = assigned == cluster
        assert len(set(labels[mine])) == 1  # k-means has found them
        rows = X[mine] - X[mine].mean(0)
        _, _, V = np.linalg.svd(rows, full_matrices=False)
        wanted = rows - rows @ V[:2].T @ V[:2] + keep * X[mine].mean(0)
        np.testing.assert_allclose(Y[mine], wanted, atol=1e-9)


def test_new_rows_go_by_the_nearest_centre():
    X, _ = clusters()
    found = ClusterRemoval(4, 1).fit(X)
    new = clusters(seed=0, n=50)[0] + 0.1
    nearest = np.linalg.norm(new[:, None] - found.centers_, axis=2).argmin(1)
    np.testing.assert_array_equal(found.predict(new), nearest)
    one = found.transform(new[:1])
    np.testing.assert_allclose(one, found.transform(new)[:1])
    assert found.transform(new[:0]).shape == (0, 10)


def test_clusters_come_out_isotropic():
    X, labels = clusters(2000)
    before = cluster_cosines(X, labels)
    after = cluster_cosines(ClusterRemoval(4, 1).fit_transform(X), labels)
    assert before.intra > 0.8 and abs(after.intra) < 0.01


def test_weights_are_repetitions():
    X, _ = clusters(120)
    weights = np.random.default_rng(1).integers(0, 3, 120)
    a = ClusterRemoval(4, 1).fit(X, sample_weight=weights)
    b = ClusterRemoval(4, 1).fit(np.repeat(X, weights, axis=0))
    order = [np.linalg.norm(b.centers_ - c, axis=1).argmin() for c in a.centers_]
    np.testing.assert_allclose(a.centers_, b.centers_[order], atol=1e-8)
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", HARD)
def test_hard_rows_are_finite(name, dtype):
    with np.errstate(over="ignore"):
        X = HARD[name].astype(dtype)
    if not np.isfinite(X).all():
        pytest.skip("outside the range of the type")
    Y = ClusterRemoval(3, 2).fit_transform(X)
    assert Y.dtype == dtype and np.isfinite(Y).all()


def test_few_rows_and_no_components():
    X, _ = clusters(3)
    assert len(ClusterRemoval(10).fit(X).centers_) == 3
    np.testing.assert_allclose(ClusterRemoval(10).fit_transform(X), 0, atol=1e-9)
    X, _ = clusters()
    centred = ClusterRemoval(1, 0).fit_transform(X)
    np.testing.assert_allclose(centred, X - X.mean(0), atol=1e-9)


def test_files_and_torch(tmp_path):
    X, _ = clusters()
    found = ClusterRemoval(4, 2, keep_centers=True).fit(X)
    found.save(tmp_path / "c.safetensors")
    loaded = isotropy.load(tmp_path / "c.safetensors")
    assert loaded.get_params() == found.get_params()
    np.testing.assert_array_equal(loaded.transform(X), found.transform(X))
    found.directions_ = found.directions_[:2]
    found.save(tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="do not fit one another"):
        isotropy.load(tmp_path / "bad.safetensors")
    torch = pytest.importorskip("torch")
    rows = torch.from_numpy(X).float()
    out = loaded.transform(rows)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), loaded.transform(X), atol=1e-4)


def test_wrong_parameters_are_named():
    X, _ = clusters(30)
    with pytest.raises(ValueError, match="n_clusters"):
        ClusterRemoval(0).fit(X)
    with pytest.raises(ValueError, match="n_components"):
        ClusterRemoval(2, -1).fit(X)
    with pytest.raises(ValueError, match="Every weight is zero"):
        ClusterRemoval(2).fit(X, sample_weight=np.zeros(30))
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        ClusterRemoval(2).fit(X)
