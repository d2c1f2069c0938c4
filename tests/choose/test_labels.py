"""Labels: they choose what helps them, leave alone what does not, and say nothing when shuffled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from sklearn.metrics import average_precision_score, ndcg_score, v_measure_score

from isotropy import (
    AutoCorrector,
    ComponentRemoval,
    MeanRemoval,
    Moments,
    TaperedWhitening,
    advise,
    load,
)
from isotropy.choose.candidates import candidates, fitted
from isotropy.choose.judge import judge
from isotropy.choose.kinds import (
    MEASURED,
    AlikePairs,
    Clusters,
    GradedPairs,
    JudgedQueries,
    Neighbours,
)
from isotropy.choose.labels import Labels, labelled
from isotropy.ranking import unit
from isotropy.rows import as_rows

N, D, K = 240, 16, 6


def world(cone=0.0, seed=0):
    """Rows of six classes and what is said of them; a cone drowns the classes in two directions."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(K, size=N)
    truth = 1.2 * rng.normal(size=(K, D))[classes] + rng.normal(size=(N, D))
    X = truth + 0.3 * rng.normal(size=(N, D))
    if cone:
        X = X + cone * rng.normal(size=(N, 2)) @ rng.normal(size=(2, D)) + 3 * cone
    return X, truth, classes, rng


def told(kind, cone=0.0, seed=0, shuffle=False):
    """Rows, and what `fit` takes beside them."""
    X, truth, classes, rng = world(cone, seed)
    order = rng.permutation(N) if shuffle else np.arange(N)
    if kind in ("graded pairs", "alike pairs"):
        pairs = np.array([rng.permutation(N)[:2] for _ in range(200)])
        U = unit(truth[order])
        scores = (U[pairs[:, 0]] * U[pairs[:, 1]]).sum(1)
        if kind == "alike pairs":
            scores = classes[order][pairs[:, 0]] == classes[order][pairs[:, 1]]
        return X, {"pairs": pairs, "pair_scores": scores}
    if kind == "queries":
        Q = truth[:100] + 0.5 * rng.normal(size=(100, D)) - 2
        return X, {"queries": Q, "relevant": [[int(row)] for row in order[:100]]}
    return X, {"classes": classes[order]}


def graded_pairs():
    return told("graded pairs")[1]


KINDS = {
    "graded pairs": None,
    "alike pairs": None,
    "classes": "classes",
    "clusters": "clusters",
    "queries": "search",
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_correct_a_cone_and_leave_good_rows_alone(kind):
    X, given = told(kind, cone=8.0)
    auto = AutoCorrector(KINDS[kind]).fit(X, **given)
    (entry,) = [one for one in auto.report_.candidates if one["chosen"]]
    assert auto.chosen_ != "none" and entry["difference"] > 0.05 and entry["low"] > 0
    assert auto.report_.task == (KINDS[kind] or "similarity")
    assert next(iter(auto.report_.evidence.values())) in (100, 200, 240)
    X, given = told(kind)
    auto = AutoCorrector(KINDS[kind], tolerance=2).fit(X, **given)
    (entry,) = [one for one in auto.report_.candidates if one["chosen"]]
    assert entry["difference"] >= 0
    assert "nDCG" in auto.reason_ or kind != "queries"


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_change_nothing(kind):
    for seed in range(2 if kind == "clusters" else 4):
        X, given = told(kind, cone=8.0 * (seed % 2), seed=seed, shuffle=True)
        auto = AutoCorrector(KINDS[kind]).fit(X, **given)
        plain = AutoCorrector(KINDS[kind]).fit(X, queries=given.get("queries"))
        assert "say nothing of the rows" in auto.reason_ and auto.chosen_ == plain.chosen_
        assert auto.report_.criterion == plain.report_.criterion


@pytest.mark.parametrize(
    "given",
    [
        {"pairs": [[0, 1]] * 19, "pair_scores": range(19)},
        {"pairs": [[k, k] for k in range(50)], "pair_scores": range(50)},
        {"pairs": [[k, k + 1] for k in range(50)], "pair_scores": [1] + [0] * 49},
        {"classes": [None] * 230 + [1, 2] * 5},
        {"queries": np.ones((30, D)), "relevant": [[1]] * 19 + [[], None, {3: 0.0}, ()] + [[]] * 7},
    ],
    ids=["pairs", "of rows with themselves", "of one alike", "classes", "queries"],
)
def test_few_labels_change_nothing_and_are_told(given):
    X = world()[0]
    assert "too few to choose by" in str(advise(X, **given))
    auto = AutoCorrector().fit(X, **given)
    plain = AutoCorrector().fit(X, queries=given.get("queries"))
    assert auto.chosen_ == plain.chosen_ and "too few to choose by" in auto.reason_
    assert auto.report_.criterion == "neighbours kept"


PAIR = {"pairs": np.arange(60).reshape(30, 2), "pair_scores": np.arange(30.0)}
QUERY = {"queries": np.ones((30, D)), "relevant": [[1]] * 30}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PAIR | {"pair_scores": None}, "pair_scores is missing"),
        (PAIR | {"pairs": None}, "pair_scores needs pairs"),
        (PAIR | {"pair_scores": np.full(30, np.nan)}, r"pair_scores\[0\] is nan"),
        (PAIR | {"pair_scores": [*range(29), np.inf]}, r"pair_scores\[29\] is inf"),
        (PAIR | {"pair_scores": range(29)}, "30 finite numbers"),
        (PAIR | {"pair_scores": np.ones(30)}, "all the same"),
        (PAIR | {"pairs": PAIR["pairs"] + 200}, r"from 0 to 239, got 259"),
        (PAIR | {"pairs": PAIR["pairs"] - 1}, r"from 0 to 239, got -1"),
        (PAIR | {"pairs": PAIR["pairs"] * 1.0}, "integers"),
        ({"classes": [1, 2] * 100}, "one a row, 240"),
        ({"classes": np.eye(2)[[0, 1] * 120]}, "lists"),
        ({"classes": ["a"] * N}, "all the same"),
        ({"classes": range(N)}, "all different"),
        (QUERY | {"queries": None}, "needs queries"),
        (QUERY | {"queries": Moments().update(np.ones((3, D)))}, "needs queries: rows"),
        (QUERY | {"relevant": [[1]] * 29}, "each of 30 queries, got 29"),
        (QUERY | {"relevant": [[]] * 30}, "no row for any query"),
        (QUERY | {"relevant": [{1: 0.0}] * 30}, "no row for any query"),
        (QUERY | {"relevant": [[1]] * 29 + [[240]]}, r"relevant\[29\].* got 240"),
        (QUERY | {"relevant": [[-1]] * 30}, r"relevant\[0\].* got -1"),
        (QUERY | {"relevant": [3] * 30}, r"relevant\[0\].* got 3"),
        (QUERY | {"relevant": [[1.5]] * 30}, r"relevant\[0\].* got \[1.5\]"),
        (QUERY | {"relevant": [{1: np.nan}] * 30}, r"relevant\[0\].*nan"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_a_line(given, said):
    auto = AutoCorrector()
    with pytest.raises(ValueError, match=said) as raised:
        auto.fit(world()[0], **given)
    assert "\n" not in str(raised.value) and not hasattr(auto, "report_")


@pytest.mark.parametrize("missing", [None, np.nan, np.datetime64("NaT")], ids=str)
@pytest.mark.parametrize("task", ["classes", "clusters"])
def test_rows_without_a_label_are_not_judged(missing, task):
    classes = world()[2].astype(object)
    classes[::3] = missing
    (kind,) = labelled(N, task=task, classes=classes).kinds
    assert kind.size == 160 and set(kind.rows[:160] % 3) == {1, 2}
    assert len(kind.rows) == (160 if task == "classes" else N)
    if missing is None:
        column = pyarrow.chunked_array([classes.tolist()])
        assert labelled(N, task=task, classes=column).kinds[0].size == 160
    (kind,) = labelled(N, classes=np.where(classes == classes, world()[2] % 2 * 2 - 1, -1)).kinds
    assert kind.size == N  # -1 is a class


def test_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    pairs, alike = np.arange(80).reshape(40, 2), rng.integers(2, size=40)
    found = rng.integers(8, size=40) / 8  # with ties
    arange = np.arange(40)[None]
    value = AlikePairs(pairs, alike).resampled(found, arange)
    assert value == pytest.approx(average_precision_score(alike, found))
    numbers, clusters = rng.integers(K, size=(2, 40))
    kind = Clusters(np.arange(40), np.concatenate([np.arange(K), numbers[K:]]), np.arange(0))
    value = kind.resampled(np.array([clusters] * 4), arange)
    assert value == pytest.approx(v_measure_score(kind._numbers, clusters))
    X, truth, _, _ = world()
    grades = {k: {k: 1.0, k + 20: 3.0, k + 40: -1.0} for k in range(20)}
    kind = JudgedQueries(truth[:25], grades, N, 0)
    corrector = TaperedWhitening(0.5).fit(X)
    Y, Z = (
        unit(one)
        for one in (corrector.transform(X), corrector.for_queries(truth[:25]).transform(truth[:20]))
    )
    judged = np.zeros((20, N))
    for k in range(20):
        judged[k, [k, k + 20]] = 1, 3
    wanted = ndcg_score(judged, Z @ Y.T, k=10)
    assert kind.resampled(kind.seen(corrector, X), arange[:, :20]) == pytest.approx(wanted)


def chosen_by(X, labels, tolerance=1.0, mine=None):
    options = candidates(mine, n_components=None, normalize="none")
    options = fitted(options, Moments(unit="sums").update(X))
    return judge(options, as_rows(X), labels, tolerance), options


def test_the_one_chosen_gains_most_surely():
    X, given = told("graded pairs", cone=2.0)
    labels = labelled(N, **given)
    for tolerance in (0.0, 1.0, 1e6):
        verdict, _ = chosen_by(X, labels, tolerance)
        low = verdict.values - verdict.values[0] - tolerance * verdict.errors
        assert low[verdict.pick] == low.max() >= 0
    assert verdict.pick == 0


def test_one_with_a_larger_value_is_named_with_the_reason():
    X, given = told("graded pairs", cone=2.0)
    for tolerance in (1.0, 1e6):
        verdict, options = chosen_by(X, labelled(N, **given), tolerance)
        best = int(verdict.values.argmax())
        named = f"{options[best].name} has {verdict.values[best]:.3f}, but"
        assert (named in verdict.reason) == (best != verdict.pick)
    assert best != verdict.pick == 0 and "standard error" in verdict.reason


def test_of_several_kinds_none_is_made_worse():
    rng = np.random.default_rng(0)
    # Pairs follow the first half of the dimensions, classes the second.
    X = rng.normal(size=(N, D)) * np.repeat([1.0, 3.0], D // 2)
    pairs = rng.integers(N, size=(200, 2))
    U = unit(X[:, : D // 2])
    graded = GradedPairs(pairs, (U[pairs[:, 0]] * U[pairs[:, 1]]).sum(1))
    (classes,) = labelled(N, classes=np.argmax(X[:, D // 2 :], 1)).kinds
    both = Labels((graded, classes))
    mine = [ComponentRemoval(D // 2), TaperedWhitening(1.0)]
    alone, options = chosen_by(X, Labels((graded,)), mine=mine)
    assert options[alone.pick].name == "ComponentRemoval(n_components=8)"
    other, _ = chosen_by(X, Labels((classes,)), mine=mine)
    verdict, _ = chosen_by(X, both, mine=mine)
    low = other.values - other.values[0] - other.errors
    assert low[verdict.pick] >= -0.005 and verdict.pick != alone.pick
    assert both.task is None and len(verdict.evidence) == 2
    # A kind that says nothing is left out.
    noise = GradedPairs(pairs, rng.random(200))
    verdict, _ = chosen_by(X, Labels((noise, graded)), mine=mine)
    assert verdict.pick == alone.pick and "say nothing" in verdict.reason
    np.testing.assert_array_equal(verdict.values, alone.values)


def test_many_rows_are_not_all_looked_at():
    n = 100_000
    rng = np.random.default_rng(0)
    relevant = [[int(row)] for row in rng.integers(n, size=50)]
    (queries,) = labelled(n, queries=np.ones((50, 3)), relevant=relevant).kinds
    assert len(queries.rows) == 20_000 and set(np.ravel(relevant)) <= set(queries.rows.tolist())
    classes = rng.integers(9, size=n)
    for task, most in (("classes", 3000), ("clusters", 1500)):
        assert len(labelled(n, task=task, classes=classes).kinds[0].rows) == most
    pairs = {"pairs": rng.integers(n, size=(n, 2)), "pair_scores": rng.random(n)}
    assert labelled(n, **pairs).kinds[0].size == 5000


@pytest.mark.parametrize("cone", [0.0, 8.0])
def test_more_rows_do_not_undo_what_labels_chose(tmp_path, cone):
    X, given = told("classes", cone=cone)
    auto = AutoCorrector().fit(X, **given)
    before = auto.chosen_, auto.report_
    auto.save(tmp_path / "auto.safetensors", moments=True)
    for one in (auto, load(tmp_path / "auto.safetensors")):
        one.partial_fit(X + 100)
        assert (one.chosen_, one.report_) == before
        np.testing.assert_allclose(one.mean_, X.mean(0) + 50)


def test_no_candidates_leave_nothing_to_choose():
    X, given = told("classes")
    assert AutoCorrector(candidates=[]).fit(X, **given).chosen_ == "none"
    np.testing.assert_allclose(
        AutoCorrector(candidates=[]).fit(X, **given).transform(X),
        MeanRemoval(0.0).fit(X).transform(X),
    )


def test_the_risk_told_is_the_one_measured():
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "choose_labels.json"
    kinds = {
        "graded pairs": GradedPairs,
        "alike pairs": AlikePairs,
        "search": JudgedQueries,
        "classes": Neighbours,
        "clusters": Clusters,
    }
    found = {kind: {} for kind in kinds.values()}
    for row in json.loads(path.read_text("utf-8"))["rows"]:
        if "default" in row["choice"]:
            risk = (row["draws"], row["hurt"], row["worst harm"])
            found[kinds[row["kind"]]][row["labels"]] = risk
    told = {k: {n: (r.cells, r.hurt, r.worst) for n, r in v.items()} for k, v in MEASURED.items()}
    assert told == found
    auto = AutoCorrector().fit(world()[0], **graded_pairs())
    assert auto.report_.risk == MEASURED[GradedPairs][200]
