"""Shrinkage of a covariance towards a multiple of the identity, estimated from moments."""

from __future__ import annotations

import numpy as np

from isotropy.moments import Moments


def ledoit_wolf_shrinkage(moments: Moments) -> float:
    """Ledoit & Wolf 2004 (J. Multivariate Anal. 88, 365), Lemma 3.1 and section 3.2.

    delta^2 = |S - m I|^2, beta^2 = (1/n^2) sum_i |y_i y_i' - S|^2 (capped at delta^2), and the
    result is beta^2 / delta^2. The sum is |y|^4 summed, less n |S|^2: no second pass.
    """
    if moments.fourth is None:
        raise ValueError("shrinkage='ledoit-wolf' needs moments of order=4.")
    covariance, n = moments.covariance(ddof=0), moments.n_effective
    square = float((covariance**2).sum())
    mean = float(np.trace(covariance)) / len(covariance)
    delta = square - len(covariance) * mean**2
    beta = (moments.fourth / moments.total_weight - square) / n
    return max(0.0, min(beta, delta) / delta) if delta > 0 else 0.0


def oas_shrinkage(moments: Moments) -> float:
    """Chen, Wiesel, Eldar & Hero 2010 (IEEE Trans. Signal Process. 58, 5016), equation 23,
    in the form that scikit-learn uses.
    """
    covariance, n = moments.covariance(ddof=0), moments.n_effective
    d = len(covariance)
    mean_square = float((covariance**2).mean())
    mean = float(np.trace(covariance)) / d
    denominator = (n + 1) * (mean_square - mean**2 / d)
    return 1.0 if denominator <= 0 else min((mean_square + mean**2) / denominator, 1.0)
