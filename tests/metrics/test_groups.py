"""How far groups stand apart: floors that chance reaches, and figures that say what they say."""

import json

import numpy as np
import pytest

from isotropy import ConceptErasure, GroupMeanRemoval
from isotropy.metrics import group_gap

RNG = np.random.default_rng(0)
G = RNG.choice(["a", "b", "c"], 300, p=[0.5, 0.3, 0.2])
X = RNG.normal(size=(300, 6)) + 1000
APART = X + np.array([{"a": 0, "b": 2, "c": 4}[g] for g in G])[:, None]


def test_groups_dealt_at_random_reach_the_floors():
    drawn = [group_gap(X, np.random.default_rng(s).permutation(G)) for s in range(20)]
    for name, within in (("variance", 0.2), ("neighbors", 0.05)):
        figures = [getattr(gap, name) for gap in drawn]
        mean = np.mean([f.value for f in figures])
        assert mean == pytest.approx(figures[0].floor, rel=within)
        assert sum(figure.beyond_chance for figure in figures) <= 4
    assert not any(gap.probe.beyond_chance for gap in drawn)


def test_the_variance_between_is_that_of_the_slow_way():
    gap = group_gap(APART, G)
    means = np.array([APART[g == G].mean(0) for g in G])
    total = np.square(APART - APART.mean(0)).sum()
    between = np.square(means - APART.mean(0)).sum()
    assert gap.variance.value == pytest.approx(between / total, rel=1e-9)
    assert gap.distance.value == pytest.approx(np.sqrt(between / (total - between)), rel=1e-9)
    assert gap.groups == {g: int((g == G).sum()) for g in "abc"}


def test_groups_that_lie_apart_are_told_and_after_removal_they_do_not():
    rows = APART - 1000
    gap = group_gap(rows, G)
    assert all(figure.beyond_chance for _, figure in gap.figures())
    assert gap.probe.value > 0.9
    removed = GroupMeanRemoval().fit_transform(rows, groups=G)
    erased = ConceptErasure().fit_transform(rows, G)
    for after in (group_gap(removed, G), group_gap(erased, G)):
        assert not after.variance.beyond_chance
        assert not after.probe.beyond_chance
        assert after.neighbors.value < gap.neighbors.value - 0.2


def test_it_shows_itself_and_is_json():
    gap = group_gap(APART, G, n_neighbors=5)
    assert "own group in 5-NN" in str(gap) and "300 rows in 3 groups." in str(gap)
    assert "<table>" in gap._repr_html_()
    assert json.loads(json.dumps(gap.to_dict()))["groups"][0][0] == "a"
    fewer = group_gap(APART, np.where(np.arange(300) < 50, None, G), max_rows=100)
    assert fewer.n_rows == 100


def test_identical_rows_have_figures():
    gap = group_gap(np.ones((40, 3)), np.arange(40) % 2)
    assert gap.variance.value == 0
    assert all(np.isfinite(figure.value) for _, figure in gap.figures())


@pytest.mark.parametrize(
    ("rows", "groups", "options", "told"),
    [
        (X, None, {}, "groups is missing"),
        (X, G[:-1], {}, "labels of shape"),
        (X, np.zeros(300, int), {}, "At least two groups"),
        (X[:9], G[:9], {}, "20 rows are needed"),
        (X, np.column_stack([G, G]), {}, "one label a row"),
        (X, G, {"n_neighbors": 0}, "n_neighbors must be"),
        (np.where(np.arange(300)[:, None] == 7, np.nan, X), G, {}, "row 7"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(rows, groups, options, told):
    with pytest.raises(ValueError, match=told) as caught:
        group_gap(rows, groups, **options)
    assert "\n" not in str(caught.value)
