"""Intervals of 95 %, by the normal distribution."""

from __future__ import annotations

import numpy as np

__all__ = ["Z", "of_mean", "of_share"]

Z = 1.959964
"""Standard errors to either side."""


def of_mean(values: np.ndarray) -> tuple[float, float, float]:
    """The mean, and its interval by the spread of the values; NaN for a single one."""
    mean, n = float(values.mean()), len(values)
    half = Z * float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return mean, float(mean - half), float(mean + half)


def of_share(share: float, n: int) -> tuple[float, float]:
    """Of a proportion of n (Wilson 1927)."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
    return max(0.0, centre - float(half)), min(1.0, centre + float(half))
