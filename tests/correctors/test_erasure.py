"""Erasing a concept: nothing linear is left of it, by the paper's own formula."""

import numpy as np
import pytest
from cases import Blocks
from scipy.linalg import pinv, sqrtm
from sklearn import config_context
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import isotropy
from isotropy import AutoCorrector, ConceptErasure, CrossMoments, Moments, Whitening

RNG = np.random.default_rng(0)
N, D = 1000, 12
CLASSES = RNG.choice(np.array(["news", "law", "talk"]), N, p=[0.5, 0.3, 0.2])
YEARS = RNG.integers(1990, 2025, N)
MEANS = {"news": RNG.normal(size=D), "law": RNG.normal(size=D), "talk": RNG.normal(size=D)}
X = RNG.normal(size=(N, D)) @ RNG.normal(size=(D, D)) + np.array([MEANS[c] for c in CLASSES]) * 2
X += np.outer((YEARS - 2000) / 10, RNG.normal(size=D)) + 300 * RNG.normal(size=D)

SETTINGS = {
    "classes": (CLASSES, {}, 2),
    "two classes": (CLASSES == "law", {}, 1),
    "numbers": (YEARS, {"concept": "numbers"}, 1),
    "several numbers": (np.column_stack([YEARS, np.log(YEARS - 1989.0)]) + 0.0, {}, 2),
    "several concepts": ({"kind": CLASSES, "year": YEARS + 0.5}, {}, 3),
    "numbers that are one another": (np.column_stack([YEARS, 3 * YEARS + 7.0]) + 0.0, {}, 1),
}


def dense(z):
    """Columns of a concept, the slow way."""
    if isinstance(z, dict):
        return np.column_stack([dense(part) for part in z.values()])
    z = np.asarray(z)
    if z.ndim == 2:
        return z
    if z.dtype.kind == "f" or z is YEARS:
        return z[:, None].astype(float)
    return np.column_stack([z == label for label in np.unique(z)]).astype(float)


def paper(X, Z):
    """Theorem 4.3: r(x) = x - W^+ P_{W Sxz} W (x - E x), W the pseudo-inverse root of Sxx."""
    Y, V = X - X.mean(0), Z - Z.mean(0)
    W = pinv(np.real(sqrtm(Y.T @ Y / len(X))))
    A = W @ (Y.T @ V / len(X))
    projection = A @ pinv(A, rtol=1e-9)
    return X - Y @ (pinv(W) @ projection @ W).T


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_the_paper_s_map(name):
    z, options, directions = SETTINGS[name]
    found = ConceptErasure(**options).fit(X, z)
    assert found.n_directions_ == directions
    np.testing.assert_allclose(found.transform(X), paper(X, dense(z)), atol=1e-8)


@pytest.mark.parametrize("name", SETTINGS)
def test_least_squares_finds_nothing_and_the_mean_stays(name):
    z, options, _ = SETTINGS[name]
    Y = ConceptErasure(**options).fit_transform(X, z)
    assert LinearRegression().fit(X, dense(z)).score(X, dense(z)) > 0.05
    assert abs(LinearRegression().fit(Y, dense(z)).score(Y, dense(z))) < 1e-10
    np.testing.assert_allclose(Y.mean(0), X.mean(0), rtol=1e-12)


@pytest.mark.parametrize("z", [CLASSES, CLASSES == "law"], ids=["three", "two"])
def test_a_logistic_probe_does_no_better_than_the_largest_class(z):
    def accuracy(rows):
        probe = LogisticRegression(C=100, max_iter=2000)
        return probe.fit(rows, z).score(rows, z)

    chance = max(np.mean(z == label) for label in np.unique(z))
    within = 1.96 * np.sqrt(chance * (1 - chance) / N)
    scaled = (X - X.mean(0)) / X.std(0)
    assert accuracy(scaled) > chance + 2 * within
    assert abs(accuracy(ConceptErasure().fit_transform(scaled, z)) - chance) <= within


def test_no_other_map_that_erases_changes_the_rows_less():
    """Neither the orthogonal projection, nor the difference of the means."""
    Y = ConceptErasure().fit_transform(X, CLASSES)
    cross = np.linalg.svd((X - X.mean(0)).T @ (dense(CLASSES) - dense(CLASSES).mean(0)))[0][:, :2]
    for matrix in (np.eye(D), Whitening("zca").fit(X).affine_map_.matrix):
        change = np.square((Y - X) @ matrix).sum()
        projected = np.square(((X - X.mean(0)) @ cross @ cross.T) @ matrix).sum()
        assert change < projected
    own = np.array([X[c == CLASSES].mean(0) for c in CLASSES]) - X.mean(0)
    assert np.square(Y - X).sum() >= np.square(own).sum() * (1 - 1e-9)  # which needs the labels


@pytest.mark.parametrize("strength", [0, 0.25, 0.5, 1])
def test_strength_is_the_share_of_each_covariance_that_goes(strength):
    corrector = ConceptErasure(strength).fit(X, CLASSES)
    Y, Z = corrector.transform(X), dense(CLASSES)
    before, after = (np.cov(rows.T, Z.T)[:D, D:] for rows in (X, Y))
    np.testing.assert_allclose(after, (1 - strength) * before, atol=1e-9)
    back = corrector.inverse_transform(Y)
    np.testing.assert_allclose(corrector.transform(back), Y, atol=1e-7)
    if strength < 1:
        np.testing.assert_allclose(back, X, atol=1e-7)


def test_parts_moments_blocks_and_files_give_one_map(tmp_path):
    z = {"kind": CLASSES, "year": YEARS + 0.5}
    whole = ConceptErasure().fit(X, z)
    order = np.argsort(CLASSES, kind="stable")
    parts = ConceptErasure()
    moments = CrossMoments()
    for rows in np.array_split(order, 5):
        mine = {name: column[rows] for name, column in z.items()}
        parts.partial_fit(X[rows], mine)
        moments = moments + CrossMoments().update(X[rows], z=mine)
    whole.save(tmp_path / "c", moments=True)
    others = {
        "parts": parts,
        "moments": ConceptErasure().fit_moments(moments),
        "blocks": ConceptErasure().fit(Blocks(X), z),
        "loaded": isotropy.load(tmp_path / "c"),
    }
    for how, other in others.items():
        assert other.concepts_ == {"kind": ["law", "news", "talk"], "year": None}, how
        np.testing.assert_allclose(other.transform(X), whole.transform(X), atol=1e-7, err_msg=how)
        other.partial_fit(X[:9] + 1, {name: column[:9] for name, column in z.items()})
        assert other.n_samples_seen_ == N + 9
    with pytest.raises(TypeError, match="must be CrossMoments, got Moments"):
        ConceptErasure().fit_moments(Moments(unit="none", order=2).update(X))


def test_weights_are_repetition():
    w = RNG.integers(0, 3, N)
    a = ConceptErasure().fit(X, CLASSES, w)
    b = ConceptErasure().fit(np.repeat(X, w, 0), np.repeat(CLASSES, w))
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-8)


HARD = {
    "rank deficient": (X[:, :6] @ RNG.normal(size=(6, D)), CLASSES),
    "fewer rows than columns": (X[:9], CLASSES[:9]),
    "mean a thousand spreads off": (RNG.normal(size=(N, D)) + 1000, X[:, 0] > np.median(X[:, 0])),
    "a constant column": (np.column_stack([X, np.full(N, 7.25)]), CLASSES),
    "float32": (X.astype(np.float32), CLASSES),
    "a class of one row": (X, np.where(np.arange(N) == 3, "odd", CLASSES)),
    "labels missing": (X[100:], CLASSES[100:]),
    "tiny": (X * 1e-30, CLASSES),
    "a concept and its copy": (X, np.column_stack([CLASSES, CLASSES])),
}


@pytest.mark.filterwarnings("ignore:The labels take all")
@pytest.mark.parametrize("name", HARD)
def test_nothing_linear_is_left_in_hard_rows_either(name):
    rows, z = HARD[name]
    Y = ConceptErasure().fit(rows, z).transform(rows.astype(float))
    assert np.isfinite(Y).all()
    V = dense(z) if np.ndim(z) == 1 else dense(z[:, 0])
    centred = Y - Y.mean(0)
    cross = np.linalg.norm(centred.T @ (V - V.mean(0)))
    before = np.linalg.norm((rows - rows.mean(0)).T @ (V - V.mean(0)))
    assert cross <= 1e-6 * before


@pytest.mark.parametrize("scale", [0.0, 1e-33, 1e-9])
def test_nothing_is_left_in_a_column_however_small_it_is(scale):
    rows = X - X.mean(0)
    rows[:, 3] = scale * (RNG.normal(size=N) + (CLASSES == "law"))
    Y = ConceptErasure().fit(rows, CLASSES).transform(rows)
    means = np.array([Y[c == CLASSES, 3].mean() for c in MEANS])
    assert np.ptp(means) <= 1e-9 * scale


def test_a_class_for_each_row_leaves_the_mean_alone():
    with pytest.warns(UserWarning, match="nothing is left but the mean"):
        found = ConceptErasure().fit(X[:8], np.arange(8))
    np.testing.assert_allclose(found.transform(X[:8]), np.tile(X[:8].mean(0), (8, 1)), rtol=1e-9)


@pytest.mark.parametrize("z", [np.zeros(N, int), np.full(N, "a"), np.full(N, 2020.1)])
def test_labels_that_are_the_same_everywhere_erase_nothing(z):
    with pytest.warns(UserWarning, match="Nothing is erased"):
        found = ConceptErasure().fit(X, z)
    assert found.n_directions_ == 0
    np.testing.assert_array_equal(found.transform(X), X)


def test_rows_without_a_label_are_left_out():
    labels = np.where(np.arange(N) < 100, None, CLASSES)
    found = ConceptErasure().fit(X, labels)
    assert found.n_unlabelled_ == 100
    wanted = ConceptErasure().fit(X[100:], CLASSES[100:])
    np.testing.assert_allclose(found.transform(X), wanted.transform(X), atol=1e-8)
    numbers = np.where(np.arange(N) < 100, np.nan, YEARS)
    assert ConceptErasure().fit(X, numbers).n_unlabelled_ == 100
    with pytest.raises(ValueError, match="No row has a label"):
        ConceptErasure().fit(X, [None] * N)


@pytest.mark.parametrize(
    ("options", "z", "told"),
    [
        ({}, None, "requires y to be passed"),
        ({}, CLASSES[:-1], "1000 rows, but labels of shape"),
        ({"strength": 1.5}, CLASSES, "strength must be a number from 0 to 1"),
        ({"strength": "all"}, CLASSES, "strength must be"),
        ({"strength": np.nan}, CLASSES, "strength must be"),
        ({"concept": "class"}, CLASSES, "concept must be"),
        ({"concept": "numbers"}, CLASSES, "must hold numbers"),
        ({}, np.where(np.arange(N) == 5, np.inf, 1.0), "row 5 is infinite"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(options, z, told):
    with pytest.raises(ValueError, match=told) as caught:
        ConceptErasure(**options).fit(X, z)
    assert "\n" not in str(caught.value)


def test_what_learns_from_labels_is_no_candidate_without_them():
    with pytest.raises(ValueError, match="follow from moments alone"):
        AutoCorrector(candidates=[ConceptErasure()]).fit(X)


def test_a_pipeline_keeps_what_it_learns_to_predict():
    target = (X[:, 0] > np.median(X[:, 0])).astype(int)
    with config_context(enable_metadata_routing=True):
        erasure = ConceptErasure().set_fit_request(z=True)
        model = LogisticRegression(max_iter=500)
        pipeline = make_pipeline(erasure, model).fit(X, target, z=CLASSES)
        np.testing.assert_allclose(
            pipeline[0].transform(X), ConceptErasure().fit(X, CLASSES).transform(X), atol=1e-9
        )


@parametrize_with_checks([ConceptErasure()])
@pytest.mark.filterwarnings("ignore:Nothing is erased", "ignore:The labels take all")
def test_scikit_learn_checks(estimator, check):
    check(estimator)
