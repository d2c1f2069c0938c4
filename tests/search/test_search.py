"""Search: a bias that lives in an inner-product index, and codes of few bits."""

import numpy as np
import pytest

import isotropy
from isotropy import HubnessBias, RandomRotation
from isotropy.correctors import hubness as _hubness
from isotropy.metrics import k_skewness
from isotropy.search import code_ranges


def rows(n, d=12, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + mean


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def hubby(n=400, d=12):
    """Documents of which a few lie where all queries are near."""
    X = rows(n, d)
    X[:5] = 1 + 0.2 * X[:5]
    return X


def learned(bank, k=10, **options):
    return HubnessBias(k, **options).fit(hubby(20, bank.shape[1]), queries=bank)


@pytest.mark.parametrize("metric", ["cosine", "inner"])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 4, 1000])
def test_a_plain_product_is_the_score_less_the_bias(metric, alpha, k):
    documents, queries, bank = rows(30, mean=1), rows(9, seed=1), rows(20, seed=2, mean=1)
    found = learned(bank, k, alpha=alpha, metric=metric)
    scores = found.transform_queries(queries) @ found.transform(documents).T
    scale = unit if metric == "cosine" else np.asarray
    near = np.sort(scale(documents) @ scale(bank).T, axis=1)[:, -k:].mean(1)
    wanted = scale(queries) @ scale(documents).T - alpha * near
    np.testing.assert_allclose(scores, wanted, atol=2e-6 * np.abs(wanted).max() + 1e-6)
    np.testing.assert_allclose(found.bias(documents), alpha * near, rtol=1e-5)


def test_half_of_it_ranks_as_csls():
    documents, queries, bank = hubby(60), rows(7, seed=1), rows(50, seed=2, mean=0.3)
    found = learned(bank, 5)
    scores = found.transform_queries(queries) @ found.transform(documents).T
    cosines = unit(queries) @ unit(documents).T
    to_queries = np.sort(unit(documents) @ unit(bank).T, axis=1)[:, -5:].mean(1)
    to_documents = np.sort(cosines, axis=1)[:, -5:].mean(1)
    csls = 2 * cosines - to_queries - to_documents[:, None]
    np.testing.assert_array_equal(np.argsort(-scores), np.argsort(-csls))


def test_hubs_go():
    documents, queries = hubby(d=60), rows(300, 60, seed=1, mean=0.5)
    found = learned(rows(300, 60, seed=2, mean=0.5), alpha=1.0)
    before = k_skewness(documents, queries)
    after = k_skewness(found.transform(documents), found.transform_queries(queries), measure="dot")
    assert before > 5
    assert after < before / 2


def test_any_inner_product_index_serves():
    faiss = pytest.importorskip("faiss")
    documents, queries = (X.astype(np.float32) for X in (hubby(), rows(20, seed=1)))
    found = learned(rows(100, seed=2, mean=0.3).astype(np.float32))
    index = faiss.IndexFlatIP(13)
    index.add(found.transform(documents))
    scores, nearest = index.search(found.transform_queries(queries), 3)
    exact = found.transform_queries(queries) @ found.transform(documents).T
    np.testing.assert_array_equal(nearest[:, 0], exact.argmax(1))
    np.testing.assert_allclose(scores[:, 0], exact.max(1), rtol=1e-5)


def test_later_documents_files_and_torch_get_the_same_bias(tmp_path):
    found = learned(rows(40), 3)
    documents = rows(10, seed=1).astype(np.float32)
    found.save(tmp_path / "h.safetensors")
    again = isotropy.load(tmp_path / "h.safetensors")
    assert isinstance(again, HubnessBias)
    np.testing.assert_array_equal(again.transform(documents), found.transform(documents))
    # One row and many are products of another kind, so of other last digits.
    alone, among = found.transform(documents[4:5])[0], found.transform(documents)[4]
    np.testing.assert_allclose(alone, among, rtol=1e-5)
    torch = pytest.importorskip("torch")
    out = found.transform(torch.from_numpy(documents))
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out.numpy(), found.transform(documents))


def test_without_queries_nothing_is_learned():
    with pytest.raises(ValueError, match="queries is missing"):
        HubnessBias().fit(rows(40))


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1.0, 1e25, 1e30])
def test_cosines_do_not_depend_on_the_scale(scale):
    documents, bank = rows(10).astype(np.float32), rows(20, seed=1).astype(np.float32)
    wanted = learned(bank, 3).transform(documents)
    scaled = learned(np.float32(scale) * bank, 3).transform(np.float32(scale) * documents)
    np.testing.assert_allclose(scaled, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "scale"), [("f4", 1e18), ("f8", 1e20), ("f8", 1e37), ("f4", 1e-19)]
)
def test_inner_products_of_any_scale_keep_their_bias(kind, scale):
    documents, bank = rows(10), rows(20, seed=1)
    wanted = learned(bank, 3, metric="inner").bias(documents)
    documents, bank = ((scale * X).astype(kind) for X in (documents, bank))
    found = learned(bank, 3, metric="inner")
    np.testing.assert_allclose(found.bias(documents) / scale / scale, wanted, rtol=1e-5, atol=1e-6)
    last = found.transform(documents)[:, -1]
    np.testing.assert_allclose(-last / scale / scale, wanted, rtol=1e-5, atol=1e-6)


def test_a_bias_that_the_type_does_not_hold_is_refused():
    big = np.float32(1e20) * rows(20).astype(np.float32)
    found = learned(big, 3, metric="inner")
    with pytest.raises(ValueError, match=r"more than float32 holds.* Divide documents"):
        found.transform(big)
    assert np.isfinite(found.transform(big.astype(np.float64))).all()
    with pytest.raises(ValueError, match="more than float32 holds, in which the bank"):
        learned(1e60 * rows(20), 3, metric="inner")
    torch = pytest.importorskip("torch")
    half = torch.from_numpy(300 * rows(5)).half()
    with pytest.raises(ValueError, match=r"more than torch\.float16 holds"):
        learned(300 * rows(20), 3, metric="inner").transform(half)


def test_zero_rows_and_empty_batches_are_finite():
    found = learned(rows(40), 3)
    X = np.zeros((2, 12))
    assert np.isfinite(found.transform(X)).all()
    assert found.transform(X[:0]).shape == (0, 13)


@pytest.mark.parametrize(
    ("options", "X", "message"),
    [
        ({"n_neighbors": 0}, rows(5), "n_neighbors must be an integer"),
        ({"n_neighbors": 2.5}, rows(5), "n_neighbors must be an integer"),
        ({"alpha": np.inf}, rows(5), "alpha must be a finite"),
        ({"metric": "l2"}, rows(5), "metric must be 'cosine' or 'inner'"),
        ({}, np.full((3, 2), np.nan), "NaN"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_options_are_refused(options, X, message):
    with pytest.raises(ValueError, match=message):
        HubnessBias(**options).fit(X, queries=X)


def test_a_changed_file_is_refused(tmp_path):
    found = learned(rows(40), 3)
    found.n_features_in_ = 5
    found.save(tmp_path / "h.safetensors")
    with pytest.raises(ValueError, match="bank of queries has shape"):
        isotropy.load(tmp_path / "h.safetensors")


def test_scores_in_blocks(monkeypatch):
    documents, queries = rows(40), rows(25, seed=1)
    found = learned(queries, 4)
    whole = found.transform(documents)
    monkeypatch.setattr(_hubness, "_SCORES_AT_ONCE", 90)
    np.testing.assert_allclose(whole, found.transform(documents), atol=1e-6)


# -- codes -------------------------------------------------------------------------------------


def test_a_rotation_keeps_the_cosines_of_centred_rows():
    X = rows(100, mean=4) * np.arange(1, 13)
    Y = RandomRotation().fit_transform(X)
    centred = X - X.mean(0)
    np.testing.assert_allclose(unit(Y) @ unit(Y).T, unit(centred) @ unit(centred).T, atol=1e-12)
    np.testing.assert_allclose(RandomRotation().fit(X).inverse_transform(Y), X, atol=1e-9)


def test_a_truncated_rotation_keeps_the_leading_directions():
    X = rows(300) * np.array([9, 8, 7, *[0.1] * 9])
    Y = RandomRotation(3).fit_transform(X)
    assert Y.var(0).sum() == pytest.approx(X.var(0)[:3].sum(), rel=1e-3)
    other = RandomRotation(3, random_state=5).fit_transform(X)
    assert np.abs(Y - other).max() > 1


@pytest.mark.parametrize("wrong", [0, 13, 2.5, True])
def test_directions_are_counted(wrong):
    with pytest.raises(ValueError, match="n_components must be an integer from 1 to 12"):
        RandomRotation(wrong).fit(rows(20))


def overlap(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=True)])


@pytest.fixture(scope="module")
def coned():
    """Documents and queries of a narrow cone of falling variances, and their true neighbours."""
    rng = np.random.default_rng(0)
    scale = np.linspace(3, 0.3, 64)
    X = rng.normal(size=(2000, 64)) * scale + 4
    Q = X[:100] + 0.5 * rng.normal(size=(100, 64)) * scale
    X, Q = X.astype(np.float32), Q.astype(np.float32)
    centred = unit(Q - X.mean(0)) @ unit(X - X.mean(0)).T
    return X, Q, np.argsort(-centred, axis=1)[:, :10]


def test_sign_bits_of_rotated_rows_find_more(coned):
    faiss = pytest.importorskip("faiss")
    quantize = pytest.importorskip("sentence_transformers").quantize_embeddings
    X, Q, wanted = coned
    found = {}
    for name, fitted in {"raw": None, "rotated": RandomRotation().fit(X)}.items():
        left, right = (X, Q) if fitted is None else (fitted.transform(X), fitted.transform(Q))
        index = faiss.IndexBinaryFlat(64)
        index.add(quantize(left, precision="ubinary"))
        nearest = index.search(quantize(right, precision="ubinary"), 10)[1]
        found[name] = overlap(nearest, wanted)
    assert found["rotated"] > found["raw"] + 0.2


@pytest.mark.parametrize("bits", [4, 8])
def test_scalar_codes_of_rotated_rows_find_nearly_all(coned, bits):
    faiss = pytest.importorskip("faiss")
    X, Q, wanted = coned
    fitted = RandomRotation(normalize="after").fit(X)
    kind = {4: faiss.ScalarQuantizer.QT_4bit, 8: faiss.ScalarQuantizer.QT_8bit}[bits]
    index = faiss.IndexScalarQuantizer(64, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(fitted.transform(X))
    index.add(fitted.transform(X))
    assert overlap(index.search(fitted.transform(Q), 10)[1], wanted) > {4: 0.75, 8: 0.97}[bits]


def test_one_range_for_all_dimensions_keeps_inner_products(coned):
    quantize = pytest.importorskip("sentence_transformers").quantize_embeddings
    X, Q, wanted = coned
    fitted = RandomRotation(normalize="after").fit(X)
    left, right = fitted.transform(X), fitted.transform(Q)
    ranges = code_ranges(left)
    codes = [
        quantize(part, precision="int8", ranges=ranges).astype(np.int32) for part in (left, right)
    ]
    nearest = np.argsort(-(codes[1] @ codes[0].T), axis=1)[:, :10]
    assert overlap(nearest, wanted) > 0.95
    assert ranges.dtype == np.float32
    assert (ranges[1] == ranges[1, 0]).all()
    assert (np.abs(left) <= ranges[1]).mean() == pytest.approx(0.9999, abs=2e-4)
    assert (code_ranges(left, quantile=0.5) < ranges)[1].all()


def test_ranges_need_rows():
    with pytest.raises(ValueError, match="quantile must be above 0"):
        code_ranges(rows(3), quantile=0)
    with pytest.raises(ValueError, match="must hold rows"):
        code_ranges(rows(0))
    with pytest.raises(ValueError, match="NaN"):
        code_ranges(np.array([[np.nan, 1]]))
    assert code_ranges(np.zeros((2, 2))).tolist() == [[-1, -1], [1, 1]]


@pytest.mark.parametrize("kind", [np.int8, np.float16, np.float64])
def test_ranges_hold_for_every_type_of_numbers(kind):
    X = np.array([[-128, 3], [5, 127]], dtype=kind)
    assert code_ranges(X, quantile=1).tolist() == [[-128, -128], [128, 128]]


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_ranges_beyond_float32_are_refused(scale):
    with pytest.raises(ValueError, match="which float32 does not hold"):
        code_ranges(rows(9) * scale)
