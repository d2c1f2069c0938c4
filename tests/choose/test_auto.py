"""The choice: none where nothing helps, strong where a cone hides the texts, and reasons."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from isotropy import (
    AutoCorrector,
    ComponentRemoval,
    MeanRemoval,
    Moments,
    TaperedWhitening,
    Whitening,
    compare,
    load,
)
from isotropy.choose import word_dropout
from isotropy.choose.evidence import Overlap, PairScores
from isotropy.ranking import spearman, unit

WORDS = np.array([f"word{i}" for i in range(300)])


def corpus(n=600, d=48, seed=0, cone=0.0, length=8):
    """Texts of words about topics, and rows that are the sums of their words' vectors."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(300, 0.05), size=20)
    drawn = np.array([rng.choice(300, length, p=topics[rng.integers(20)]) for _ in range(n)])
    vectors = rng.normal(size=(300, d))
    X = vectors[drawn].sum(1) + 0.5 * rng.normal(size=(n, d))
    if cone:
        # A few directions that say nothing of the words drown the rest.
        X = X + cone * rng.normal(size=(n, 3)) @ rng.normal(size=(3, d)) + 5 * cone * np.ones(d)
    texts = [" ".join(WORDS[row]) for row in drawn]
    truth = vectors[drawn].sum(1)
    return X, texts, truth


def judged(truth, m=200, seed=1):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, len(truth), size=(m, 2))
    rows = unit(truth)
    return pairs, (rows[pairs[:, 0]] * rows[pairs[:, 1]]).sum(1)


def quality(corrector, X, truth):
    pairs, scores = judged(truth, 3000, seed=9)
    Y = unit(corrector.transform(X))
    return spearman((Y[pairs[:, 0]] * Y[pairs[:, 1]]).sum(1), scores)


@pytest.mark.parametrize("cone", [0.0, 8.0])
@pytest.mark.parametrize("by", ["texts", "pairs", "both", "views", "classes"])
def test_it_corrects_a_cone_and_leaves_good_rows_alone(cone, by):
    X, texts, truth = corpus(cone=cone)
    pairs, scores = judged(truth)
    labelled = {"pairs": pairs, "pair_scores": scores}
    given = {
        "texts": {"texts": texts},
        "pairs": labelled,
        "both": {"texts": texts, **labelled},
        "views": {"views": X + 0.5 * np.random.default_rng(5).normal(size=X.shape)},
        "classes": {"classes": truth[:, :2].sum(1) > 0},
    }[by]
    auto = AutoCorrector(criterion="views" if by == "views" else "overlap").fit(X, **given)
    raw, found = quality(MeanRemoval().fit(X), X, truth), quality(auto, X, truth)
    plain = quality(AutoCorrector([]).fit(X), X, truth)
    if by != "views":  # views know nothing of what texts say: with them it may go too far
        assert found > plain - 0.02
    if cone and by not in ("views", "classes"):
        assert found > raw + 0.2 and auto.chosen_ != "none"
    assert sum(entry["chosen"] for entry in auto.report_.candidates) == 1
    assert auto.reason_ in str(auto.report_) and auto.report_.criterion in str(auto.report_)


def test_embeddings_alone_go_by_the_mean_cosine():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 32))
    assert AutoCorrector().fit(X).corrector_ is None
    np.testing.assert_array_equal(AutoCorrector().fit_transform(X), X)
    assert AutoCorrector().fit(X + 0.8).chosen_ == "TaperedWhitening(power=0.75)"
    assert AutoCorrector().fit(X + 5).chosen_ == "TaperedWhitening(power=1.0)"
    assert "0.96, so they lie in a cone" in AutoCorrector().fit(X + 5).reason_
    moments = Moments(unit="sums").update(X + 5)
    np.testing.assert_allclose(
        AutoCorrector().fit_moments(moments).transform(X), AutoCorrector().fit(X + 5).transform(X)
    )


def test_dimensions_are_kept_whatever_is_chosen():
    X, texts, _ = corpus(cone=8.0)
    for rows in (X, np.random.default_rng(0).normal(size=X.shape)):
        auto = AutoCorrector(n_components=10).fit(rows, texts=texts)
        assert auto.transform(rows).shape == (600, 10)
    # Without a correction, the ten in which rows are longest: cosines change least.
    rotation = AutoCorrector(n_components=48).fit(np.random.default_rng(0).normal(size=(600, 48)))
    Y = rotation.transform(X)
    np.testing.assert_allclose(Y @ Y.T, X @ X.T, rtol=1e-8, atol=1e-6)


def test_queries_move_about_their_own_mean():
    X, _, truth = corpus(cone=8.0)
    Q = truth[:50] + 7
    relevant = [{row: 1.0} for row in range(50)]
    auto = AutoCorrector().fit(X, queries=Q, relevant=relevant)
    assert auto.chosen_ != "none"
    np.testing.assert_allclose(auto.transform_queries(Q).mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(
        auto.transform_queries(Q), auto.transform(Q - Q.mean(0) + X.mean(0)), atol=1e-9
    )
    plain = AutoCorrector().fit(X)
    np.testing.assert_array_equal(plain.transform_queries(Q), plain.transform(Q))
    lists = AutoCorrector().fit(X, queries=Q, relevant=[[row] for row in range(50)])
    assert lists.chosen_ == auto.chosen_


def test_candidates_of_ones_own():
    X, _, truth = corpus(cone=8.0)
    pairs, scores = judged(truth)
    mine = [ComponentRemoval(1), ComponentRemoval(3), Whitening()]
    auto = AutoCorrector(mine).fit(X, pairs=pairs, pair_scores=scores)
    assert auto.chosen_ in ("ComponentRemoval(n_components=3)", "Whitening(power=1.0)")
    assert auto.report_.candidates[0]["corrector"] == "none"
    assert not hasattr(mine[1], "affine_map_")  # clones are fitted


def test_a_larger_tolerance_never_corrects_more():
    X, _, truth = corpus(cone=3.0)
    pairs, scores = judged(truth, 60)
    order = [
        c["corrector"]
        for c in AutoCorrector().fit(X, pairs=pairs, pair_scores=scores).report_.candidates
    ]
    picks = [
        order.index(AutoCorrector(tolerance=t).fit(X, pairs=pairs, pair_scores=scores).chosen_)
        for t in (0, 0.5, 1, 2, 100)
    ]
    assert picks == sorted(picks, reverse=True) and picks[-1] == 0


def test_an_encoder_makes_the_views():
    X, texts, _ = corpus(cone=8.0)
    place, seen = dict(zip(texts, X, strict=True)), []

    def encoder(some):
        seen.extend(some)
        return np.array([place.get(text, X.mean(0)) for text in some])

    auto = AutoCorrector(criterion="views", encoder=encoder).fit(X, texts=texts)
    assert len(seen) == 600 and all(seen)
    assert auto.report_.criterion.startswith("retrieval of a text by its view")
    assert word_dropout(["a b c d"], 1.0) == ["a"] and word_dropout(["a b"], 0.0) == ["a b"]


def test_it_is_saved_composed_and_compared(tmp_path):
    X, texts, _ = corpus(cone=8.0)
    auto = AutoCorrector().fit(X, texts=texts)
    auto.save(tmp_path / "auto.safetensors")
    back = load(tmp_path / "auto.safetensors")
    assert (back.chosen_, back.reason_) == (auto.chosen_, auto.reason_)
    np.testing.assert_array_equal(back.transform(X), auto.transform(X))
    assert compare(X, {"auto": AutoCorrector()}, ["mean_cosine"])["auto"]["mean_cosine"] < 0.1
    pipe = make_pipeline(AutoCorrector(), TaperedWhitening(0.5))
    assert clone(pipe).fit(X).transform(X).shape == X.shape


def test_too_little_to_go_by_falls_back_to_the_spectrum():
    X = np.random.default_rng(0).normal(size=(20, 8)) + 9
    auto = AutoCorrector().fit(X, texts=["a text"] * 20)
    assert auto.report_.criterion == "mean cosine of the rows"
    wordless = AutoCorrector().fit(np.tile(X, (4, 1)), texts=["!?", "", "..", " "] * 20)
    assert wordless.report_.criterion == "mean cosine of the rows"
    same = AutoCorrector().fit(np.ones((60, 8)), texts=["same"] * 60)
    assert np.isfinite(same.transform(np.ones((2, 8)))).all()


WRONG = [
    ({"texts": ["a"]}, "texts must be 600 strings"),
    ({"texts": [1] * 600}, "texts must be 600 strings"),
    ({"pairs": [[0, 600]], "pair_scores": [1.0]}, "row numbers from 0 to 599"),
    ({"pairs": [[0, 1]]}, "pair_scores is missing"),
    ({"pairs": [[0, 1], [1, 2]], "pair_scores": [1.0, 1.0]}, "all the same"),
    ({"pairs": [[0, 1], [1, 2]], "pair_scores": [1.0, np.nan]}, "finite"),
    ({"pairs": [[0.5, 1]], "pair_scores": [1.0]}, "integers"),
    ({"classes": [1] * 600}, "at least two kinds"),
    ({"classes": [1, 2]}, "one a row"),
    ({"views": np.zeros((3, 48))}, "views must have shape"),
    ({"relevant": [[1]]}, "needs queries"),
    ({"queries": np.zeros((1, 48)), "relevant": [[]]}, r"relevant\[0\]"),
    ({"classes": [0, 1] * 300, "pairs": [[0, 1]]}, "one kind at a time"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_what_does_not_fit_is_said_and_the_old_state_stays(given, said):
    X, _, _ = corpus()
    auto = AutoCorrector().fit(X)
    before = dict(auto.__dict__)
    with pytest.raises(ValueError, match=said):
        auto.fit(X, **given)
    assert auto.__dict__ == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"criterion": "luck"}, "criterion"),
        ({"criterion": "views"}, "needs views"),
        ({"tolerance": -1}, "tolerance"),
        ({"candidates": ["whitening"]}, "affine correctors"),
    ],
)
def test_parameters_are_checked(options, said):
    with pytest.raises(ValueError, match=said):
        AutoCorrector(**options).fit(corpus()[0], texts=corpus()[1])


def test_agreement_with_overlap_is_the_plain_definition():
    X, texts, _ = corpus(n=60)
    overlap = Overlap(texts, np.arange(60))
    overall, within = overlap.both(X)
    from scipy.stats import spearmanr
    from sklearn.feature_extraction.text import TfidfVectorizer

    shared = TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray()
    shared, cosines = shared @ shared.T, unit(X) @ unit(X).T
    ranks = np.unique(np.round(np.geomspace(1, 59, 24)).astype(int))
    pairs, each = [], []
    for i in range(60):
        order = sorted(set(range(60)) - {i}, key=lambda j: -round(shared[i, j], 12))
        chosen = [order[rank - 1] for rank in ranks]
        pairs += [(shared[i, j], cosines[i, j]) for j in chosen]
        each.append(spearmanr([shared[i, j] for j in chosen], [cosines[i, j] for j in chosen])[0])
    # Texts that share as much may come in any order, so the two are near, not equal.
    assert overall[0] == pytest.approx(spearmanr(*np.array(pairs).T)[0], abs=0.05)
    assert within[0] == pytest.approx(np.nanmean(each), abs=0.05)


def test_scores_of_pairs_are_spearman():
    X, _, truth = corpus(n=80)
    pairs, scores = judged(truth, 50)
    evidence = PairScores(pairs, scores)
    Y = unit(X)
    wanted = spearman((Y[pairs[:, 0]] * Y[pairs[:, 1]]).sum(1), scores)
    assert evidence.values(X[evidence.rows], None)[0] == pytest.approx(wanted)


# -- tapered whitening -------------------------------------------------------------------------


def test_tapered_scales_are_the_formula():
    X = np.random.default_rng(0).normal(size=(500, 12)) * np.arange(12, 0, -1)
    fitted = TaperedWhitening(power=1.5).fit(X)
    values = np.linalg.eigvalsh(np.cov(X.T, ddof=0))[::-1]
    h, t = values[2], values[8]
    scales = (values + h) ** -0.75 * values / (values + t)
    np.testing.assert_allclose(fitted.scales_, scales / scales.max(), rtol=1e-10)
    spectrum = np.linalg.svd(fitted.affine_map_.matrix, compute_uv=False)
    np.testing.assert_allclose(np.sort(spectrum), np.sort(fitted.scales_), rtol=1e-10)


def test_tapered_power_0_is_centring_and_noise_is_not_blown_up():
    X = np.random.default_rng(0).normal(size=(300, 8)) + 5
    np.testing.assert_allclose(
        TaperedWhitening(power=0).fit_transform(X), MeanRemoval().fit_transform(X), atol=1e-12
    )
    thin = X @ np.diag([1, 1, 1, 1, 1, 1, 1, 1e-9])
    assert TaperedWhitening().fit(thin).scales_[-1] < 1e-6
    assert TaperedWhitening(n_components=3).fit_transform(X).shape == (300, 3)
    for wrong in ({"power": 3}, {"head": -1}, {"tail": "x"}, {"n_components": 9}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TaperedWhitening(**wrong).fit(X)
