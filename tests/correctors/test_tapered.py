"""Tapered whitening: its scales are the formula, about any share of the mean."""

from __future__ import annotations

import numpy as np
import pytest

from isotropy import MeanRemoval, Moments, TaperedWhitening, load


def test_tapered_scales_are_the_formula():
    X = np.random.default_rng(0).normal(size=(500, 12)) * np.arange(12, 0, -1)
    fitted = TaperedWhitening(power=1.5).fit(X)
    values = np.linalg.eigvalsh(np.cov(X.T, ddof=0))[::-1]
    h, t = values[2], values[8]
    scales = (values + h) ** -0.75 * values / (values + t)
    np.testing.assert_allclose(fitted.scales_, scales / scales.max(), rtol=1e-10)
    spectrum = np.linalg.svd(fitted.affine_map_.matrix, compute_uv=False)
    np.testing.assert_allclose(np.sort(spectrum), np.sort(fitted.scales_), rtol=1e-10)


def test_tapered_power_0_is_centring_and_noise_is_not_blown_up():
    X = np.random.default_rng(0).normal(size=(300, 8)) + 5
    np.testing.assert_allclose(
        TaperedWhitening(power=0).fit_transform(X), MeanRemoval().fit_transform(X), atol=1e-12
    )
    thin = X @ np.diag([1, 1, 1, 1, 1, 1, 1, 1e-9])
    assert TaperedWhitening().fit(thin).scales_[-1] < 1e-6
    assert TaperedWhitening(n_components=3).fit_transform(X).shape == (300, 3)
    for wrong in (
        {"power": 3},
        {"head": -1},
        {"tail": "x"},
        {"n_components": 9},
        {"mean_strength": np.nan},
        {"mean_strength": "half"},
        {"mean_strength": None},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TaperedWhitening(**wrong).fit(X)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, -1.0])
def test_a_share_of_the_mean_is_removed_and_variances_are_about_it(strength, tmp_path):
    X = np.random.default_rng(0).normal(size=(300, 8)) * np.arange(1, 9) + 5
    fitted = TaperedWhitening(0.5, mean_strength=strength).fit(X, queries=X + 3)
    about = X - strength * X.mean(0)
    np.testing.assert_allclose(fitted.eigenvalues_, np.linalg.eigvalsh(about.T @ about / 300)[::-1])
    np.testing.assert_allclose(fitted.transform(X), about @ fitted.affine_map_.matrix, atol=1e-9)
    # Whatever share is removed, the means of queries and documents land in one place.
    asked = fitted.transform_queries(X + 3)
    if strength:
        np.testing.assert_allclose(asked.mean(0), fitted.transform(X).mean(0), atol=1e-9)
    else:
        np.testing.assert_array_equal(asked, fitted.transform(X + 3))
        assert not fitted.transform(np.zeros((1, 8))).any()
    fitted.save(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(
        load(tmp_path / "t.safetensors").transform(X), fitted.transform(X)
    )
    if strength == 0:
        zero = Moments(order=2).update(X).centered_at(np.zeros(8))
        told = TaperedWhitening(0.5).fit_moments(zero).affine_map_
        np.testing.assert_allclose(told.matrix, fitted.affine_map_.matrix)
