import json

import numpy as np
import pytest
from cases import Blocks
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from isotropy import ComponentRemoval, MeanRemoval, Moments, Whitening, compare, score
from isotropy.metrics import METRICS


@pytest.fixture
def counted(monkeypatch):
    """How often rows were read into Moments, and how."""
    calls = []
    update = Moments.update

    def counting(self, X, *args, **kwargs):
        calls.append(self.unit)
        return update(self, X, *args, **kwargs)

    monkeypatch.setattr(Moments, "update", counting)
    return calls


@pytest.fixture
def large(monkeypatch):
    """No job counts as small."""
    monkeypatch.setattr("isotropy.scoring.scorecard.is_small", lambda n, d: False)


class Doubling(TransformerMixin, BaseEstimator):
    """A corrector that is none of ours; it counts what it is given at a time."""

    def __init__(self, seen=None):
        self.seen = seen

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return 2 * X


def test_card_holds_what_each_function_gives(gaussian):
    card = score(gaussian, "all")
    assert list(card) == list(METRICS)
    for name, value in card.items():
        assert value == pytest.approx(METRICS[name].function(gaussian), rel=1e-9, nan_ok=True)
        assert card.scores[name].floor == METRICS[name].floor(200, 10)
        assert card.scores[name].ideal == METRICS[name].ideal_at(10)
    assert card.shape == (200, 10)
    assert card.scores["sphericity"].p_value < 1e-6
    assert card.scores["mean_cosine"].standard_error > 0
    assert not card.left_out


def test_moments_only_metrics_take_one_pass_and_one_decomposition(gaussian, counted, monkeypatch):
    decomposed = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: decomposed.append(a) or eigh(a))
    score(gaussian, [metric.name for metric in METRICS.values() if metric.needs == "moments"])
    assert counted == ["sums"]
    assert len(decomposed) == 2  # of the covariance, and of X'X


def test_large_jobs_leave_out_what_costs_more(gaussian, large, counted):
    card = score(gaussian)
    assert counted == ["sums"]
    assert {METRICS[name].needs for name in card} == {"moments"}
    assert "metrics='all'" in card.left_out["cosine_spread"]
    assert "metrics='all'" in card.left_out["uniformity"]
    assert "metrics='all'" in str(card)
    with pytest.raises(KeyError, match="left out: it needs the rows"):
        card["uniformity"]
    assert list(score(gaussian, "all")) == list(METRICS)


def test_a_list_takes_exactly_those(gaussian, large):
    card = score(gaussian, ["uniformity", "mean_cosine"])
    assert list(card) == ["uniformity", "mean_cosine"]
    assert not card.left_out
    assert "isoscore" not in card


def test_unknown_names_are_refused_with_the_nearest(gaussian):
    with pytest.raises(ValueError, match="Did you mean 'isoscore'"):
        score(gaussian, ["isoscor"])
    with pytest.raises(ValueError, match="'all' or a list"):
        score(gaussian, "isoscore")


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        score(np.empty((0, 4)))
    with pytest.raises(ValueError, match="no rows"):
        score(Moments())


def test_moments_are_scored_where_they_suffice(gaussian):
    whole, plain = score(gaussian, "all"), score(Moments.from_rows(gaussian))
    assert set(whole) - set(plain) == {
        name for name, metric in METRICS.items() if metric.needs != "moments"
    }
    assert "Gram" in plain.left_out["cosine_spread"]
    assert "needs the rows" in plain.left_out["uniformity"]
    for name in plain:
        assert plain[name] == pytest.approx(whole[name], rel=1e-9, nan_ok=True)
    bare = score(Moments.from_rows(gaussian, unit="none", order=2))
    assert "mean_cosine" in bare.left_out and "isoscore" in bare.left_out
    assert bare["isoscore_plain"] == pytest.approx(whole["isoscore_plain"])
    assert bare.n_zero_rows is None
    means = score(Moments.from_rows(gaussian, order=1))
    assert means["mean_cosine"] == pytest.approx(whole["mean_cosine"])
    assert "covariance" in means.left_out["effective_rank"]


def test_weights_reach_every_metric(weighted):
    rows, counts, repeated = weighted
    card, whole = score(rows, "all", counts), score(repeated, "all")
    for name in whole:
        assert card[name] == pytest.approx(whole[name], rel=1e-8, nan_ok=True)
    assert card.n == counts.sum()
    p = counts / counts.sum()
    by_probability = score(rows, "all", p, weight_type="probability")
    assert by_probability["effective_rank"] == pytest.approx(whole["effective_rank"])
    assert by_probability["uniformity"] != pytest.approx(whole["uniformity"], abs=1e-4)
    assert by_probability.n == pytest.approx(1 / (p**2).sum())
    assert "weights amount to" in str(by_probability)


@pytest.mark.parametrize("kind", ["blocks", "list", "torch", "bfloat16", "frame", "read-only"])
def test_rows_of_every_kind(kind, gaussian):
    rows = gaussian.astype(np.float32)
    if kind == "blocks":
        given = Blocks(rows)
    elif kind == "list":
        given = rows.tolist()
    elif kind in ("torch", "bfloat16"):
        torch = pytest.importorskip("torch")
        given = torch.as_tensor(rows)
        if kind == "bfloat16":
            given = given.bfloat16()
            rows = given.float().numpy()
    elif kind == "frame":
        given = pytest.importorskip("pandas").DataFrame(rows)
    else:
        given = rows.copy()
        given.setflags(write=False)
    card, expected = score(given, "all"), score(rows, "all")
    for name in expected:
        assert card[name] == pytest.approx(expected[name], rel=1e-5, nan_ok=True), name


def test_zero_rows_are_told(gaussian):
    gaussian[:3] = 0
    card = score(gaussian)
    assert card.n_zero_rows == 3
    assert "3 zero rows" in str(card)


def test_json_is_valid_and_keeps_infinities(gaussian):
    gaussian[:, 0] = 1
    card = score(gaussian - gaussian.mean(0))
    assert card["kl_divergence"] == np.inf and np.isnan(card["top_contribution"])

    def refuse(constant):
        raise AssertionError(constant)

    told = json.loads(card.to_json(), parse_constant=refuse)
    assert told["metrics"]["kl_divergence"]["value"] == "inf"
    assert told["metrics"]["top_contribution"]["value"] is None
    assert told["metrics"]["isoscore"]["value"] == card["isoscore"]
    assert told["n_rows"] == 200


def test_every_export_of_a_card(gaussian):
    card = score(gaussian)
    assert card.to_dict()["metrics"]["isoscore"]["value"] == card["isoscore"]
    lines = card.to_markdown().splitlines()
    assert lines[0].startswith("| metric | value | floor | ideal |")
    assert len(lines) == 2 + len(card) + 2  # and what was left out
    assert max(map(len, str(card).splitlines())) <= 100
    assert "isoscore" in repr(card)
    html = card._repr_html_()
    assert html.count("<tr>") == 1 + len(card)
    pandas = pytest.importorskip("pandas")
    frame = card.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc["isoscore", "value"] == card["isoscore"]


CORRECTORS = {
    "centred": MeanRemoval(),
    "three removed": ComponentRemoval(3),
    "whitened": Whitening("pca", n_components=6),
}


def assert_same(card, expected, names=None):
    """Equal cards, less the partition function over eigenvectors of equal eigenvalues."""
    for name in names or expected:
        loose = name in ("partition_isotropy", "partition_gaussian") and (
            expected["condition_number"] < 1.01
        )
        tolerance = 0.02 if loose else 1e-6
        assert card[name] == pytest.approx(expected[name], rel=tolerance, abs=1e-6, nan_ok=True), (
            name
        )


def test_comparison_scores_each_corrector_as_one_would(gaussian):
    table = compare(gaussian, CORRECTORS)
    assert list(table.scorecards) == ["raw", *CORRECTORS]
    for name, corrector in CORRECTORS.items():
        expected = score(corrector.fit_transform(gaussian))
        assert set(table[name]) == set(expected)
        assert_same(table[name], expected)
    assert table["whitened"].shape == (200, 6)


def test_estimators_given_stay_unfitted(gaussian):
    corrector = MeanRemoval()
    compare(gaussian, {"centred": corrector}, ["mean_cosine"])
    assert not hasattr(corrector, "affine_map_")


def test_fitted_correctors_are_taken_as_they_are(gaussian):
    fitted = MeanRemoval().fit(gaussian + 5)
    table = compare(gaussian, {"other": fitted}, ["mean_cosine"], refit=False)
    expected = score(gaussian - (gaussian.mean(0) + 5), ["mean_cosine"])
    assert table["other"]["mean_cosine"] == pytest.approx(expected["mean_cosine"])
    refitted = compare(gaussian, {"other": fitted}, ["mean_cosine"])
    assert abs(refitted["other"]["mean_cosine"]) < 0.01


def test_any_transformer_may_be_compared(gaussian):
    correctors = {
        "none": None,
        "sklearn": PCA(whiten=True),
        "pipeline": make_pipeline(MeanRemoval(), Doubling()),
    }
    table = compare(gaussian, correctors)
    assert table["none"] is table["raw"]
    assert table["sklearn"]["isoscore_plain"] == pytest.approx(1, abs=1e-6)
    assert table["pipeline"]["mean_cosine"] == pytest.approx(
        score(gaussian - gaussian.mean(0))["mean_cosine"], abs=1e-9
    )


def test_corrected_rows_are_never_held_together(gaussian, large, monkeypatch):
    monkeypatch.setattr("isotropy.moments.rows_at_a_time", lambda rows: 32)
    seen = []
    monkeypatch.setattr(Doubling, "transform", lambda self, X: seen.append(len(X)) or 2 * X)
    table = compare(gaussian, {"doubled": Doubling()})
    assert max(seen) == 32 and sum(seen) == 1 + 200  # one row tells the width
    assert table["doubled"]["rankme"] == pytest.approx(table["raw"]["rankme"])
    assert "uniformity" in table["doubled"].left_out


def test_affine_correctors_are_fitted_without_reading_the_rows_again(gaussian, counted, large):
    compare(gaussian, {"centred": MeanRemoval(), "whitened": Whitening()})
    streams = [unit for unit in counted if unit == "none"]
    assert not streams  # a fit of its own would gather moments without unit sums
    counted.clear()
    compare(gaussian, {"normalized": MeanRemoval(normalize="before")})
    assert "none" in counted


def test_streamed_rows_are_compared_in_blocks(gaussian):
    pipeline = make_pipeline(MeanRemoval(), Doubling())
    correctors = {**CORRECTORS, "pipeline": pipeline}
    table, expected = compare(Blocks(gaussian), correctors), compare(gaussian, correctors)
    for name, card in expected.scorecards.items():
        assert_same(table[name], card)


def test_moments_are_compared_in_closed_form(gaussian):
    table = compare(Moments.from_rows(gaussian), CORRECTORS)
    expected = compare(gaussian, CORRECTORS)
    for name in CORRECTORS:
        assert "mean_cosine" in table[name].left_out
        assert_same(table[name], expected[name], table[name])
    assert "effective_rank" in table["whitened"]
    assert "needs the corrected rows" in str(table)


def test_moments_cannot_show_what_is_not_affine(gaussian):
    moments = Moments.from_rows(gaussian)
    table = compare(moments, {"after": MeanRemoval(normalize="after")})
    assert not len(table["after"])
    assert "after: needs the corrected rows: the corrector normalizes after" in str(table)
    unit = Moments.from_rows(gaussian, normalize=True)
    before = {"before": MeanRemoval(normalize="before")}
    expected = compare(gaussian, before)["before"]["effective_rank"]
    assert compare(unit, before)["before"]["effective_rank"] == pytest.approx(expected)
    fitted = {"before": MeanRemoval(normalize="before").fit(gaussian)}
    assert not len(compare(moments, fitted, refit=False)["before"])
    pipeline = make_pipeline(MeanRemoval())
    with pytest.raises(ValueError, match="'pipeline' cannot be fitted to Moments"):
        compare(moments, {"pipeline": pipeline})
    fitted = {"pipeline": pipeline.fit(gaussian)}
    assert "not an affine map" in str(compare(moments, fitted, refit=False))


def test_weights_reach_the_fit_and_the_score(weighted):
    rows, counts, repeated = weighted
    correctors = {"whitened": Whitening(), "normalized": MeanRemoval(normalize="both")}
    table = compare(rows, correctors, sample_weight=counts)
    expected = compare(repeated, correctors)
    for name, card in expected.scorecards.items():
        assert_same(table[name], card)
    with pytest.raises(ValueError, match="'pca' takes no sample_weight"):
        compare(rows, {"pca": PCA()}, sample_weight=counts)


def test_every_export_of_a_comparison(gaussian):
    table = compare(gaussian, CORRECTORS)
    assert (
        table.to_dict()["centred"]["metrics"]["isoscore"]["value"] == table["centred"]["isoscore"]
    )
    told = json.loads(table.to_json())
    assert told["raw"]["metrics"]["mean_cosine"]["value"] == table["raw"]["mean_cosine"]
    assert max(map(len, str(table).splitlines())) <= 100
    assert "(dimensions)" in str(table)
    assert "(dimensions)" not in str(compare(gaussian, {"centred": MeanRemoval()}))
    header = table.to_markdown().splitlines()[0]
    assert header == "| metric | raw | centred | three removed | whitened | floor | ideal |"
    assert "<th>three removed</th>" in table._repr_html_()
    pytest.importorskip("pandas")
    frame = table.to_frame()
    assert list(frame.columns) == ["raw", *CORRECTORS]
    assert frame.loc["isoscore", "centred"] == table["centred"]["isoscore"]


def test_bars_in_a_name_do_not_break_a_table(gaussian):
    table = compare(gaussian, {"a|b <i>": None}, ["isoscore"])
    assert "a\\|b <i>" in table.to_markdown()
    assert "a|b &lt;i&gt;" in table._repr_html_()


def test_float32_products_of_large_jobs_change_little(large_job):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(500, 24)) * np.linspace(0.3, 2, 24) + 2).astype(np.float32)
    card, expected = score(rows, "all"), score(rows.astype(np.float64), "all")
    assert_same(card, expected, [name for name in expected if name != "cosine_spread"])
    assert card["cosine_spread"] == pytest.approx(expected["cosine_spread"], rel=1e-4)


def test_input_is_not_written_to(gaussian):
    before = gaussian.copy()
    compare(gaussian, CORRECTORS, "all")
    np.testing.assert_array_equal(gaussian, before)


@pytest.mark.parametrize("shape", [(1, 5), (2, 5), (50, 1), (1, 1)])
def test_few_rows_or_dimensions_give_nan_and_no_warning(shape, recwarn):
    card = score(np.random.default_rng(0).normal(size=shape), "all")
    assert not recwarn.list
    assert np.isnan(card["isoscore"]) and np.isnan(card["top_contribution"])
    assert all(isinstance(value, float) for value in card.values())
    json.loads(card.to_json())
