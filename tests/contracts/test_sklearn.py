"""Correctors as scikit-learn transformers: its own checks, and the places people use them in."""

import numpy as np
import pytest
from cases import CORRECTORS
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from isotropy import ComponentRemoval, MeanRemoval, Whitening

# The checks' own data may have two columns only.
NARROW = [
    clone(corrector).set_params(n_components=1)
    if isinstance(corrector.get_params().get("n_components"), int)
    else corrector
    for corrector in CORRECTORS
]


@parametrize_with_checks(NARROW)
@pytest.mark.filterwarnings("ignore::isotropy.RankWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def labelled():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    return rng.normal(size=(200, 6)) + y[:, None] + 5, y


def test_a_grid_searches_over_power_and_corrector(labelled):
    pipeline = Pipeline([("correct", Whitening()), ("classify", LogisticRegression())])
    grid = [
        {"correct__power": [0, 0.5, 1], "correct__n_components": [2, 6]},
        {"correct": [MeanRemoval(), ComponentRemoval(1), "passthrough"]},
    ]
    search = GridSearchCV(pipeline, grid, cv=3).fit(*labelled)
    assert len(search.cv_results_["params"]) == 9
    assert search.best_score_ > 0.8


def test_columns_are_corrected_apart(labelled):
    X, _ = labelled
    both = ColumnTransformer([("a", Whitening(), [0, 1]), ("b", MeanRemoval(), [2, 3])])
    Y = both.fit_transform(X)
    np.testing.assert_allclose(Y[:, :2], Whitening().fit_transform(X[:, :2]))
    np.testing.assert_allclose(Y[:, 2:], X[:, 2:4] - X[:, 2:4].mean(0))
    assert list(both.get_feature_names_out()) == [
        "a__whitening0",
        "a__whitening1",
        "b__x2",
        "b__x3",
    ]


def test_a_clone_is_unfitted_and_equal(corrector):
    corrector.fit(np.random.default_rng(0).normal(size=(30, 8)))
    twin = clone(corrector)
    assert not hasattr(twin, "affine_map_")
    assert twin.get_params() == corrector.get_params()


def test_pandas_and_polars_come_back_with_names():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    X = np.random.default_rng(0).normal(size=(50, 3))
    names = ["a", "b", "c"]
    frame = pandas.DataFrame(X, columns=names, index=range(100, 150))
    zca = Whitening("zca").set_output(transform="pandas").fit(frame)
    out = zca.transform(frame)
    assert list(out.columns) == names
    assert list(out.index) == list(frame.index)
    np.testing.assert_allclose(out, Whitening("zca").fit_transform(X))
    out = (
        Whitening().set_output(transform="polars").fit_transform(polars.DataFrame(X, schema=names))
    )
    assert isinstance(out, polars.DataFrame)
    assert out.columns == ["whitening0", "whitening1", "whitening2"]
    with pytest.raises(ValueError, match="feature names"):
        zca.transform(frame[["b", "a", "c"]])


def test_weights_are_routed_through_a_pipeline(labelled):
    X, y = labelled
    w = np.random.default_rng(1).integers(0, 3, 200)
    with config_context(enable_metadata_routing=True):
        corrector = Whitening().set_fit_request(sample_weight=True)
        model = LogisticRegression().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(corrector, model).fit(X, y, sample_weight=w)
    wanted = Whitening().fit(np.repeat(X, w, axis=0))
    np.testing.assert_allclose(pipeline[0].transform(X), wanted.transform(X), rtol=1e-9)
