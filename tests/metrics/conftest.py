"""Rows that the tests of metrics share, beside the hard sets."""

import numpy as np
import pytest


@pytest.fixture
def gaussian():
    """200 Gaussian rows in 10 dimensions, of unequal variances, off the origin."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 10)) * np.linspace(0.3, 2, 10) + 0.4


@pytest.fixture
def weighted():
    """Rows, their frequencies, and the same rows repeated."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 6)) * np.linspace(0.3, 2, 6) + 0.4
    counts = rng.integers(0, 4, 40)
    return rows, counts, np.repeat(rows, counts, axis=0)
