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
    PairWhitening,
    TaperedWhitening,
    Whitening,
    compare,
    load,
)
from isotropy.choose import word_dropout
from isotropy.choose.candidates import POWERS
from isotropy.choose.evidence import JudgedQueries, Overlap, PairScores
from isotropy.choose.texts import terms
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


def test_of_ones_own_candidates_the_one_that_serves_labels_best_is_chosen():
    X, _, truth = corpus(cone=8.0)
    pairs, scores = judged(truth)
    # Three directions drown the rest: with them gone rows are the truth, with one gone not.
    mine = [ComponentRemoval(1), ComponentRemoval(3), TaperedWhitening(0.0)]
    auto = AutoCorrector(mine, tolerance=0).fit(X, pairs=pairs, pair_scores=scores)
    assert auto.chosen_ == "ComponentRemoval(n_components=3)"
    tried = [entry["corrector"] for entry in auto.report_.candidates]
    assert tried == [
        "none",
        "ComponentRemoval(n_components=1)",
        auto.chosen_,
        "TaperedWhitening(power=0.0)",
    ]


def test_grades_of_queries_count():
    X, _, truth = corpus(n=80)
    Q, grades = truth[:20] + 1, [{row: 1.0, row + 20: 3.0, row + 40: -1.0} for row in range(20)]
    evidence = JudgedQueries(Q, grades, 80)
    corrector = TaperedWhitening(0.5).fit(X)
    Y, Z = unit(corrector.transform(X)), unit(corrector.for_queries(Q).transform(Q))
    slow = []
    for z, item in zip(Z, grades, strict=True):
        order = sorted(range(80), key=lambda row, z=z: -(Y[row] @ z))[:10]
        gains = [max(0, item.get(row, 0)) for row in order]
        found = sum(g / np.log2(place + 2) for place, g in enumerate(gains))
        slow.append(found / (3 + 1 / np.log2(3)))
    assert evidence.values(corrector, X)[0] == pytest.approx(np.mean(slow))
    with pytest.raises(ValueError, match=r"relevant\[1\] must name rows of X"):
        JudgedQueries(Q, [{0: 1.0}, {1: 0.0}], 80)


def test_candidates_stay_as_they_were_and_differ_by_name():
    X, texts, _ = corpus(cone=8.0)
    mine = [TaperedWhitening(), TaperedWhitening(head=0.3), Whitening(shrinkage="ledoit-wolf")]
    before = [dict(vars(one)) for one in mine]
    auto = AutoCorrector(mine, normalize="both").fit(X, texts=texts)
    assert [dict(vars(one)) for one in mine] == before and auto.candidates is mine
    assert auto.corrector_.normalize == "both"
    names = [entry["corrector"] for entry in auto.report_.candidates]
    assert len(set(names)) == 4 and "TaperedWhitening(head=0.3, power=1.0)" in names
    assert "shrinkage='ledoit-wolf'" in names[3]


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


GIVEN = {
    "nothing": lambda texts, truth: {},
    "texts": lambda texts, truth: {"texts": texts},
    "pairs and texts": lambda texts, truth: {
        "texts": texts,
        **dict(zip(("pairs", "pair_scores"), judged(truth), strict=True)),
    },
    "classes": lambda texts, truth: {"classes": truth[:, 0] > 0},
    "judged queries": lambda texts, truth: {
        "queries": truth[:40] + 7,
        "relevant": [[row] for row in range(40)],
    },
    "texts and queries": lambda texts, truth: {"texts": texts, "queries": truth[:40] + 7},
}


@pytest.mark.parametrize("normalize", ["none", "both"])
@pytest.mark.parametrize("mine", [None, [ComponentRemoval(3), Whitening(power=0.5)], []], ids=str)
@pytest.mark.parametrize("given", GIVEN)
def test_what_is_loaded_does_what_was_saved(tmp_path, given, mine, normalize):
    X, texts, truth = corpus(n=300, d=24, cone=8.0)
    auto = AutoCorrector(mine, tolerance=0.25, normalize=normalize)
    auto.fit(X, **GIVEN[given](texts, truth))
    auto.save(tmp_path / "auto.safetensors", moments=True)
    back = load(tmp_path / "auto.safetensors")
    assert str(back) == str(auto) and str(back.corrector_) == str(auto.corrector_)
    assert (back.chosen_, back.reason_, back.report_) == (auto.chosen_, auto.reason_, auto.report_)
    more = corpus(n=50, d=24, seed=7)[0] + 30
    for step in range(2):
        for one, other in ((auto, back), (auto.for_queries(), back.for_queries())):
            np.testing.assert_array_equal(one.transform(X), other.transform(X))
        np.testing.assert_array_equal(auto.transform_queries(more), back.transform_queries(more))
        if auto.corrector_ is not None:
            np.testing.assert_array_equal(back.corrector_.transform(X), back.transform(X))
        if not step:
            auto.partial_fit(more)
            back.partial_fit(more)
    assert back.chosen_ == auto.chosen_


@pytest.mark.parametrize("by", ["texts", "classes"])
@pytest.mark.parametrize("cone", [0.0, 8.0])
def test_more_rows_do_not_undo_a_choice_made_with_evidence(tmp_path, by, cone):
    X, texts, truth = corpus(cone=cone)
    given = {"texts": texts} if by == "texts" else {"classes": truth[:, 0] > 0}
    auto = AutoCorrector().fit(X, **given)
    before = auto.chosen_, auto.report_
    auto.save(tmp_path / "auto.safetensors", moments=True)
    far = X + 100 * np.ones(48)  # rows alone would ask for a correction, or for another one
    for one in (auto, load(tmp_path / "auto.safetensors")):
        one.partial_fit(far)
        assert (one.chosen_, one.report_) == before
        np.testing.assert_allclose(one.mean_, (X.mean(0) + far.mean(0)) / 2)
    assert AutoCorrector().fit(X).partial_fit(far).chosen_ != "none"  # by the rule of thumb


def test_a_refit_forgets_what_was_chosen():
    X, texts, _ = corpus(cone=8.0)
    plain = np.random.default_rng(0).normal(size=X.shape)
    auto = AutoCorrector().fit(X, texts=texts)
    assert auto.chosen_ != "none"
    assert auto.fit(plain).chosen_ == "none"
    assert auto.fit_moments(Moments(unit="sums").update(plain)).chosen_ == "none"


def test_it_is_composed_and_compared():
    X, _, _ = corpus(cone=8.0)
    assert compare(X, {"auto": AutoCorrector()}, ["mean_cosine"])["auto"]["mean_cosine"] < 0.1
    pipe = make_pipeline(AutoCorrector(), TaperedWhitening(0.5))
    assert clone(pipe).fit(X).transform(X).shape == X.shape


# -- texts -------------------------------------------------------------------------------------

SCRIPTS = {
    "Chinese": range(0x4E00, 0x4E00 + 300),
    "Japanese": [*range(0x3041, 0x3091), *range(0x30A1, 0x30F1), *range(0x5B57, 0x5B57 + 140)],
    "Thai": [*range(0x0E01, 0x0E2F)],
    "Hindi": [*range(0x0905, 0x0939)],
}


def written(texts, script):
    """The words of the texts in another script; most scripts then leave out the spaces."""
    letters = [chr(code) for code in SCRIPTS[script]]
    rng = np.random.default_rng(0)
    mark = {"Thai": "\u0e34", "Hindi": "\u093f"}.get(script, "")  # a vowel sign: no letter
    words = {word: "".join(rng.choice(letters, 3)) + mark for word in WORDS}
    gap = " " if script == "Hindi" else ""
    return [gap.join(words[word] for word in text.split()) for text in texts]


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_count_in_every_script(script):
    X, texts, truth = corpus(cone=8.0)
    auto = AutoCorrector().fit(X, texts=written(texts, script))
    assert auto.report_.criterion == "agreement with word overlap"
    raw = quality(AutoCorrector([]).fit(X), X, truth)
    assert auto.chosen_ != "none" and quality(auto, X, truth) > raw + 0.2
    good, texts, _ = corpus(cone=0.0, seed=3)
    assert (
        AutoCorrector()
        .fit(good + 1, texts=written(texts, script))
        .report_.criterion.startswith("agr")
    )


def test_terms_are_words_or_pairs_of_characters():
    assert terms("Ein Café, GPT-4!") == ["ein", "café", "gpt", "4"]
    assert terms("我爱北京 and 東京へ行く") == [
        "我爱",
        "爱北",
        "北京",
        "and",
        "東京",
        "京へ",
        "へ行",
        "行く",
    ]
    assert terms("ภาษาไทย")[:2] == ["ภา", "าษ"] and terms("猫") == ["猫"]
    assert terms("한국어 문장") == ["한국어", "문장"]  # Korean writes spaces
    assert terms("हिन्दी भाषा") == ["हिन्दी", "भाषा"]  # vowel signs do not cut a word
    assert terms("?! ...") == []
    shorter = word_dropout(["我爱北京天安门"], 0.5)
    assert 0 < len(shorter[0]) < 7 and not set(shorter[0]) - set("我爱北京天安门")


def shuffled(texts, seed):
    return [texts[k] for k in np.random.default_rng(seed).permutation(len(texts))]


NOTHING = {
    "all alike": lambda texts: ["the same text"] * len(texts),
    "a number each": lambda texts: [str(7919 * k) for k in range(len(texts))],
    "a word and a number each": lambda texts: [f"row {k}" for k in range(len(texts))],
    "no words": lambda texts: ["!? ..."] * len(texts),
    "empty": lambda texts: [""] * len(texts),
}


def check_left_out(X, texts, said):
    auto, plain = AutoCorrector().fit(X, texts=texts), AutoCorrector().fit(X)
    assert auto.chosen_ == plain.chosen_ and auto.report_.criterion == plain.report_.criterion
    assert said in auto.reason_ and "pass texts" not in auto.reason_


@pytest.mark.parametrize("cone", [0.0, 8.0])
@pytest.mark.parametrize("kind", NOTHING)
def test_texts_that_say_nothing_choose_nothing(kind, cone):
    X, texts, _ = corpus(cone=cone)
    said = "no words" if kind in ("no words", "empty") else "say nothing of the rows"
    check_left_out(X, NOTHING[kind](texts), said)


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_texts_choose_nothing(seed):
    X, texts, _ = corpus(seed=seed, cone=8.0 * (seed % 2), n=300)
    check_left_out(X, shuffled(texts, seed), "say nothing of the rows")
    assert AutoCorrector().fit(X, texts=texts).report_.criterion == "agreement with word overlap"


def test_few_texts_choose_nothing():
    X, texts, _ = corpus(n=49, cone=8.0)
    check_left_out(X, texts, "49 texts are too few")
    assert "agreement" in AutoCorrector().fit(*corpus(n=50)[:1], texts=corpus(n=50)[1]).reason_


@pytest.mark.parametrize("cone", [0.0, 2.0, 8.0])
def test_the_choice_by_texts_is_the_strongest_that_agrees_better_than_none_in_both_ways(cone):
    X, texts, _ = corpus(cone=cone)
    overlap = Overlap(texts, np.arange(len(X)))

    def agreement(Y):
        return np.array([both[0] for both in overlap.both(Y)])

    better = [
        power
        for power in POWERS
        if (agreement(TaperedWhitening(power).fit_transform(X)) > agreement(X)).all()
    ]
    wanted = f"TaperedWhitening(power={max(better)})" if better else "none"
    assert AutoCorrector().fit(X, texts=texts).chosen_ == wanted


def test_labels_overrule_texts_that_say_nothing():
    X, texts, truth = corpus(cone=8.0)
    pairs, scores = judged(truth)
    alone = AutoCorrector().fit(X, pairs=pairs, pair_scores=scores)
    both = AutoCorrector().fit(X, pairs=pairs, pair_scores=scores, texts=shuffled(texts, 0))
    assert both.chosen_ == alone.chosen_ and "say nothing" in both.reason_


HARD = {
    "fewer rows than dimensions": lambda X: X[:60, :],
    "float16": lambda X: X.astype(np.float16),
    "a mean a thousand times the spread": lambda X: X + 1000 * X.std(),
    "duplicates": lambda X: np.concatenate([X[:300], X[:300]]),
    "zero rows": lambda X: X * (np.arange(len(X)) % 5 > 0)[:, None],
    "low rank": lambda X: X @ np.diag([1.0] * 5 + [0.0] * 43),
}


@pytest.mark.parametrize("kind", HARD)
def test_hard_rows_are_chosen_for_and_stay_finite(kind):
    X, texts, _ = corpus(d=48)
    X = HARD[kind](X)
    if kind == "fewer rows than dimensions":
        X = np.hstack([X, X**2])
    texts = texts[: len(X)] if kind != "duplicates" else texts[:300] * 2
    auto = AutoCorrector().fit(X, texts=texts, queries=X[:5] * 2)
    assert np.isfinite(auto.transform(X).astype(float)).all()
    assert np.isfinite(auto.transform_queries(X[:3]).astype(float)).all()


def test_rows_of_every_kind_give_the_same_choice(tmp_path):
    from isotropy.io import open_rows

    X, texts, truth = corpus(cone=8.0)
    np.save(tmp_path / "x.npy", X)
    given = {"texts": texts, "queries": truth[:9]}
    wanted = AutoCorrector().fit(X, **given)
    kinds = {"file": open_rows(tmp_path / "x.npy")}
    torch = pytest.importorskip("torch")
    kinds["torch"] = torch.from_numpy(X)
    kinds["dask"] = pytest.importorskip("dask.array").from_array(X, chunks=(70, 48))
    for rows in kinds.values():
        found = AutoCorrector().fit(rows, **given)
        assert found.report_ == wanted.report_
        np.testing.assert_allclose(found.transform(X), wanted.transform(X), atol=1e-9)


def test_equal_rows_and_one_row_stay_finite():
    ones = np.ones((60, 8))
    assert np.isfinite(AutoCorrector().fit(ones, texts=["same"] * 60).transform(ones)).all()
    one = AutoCorrector().fit(ones[:1])
    assert one.chosen_ == "none" and "too few rows" in one.reason_


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
        ({"candidates": ["whitening"]}, r"candidates\[0\]: .*affine correctors"),
        ({"candidates": [Whitening(), Whitening]}, r"candidates\[1\]: .*affine correctors"),
        ({"candidates": [PairWhitening()]}, "follow from moments alone"),
        ({"candidates": [Whitening(normalize="after")]}, "give it there"),
        ({"candidates": [Whitening(weight_type="probability")]}, "frequencies"),
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
    assert evidence.values(MeanRemoval(0).fit(X), X[evidence.rows])[0] == pytest.approx(wanted)


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
