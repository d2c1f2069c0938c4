"""The exponent of spectral tempering (arXiv 2603.19339)."""

from __future__ import annotations

import numpy as np


def tempered_power(values: np.ndarray, count: int) -> float:
    """min(1, SNR(k) / SNR(knee)) for k kept directions of falling eigenvalues.

    SNR(k) = l_k / noise - 1 with the mean of the last tenth of the eigenvalues as noise; the knee
    is Kneedle's (Satopaa et al. 2011) on the SNR of the other nine tenths, sensitivity 0.5.
    Without a knee the paper's code takes k / 2.
    """
    tail = int(values.size * 0.9)
    if tail < 1 or not values[tail:].mean() > 0:
        return 1.0
    ratio = np.maximum(values[:tail] / values[tail:].mean() - 1, 0.0)
    knee = _knee(ratio)
    if knee is None:
        knee = max(1, count // 2) - 1
    reference = ratio[min(knee, tail - 1)]
    return float(min(1.0, ratio[min(count, tail) - 1] / reference)) if reference > 0 else 1.0


def _knee(curve: np.ndarray, sensitivity: float = 0.5) -> int | None:
    """Index of the knee of a falling, convex curve; None where it has none."""
    if curve.size < 3 or not curve[0] > curve[-1]:
        return None
    x = np.linspace(0, 1, curve.size)
    bend = 1 - (curve - curve[-1]) / (curve[0] - curve[-1]) - x
    threshold_drop = sensitivity / (curve.size - 1)
    peaks = np.flatnonzero((bend[1:-1] > bend[:-2]) & (bend[1:-1] >= bend[2:])) + 1
    for peak, following in zip(peaks, [*peaks[1:], curve.size], strict=True):
        if (bend[peak:following] < bend[peak] - threshold_drop).any():
            return int(peak)
    return None
