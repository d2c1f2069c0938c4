"""Mean and component removal, SIF, uSIF and conceptors against their papers."""

import numpy as np
import pytest

from isotropy import ComponentRemoval, ConceptorNegation, MeanDirectionRemoval, MeanRemoval
from isotropy.correctors.components import dominant_count


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 8)) * [9, 7, 3, 1, 1, 1, 1, 1] + 2


def test_the_mean_goes_in_part_or_whole(X):
    np.testing.assert_allclose(MeanRemoval().fit_transform(X), X - X.mean(0))
    np.testing.assert_allclose(MeanRemoval(0.3).fit_transform(X), X - 0.3 * X.mean(0))
    np.testing.assert_array_equal(MeanRemoval(0).fit_transform(X), X)
    with pytest.raises(ValueError, match="strength"):
        MeanRemoval(np.nan).fit(X)


def test_the_mean_acts_on_the_corpus_and_not_on_the_features_of_a_row(X):
    Y = MeanRemoval().fit_transform(X)
    np.testing.assert_allclose(Y.mean(0), 0, atol=1e-12)
    assert np.abs(Y.mean(1)).max() > 0.1


def test_the_direction_of_the_mean_is_projected_out(X):
    m = X.mean(0) / np.linalg.norm(X.mean(0))
    Y = MeanDirectionRemoval().fit_transform(X)
    np.testing.assert_allclose(Y, X - np.outer(X @ m, m), atol=1e-12)
    np.testing.assert_allclose(Y @ m, 0, atol=1e-12)


def test_rows_without_a_mean_are_left_alone():
    X = np.array([[1.0, 2.0], [-1.0, -2.0]])
    np.testing.assert_array_equal(MeanDirectionRemoval().fit_transform(X), X)


@pytest.mark.parametrize("normalize", ["none", "before", "after", "both"])
def test_normalize_says_when_rows_get_length_one(X, normalize):
    def unit(Z):
        return Z / np.linalg.norm(Z, axis=1, keepdims=True)

    Z = unit(X) if normalize in ("before", "both") else X
    Z = Z - Z.mean(0)
    Z = unit(Z) if normalize in ("after", "both") else Z
    np.testing.assert_allclose(MeanRemoval(normalize=normalize).fit_transform(X), Z, atol=1e-12)


def principal(Z, count):
    """Leading right singular vectors, as columns."""
    return np.linalg.svd(Z, full_matrices=False)[2][:count].T


@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_all_but_the_top(X, count):
    Z = X - X.mean(0)
    U = principal(Z, count)
    Y = ComponentRemoval(count).fit_transform(X)
    np.testing.assert_allclose(Y, Z - Z @ U @ U.T, atol=1e-9)
    assert Y.shape == X.shape


def test_the_papers_form_projects_before_centring_and_leaves_a_constant(X):
    U = principal(X - X.mean(0), 2)
    Y = ComponentRemoval(2, project="paper").fit_transform(X)
    np.testing.assert_allclose(Y, X - X.mean(0) - X @ U @ U.T, atol=1e-9)
    np.testing.assert_allclose(Y.mean(0), -U @ U.T @ X.mean(0), atol=1e-9)


def test_the_vectors_stay_when_their_components_go(X):
    """One public copy returns the mean minus the projection, and drops the vectors."""
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, len(X), size=(50, 2))
    Y = ComponentRemoval(1).fit_transform(X)
    apart = np.linalg.norm(Y[pairs[:, 0]] - Y[pairs[:, 1]], axis=1)
    assert np.corrcoef(apart, np.linalg.norm(X[pairs[:, 0]] - X[pairs[:, 1]], axis=1))[0, 1] > 0.3


def test_sif_takes_the_first_direction_about_zero(X):
    u = principal(X, 1)
    Y = ComponentRemoval(1, center=False).fit_transform(X)
    np.testing.assert_allclose(Y, X - X @ u @ u.T, atol=1e-9)


def test_usif_weights_directions_by_their_share(X):
    s = np.linalg.svd(X, compute_uv=False)[:5] ** 2
    U = principal(X, 5)
    Y = ComponentRemoval(5, center=False, weights="spectrum").fit_transform(X)
    np.testing.assert_allclose(Y, X - (X @ U * (s / s.sum())) @ U.T, atol=1e-9)


def test_conceptor_negation(X):
    for alpha in (0.0, 0.5, 2.0):
        R = X.T @ X / len(X)
        wanted = X.copy()
        if alpha:
            C = R @ np.linalg.inv(R + alpha**-2 * np.eye(8))
            wanted = X @ (np.eye(8) - C)
        np.testing.assert_allclose(ConceptorNegation(alpha).fit_transform(X), wanted, atol=1e-9)
    Y = ConceptorNegation(1.0, center=True).fit_transform(X)
    np.testing.assert_allclose(Y.mean(0), 0, atol=1e-12)


def test_the_number_of_directions_comes_from_the_spectrum(X):
    assert ComponentRemoval().fit(X).n_components_ == dominant_count(
        np.linalg.eigvalsh(np.cov(X.T))[::-1], 300
    )
    rng = np.random.default_rng(0)
    for d, strong in ((100, 1), (100, 3), (384, 5)):
        scales = np.ones(d)
        scales[:strong] = 20
        rows = rng.normal(size=(3000, d)) * scales
        assert ComponentRemoval().fit(rows).n_components_ == strong
    for n, d in ((50, 100), (100, 100), (1000, 100), (5000, 64)):
        found = [ComponentRemoval().fit(rng.normal(size=(n, d))).n_components_ for _ in range(20)]
        assert np.count_nonzero(found) <= 2


def test_the_rule_of_thumb_takes_a_hundredth():
    X = np.random.default_rng(0).normal(size=(400, 300))
    assert ComponentRemoval("d/100").fit(X).n_components_ == 3
    assert ComponentRemoval("d/100").fit(X[:, :20]).n_components_ == 1


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"n_components": 9}, "got 9"),
        ({"n_components": -1}, "got -1"),
        ({"n_components": "three"}, "three"),
        ({"n_components": 1.5}, "1.5"),
        ({"project": "both"}, "both"),
        ({"weights": "sif"}, "sif"),
        ({"project": "paper", "center": False}, "center=True"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(X, parameters, told):
    with pytest.raises(ValueError, match=told):
        ComponentRemoval(**parameters).fit(X)


@pytest.mark.parametrize("aperture", [-1, np.inf])
def test_a_wrong_aperture_is_named(X, aperture):
    with pytest.raises(ValueError, match="aperture"):
        ConceptorNegation(aperture).fit(X)
