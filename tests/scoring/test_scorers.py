import pickle

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from isotropy import MeanRemoval, Whitening
from isotropy.metrics import METRICS
from isotropy.scoring import make_scorer

IDENTITY = FunctionTransformer()


BLIND = {"mardia_skewness", "henze_zirkler"}  # to all but shape
BLIND |= {"coordinate_skewness", "coordinate_kurtosis", "anderson_darling"}


@pytest.mark.parametrize("name", sorted(set(METRICS) - BLIND))
def test_more_isotropic_rows_get_the_greater_score(name):
    rng = np.random.default_rng(0)
    isotropic = rng.normal(size=(300, 24)) + 0.3  # a mean, so that its parts are defined
    cone = isotropic * np.linspace(0.1, 2, 24) ** 2 + np.linspace(1, 3, 24)
    cone[:, 3] += 30
    cone[:, 5] = 1
    scorer = make_scorer(name)
    assert scorer(IDENTITY, isotropic) > scorer(IDENTITY, cone)


def test_distance_from_an_ideal_counts_from_both_sides():
    scorer = make_scorer("mean_cosine")
    apart = np.array([[1.0, 0.1], [-1.0, 0.1]])
    together = np.array([[1.0, 0.1], [1.0, 0.2]])
    crossed = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert scorer(IDENTITY, crossed) == 0
    assert scorer(IDENTITY, apart) < 0
    assert scorer(IDENTITY, together) < 0


def test_grid_search_chooses_the_stronger_whitening(gaussian):
    search = GridSearchCV(
        Whitening(), {"power": [0.0, 0.5, 1.0]}, scoring=make_scorer("isoscore_plain"), cv=3
    )
    assert search.fit(gaussian).best_params_ == {"power": 1.0}


def test_grid_search_over_a_pipeline_with_several_scores(gaussian):
    scoring = {name: make_scorer(name) for name in ("mean_cosine", "wasserstein2")}
    pipeline = make_pipeline(MeanRemoval(), Whitening())
    grid = {"meanremoval__strength": [0.0, 1.0], "whitening__power": [0.5]}
    search = GridSearchCV(pipeline, grid, scoring=scoring, refit="wasserstein2", cv=3)
    search.fit(gaussian)
    assert np.isfinite(search.cv_results_["mean_test_mean_cosine"]).all()


def test_scorer_pickles_and_tells_its_name(gaussian):
    scorer = make_scorer("isoscore")
    again = pickle.loads(pickle.dumps(scorer))
    assert again(IDENTITY, gaussian) == scorer(IDENTITY, gaussian)
    assert repr(scorer) == "make_scorer('isoscore')"


def test_torch_rows_are_scored(gaussian):
    torch = pytest.importorskip("torch")
    corrector, scorer = Whitening().fit(gaussian), make_scorer("uniformity")
    value = scorer(corrector, torch.as_tensor(gaussian))
    assert value == pytest.approx(scorer(corrector, gaussian), rel=1e-6)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="No metric is named 'isotropy'"):
        make_scorer("isotropy")
