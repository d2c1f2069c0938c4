"""Weights are repetition, order is nothing: in every corrector that takes weights."""

import numpy as np
import pytest
from cases import LEARNERS, bent, fitted
from sklearn.base import clone

from isotropy import HubnessBias, PairWhitening, WeightedRemoval

pytestmark = pytest.mark.filterwarnings("ignore::isotropy.RankWarning")

WEIGHED = [corrector for corrector in LEARNERS if not isinstance(corrector, HubnessBias)]


@pytest.mark.parametrize("learner", WEIGHED, ids=str)
@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_a_row_of_weight_w_is_w_rows_in_any_order(learner, shuffled):
    random = np.random.default_rng(0)
    X = bent()
    w = random.integers(1, 4, len(X))
    numbers = np.repeat(np.arange(len(X)), w)
    if shuffled:
        numbers = random.permutation(numbers)
    weighed, repeated = {}, {}
    if isinstance(learner, PairWhitening | WeightedRemoval):
        pairs, scores = random.integers(0, len(X), (60, 2)), random.random(60)
        where = np.array([np.flatnonzero(numbers == row)[0] for row in range(len(X))])
        weighed = {"pairs": pairs, "pair_scores": scores}
        repeated = {"pairs": where[pairs], "pair_scores": scores}
    a = fitted(clone(learner), X, sample_weight=w, **weighed)
    b = fitted(clone(learner), X[numbers], **repeated)
    np.testing.assert_allclose(a.mean_, b.mean_, atol=1e-10)
    tolerance = 1e-3 if type(learner).__name__ == "FlowGaussianizer" else 1e-6  # it trains
    np.testing.assert_allclose(a.transform(X), b.transform(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("learner", WEIGHED, ids=str)
def test_a_row_of_weight_zero_is_no_row(learner):
    X = bent()
    more = {}
    if isinstance(learner, PairWhitening | WeightedRemoval):
        random = np.random.default_rng(0)
        more = {"pairs": random.integers(0, len(X), (60, 2)), "pair_scores": random.random(60)}
    far = np.concatenate([X, X[:7] + 1000])
    w = np.concatenate([np.ones(len(X)), np.zeros(7)])
    a = fitted(clone(learner), X, **more)
    b = fitted(clone(learner), far, sample_weight=w, **more)
    tolerance = 1e-3 if type(learner).__name__ == "FlowGaussianizer" else 1e-6
    np.testing.assert_allclose(a.transform(X), b.transform(X), rtol=tolerance, atol=tolerance)
