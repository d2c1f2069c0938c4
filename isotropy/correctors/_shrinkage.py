"""Shrinkage, estimated from moments: of covariances to the identity, of means to another."""

from __future__ import annotations

import numpy as np

from isotropy.cross import CrossMoments
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


_SURE = 0.95


def mean_weight(moments: Moments, centre: np.ndarray) -> float:
    """How much of the way from `centre` to the mean of rows is no chance: from 0 to 1.

    The mean of n rows is off by s^2 / n in square, s^2 being their summed variance. Of its squared
    distance to the centre so much is chance, and what is left of one, 1 - s^2 / (n |shift|^2), is
    the weight of the mean; from 0.95 up it is the mean itself. James & Stein 1961, positive part.
    One row tells nothing of its spread, and so nothing of a mean. Moments that hold no more than
    the mean are believed.
    """
    n, shift, variance = moments.n_effective, moments.mean - centre, _variance(moments)
    if variance is None:
        return 1.0
    if n <= 1:
        return 0.0
    chance, far = variance / (n - 1), float(shift @ shift)
    weight = 1 - chance / far if far > chance else 0.0
    return 1.0 if weight >= _SURE else weight


def shrunk_mean(moments: Moments, centre: np.ndarray) -> np.ndarray:
    """The mean of rows of which there may be few, drawn towards `centre` as far as chance goes."""
    weight = mean_weight(moments, centre)
    return moments.mean if weight == 1 else centre + weight * (moments.mean - centre)


def _variance(moments: Moments) -> float | None:
    """Summed over the columns; None where it is not known."""
    if moments.scatter is not None:
        return float(np.trace(moments.scatter)) / moments.total_weight
    if moments.unit_sum is None:
        return None
    squares = moments.unit_weight if moments.normalize else moments.norm_square_sum
    return max(squares / moments.total_weight - float(moments.mean @ moments.mean), 0.0)


def trust_in(counts: np.ndarray, shrinkage: float) -> np.ndarray:
    """The share n / (n + k): 0 where k is infinite, and for a group without rows."""
    if np.isinf(shrinkage):
        return np.zeros_like(counts)
    total = counts + shrinkage
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def noise_to_signal(moments: CrossMoments) -> float:
    """The variance within groups over that of their true means; infinite where there is none."""
    counts = moments.class_weights()
    n, g = float(counts.sum()), int(np.count_nonzero(counts))
    apart = moments.means() - moments.mean
    between = float(counts @ np.einsum("ij,ij->i", apart, apart))
    if g < 2:
        return 0.0
    if n <= g:
        return np.inf
    within = max(0.0, moments.spread - between) / (n - g)
    size = (n - float(counts @ counts) / n) / (g - 1)
    signal = (between / (g - 1) - within) / size
    if signal <= 0:
        return np.inf
    return within / signal


def own_covariance(moments: Moments) -> tuple[np.ndarray, float]:
    """The covariance of a group, shrunk towards the identity, and the share of its own in it.

    Of rows that the covariance within groups has whitened, so that no direction counts for more
    because of its scale.
    """
    n, eye = moments.total_weight, np.eye(moments.n_features)
    if not n > 2 or moments.fourth is None:
        return eye, 0.0
    covariance = moments.covariance(0)
    apart = float(np.square(moments.covariance(1) - eye).sum())
    noise = max(0.0, moments.fourth / n - float(np.square(covariance).sum())) / n
    share = 1 - min(1.0, noise / apart) if apart > 0 else 0.0
    return share * moments.covariance(1) + (1 - share) * eye, share
