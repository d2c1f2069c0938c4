"""MultiVectorCorrector: whose mean is taken off, and what late interaction makes of it."""

import numpy as np
import pytest

from isotropy import ComponentRemoval, PairWhitening, RotationGaussianizer, Whitening
from isotropy.encoders import MultiVectorCorrector, _tokens, bundled_minilm
from isotropy.io.texts import documentation_sentences

LENGTHS = (1, 7, 3, 12, 5)


def documents(d=6, seed=0, lengths=LENGTHS):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, d)) + rng.normal(size=d) + 2 for n in lengths]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def expected_mean(given, scope, document):
    if scope == "token":
        return np.concatenate(given).mean(0)
    if scope == "collection":
        return np.mean([tokens.mean(0) for tokens in given], axis=0)
    return document.mean(0) if len(document) > 1 else 0 * document[0]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("scope", ["token", "document", "collection"])
def test_the_mean_of_the_scope_is_taken_off(scope, normalize):
    given = documents()
    found = MultiVectorCorrector(scope=scope, normalize=normalize).fit_transform(given)
    for tokens, corrected in zip(given, found, strict=True):
        wanted = tokens - expected_mean(given, scope, tokens)
        np.testing.assert_allclose(corrected, unit(wanted) if normalize else wanted, atol=1e-12)


def test_any_affine_corrector_serves():
    given = documents(lengths=(20, 30, 8))
    whitened = MultiVectorCorrector(Whitening("zca"), scope="token", normalize=False)
    rows = np.concatenate(whitened.fit_transform(given))
    np.testing.assert_allclose(np.cov(rows.T), np.eye(6), atol=1e-9)
    short = MultiVectorCorrector(Whitening("pca", n_components=2)).fit(given)
    assert [tokens.shape for tokens in short.transform(given)] == [(20, 2), (30, 2), (8, 2)]
    own = MultiVectorCorrector(ComponentRemoval(1), scope="document", normalize=False)
    wanted = ComponentRemoval(1).fit(given[1]).transform(given[1])
    np.testing.assert_allclose(own.fit_transform(given)[1], wanted, atol=1e-12)


def test_parts_and_generators_give_what_the_whole_gives(monkeypatch):
    monkeypatch.setattr(_tokens, "_TOKENS_AT_ONCE", 10)
    given = documents()
    whole = MultiVectorCorrector().fit(given)
    parts = MultiVectorCorrector().partial_fit(given[:2]).partial_fit(iter(given[2:]))
    assert (parts.n_documents_, parts.n_tokens_) == (5, 28)
    for a, b in zip(parts.transform(given), whole.transform(given), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    again = parts.fit(given[:2])
    assert again.n_documents_ == 2
    streamed = MultiVectorCorrector().fit_transform(document for document in given)
    np.testing.assert_allclose(streamed[1], whole.transform(given)[1], atol=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_padded_documents_are_corrected_where_the_mask_says(library):
    given = documents()
    padded, mask = np.full((5, 12, 6), 9.0, dtype=np.float32), np.zeros((5, 12), dtype=bool)
    for index, tokens in enumerate(given):
        padded[index, : len(tokens)] = tokens
        mask[index, : len(tokens)] = True
    wanted = MultiVectorCorrector().fit_transform(given)
    batch, kept = padded, mask
    if library == "torch":
        torch = pytest.importorskip("torch")
        batch, kept = torch.from_numpy(padded), torch.from_numpy(mask)
    found = MultiVectorCorrector().fit_transform(batch, mask=kept)
    assert type(found) is type(batch)
    assert found.dtype == batch.dtype
    found = np.asarray(found)
    for index, tokens in enumerate(wanted):
        np.testing.assert_allclose(found[index, : len(tokens)], tokens, atol=1e-5)
        assert (found[index, len(tokens) :] == 9).all()
    assert (padded[0, 1:] == 9).all()


def test_torch_documents_come_back_as_torch():
    torch = pytest.importorskip("torch")
    given = [torch.from_numpy(tokens).half() for tokens in documents()]
    found = MultiVectorCorrector().fit_transform(given)
    assert all(tokens.dtype == torch.float16 for tokens in found)
    wanted = MultiVectorCorrector().fit_transform(documents())
    np.testing.assert_allclose(found[3].numpy(), wanted[3], atol=5e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiVectorCorrector(scope="batch").fit(documents()), "scope must be one of"),
        (lambda: MultiVectorCorrector().fit([]), "no token to fit on"),
        (lambda: MultiVectorCorrector().fit([np.ones(4)]), r"ocument 0 must be .* shape \(4,\)"),
        (lambda: MultiVectorCorrector().fit(np.ones((3, 4))), "Put one document in a list"),
        (lambda: MultiVectorCorrector().fit([np.ones((2, 4)), np.ones((2, 3))]), "Document 1 has"),
        (
            lambda: MultiVectorCorrector().fit(documents()).transform([np.ones((2, 3))]),
            "3 dimensions; 6 were fitted",
        ),
        (
            lambda: MultiVectorCorrector().fit(np.ones((2, 3, 4)), mask=np.ones((2, 4))),
            "mask must have shape",
        ),
        (lambda: MultiVectorCorrector().fit(documents(), mask=np.ones(3)), "mask goes with"),
        (lambda: MultiVectorCorrector(RotationGaussianizer()).fit(documents()), "affine corrector"),
        (lambda: MultiVectorCorrector().fit([np.full((2, 3), np.nan)]), "NaN"),
    ],
    ids=["scope", "empty", "1-D", "2-D", "widths", "new width", "mask", "no mask", "flow", "NaN"],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_document_gives_none_back():
    assert MultiVectorCorrector().fit(documents()).transform([]) == []


# -- the real thing ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def late_interaction():
    pytest.importorskip("torch")
    try:
        from sentence_transformers import MultiVectorEncoder

        folder = str(bundled_minilm())
    except ImportError:
        pytest.skip("needs sentence-transformers 6 and the bundled MiniLM")
    return MultiVectorEncoder(folder, device="cpu")


def maxsim(query, document):
    return np.asarray(query @ document.T).max(1).mean()


def test_unrelated_texts_score_lower_after_correction(late_interaction):
    texts = documentation_sentences(40)
    given = late_interaction.encode_document(texts)
    corrected = MultiVectorCorrector().fit_transform(given)
    assert [tokens.shape for tokens in corrected] == [tokens.shape for tokens in given]
    raw = [[float(maxsim(q, d)) for d in given[20:]] for q in given[:20]]
    after = [[float(maxsim(q, d)) for d in corrected[20:]] for q in corrected[:20]]
    assert np.mean(after) < np.mean(raw) - 0.05
    scores = late_interaction.similarity(corrected[:2], corrected)
    assert tuple(scores.shape) == (2, 40)
    assert scores.argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("scope", ["token", "collection"])
def test_tokens_of_queries_land_where_those_of_documents_do(scope):
    rng = np.random.default_rng(0)
    documents = [rng.normal(size=(n, 6)) * np.arange(1, 7) + 2 for n in (5, 9, 30, 17)]
    queries = [tokens + 7 for tokens in documents]
    corrector = MultiVectorCorrector(Whitening(), scope=scope).fit(documents, queries=queries)
    for _ in range(2):
        wanted, found = corrector.transform(documents), corrector.transform_queries(queries)
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-9)
        corrector.partial_fit(documents)  # the same again: nothing moves, and queries stay
    unknown = MultiVectorCorrector(Whitening(), scope=scope).fit(documents)
    np.testing.assert_array_equal(
        unknown.transform_queries(queries)[0], unknown.transform(queries)[0]
    )


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_refused_document_leaves_the_old_state_whole(method):
    documents = [np.eye(3) + 1, np.eye(3)[:2]]
    corrector = MultiVectorCorrector(normalize=False).fit(documents)
    before = corrector.transform(documents)
    for bad in ([np.eye(3), np.full((2, 3), np.nan)], [np.eye(3), np.eye(4)], []):
        if method == "partial_fit" and not bad:
            continue  # nothing more is nothing wrong
        with pytest.raises(ValueError, match=r"."):
            getattr(corrector, method)(bad)
        assert corrector.n_tokens_ == 5
        np.testing.assert_array_equal(corrector.transform(documents)[0], before[0])
    corrector.partial_fit([np.eye(3)])
    assert corrector.n_tokens_ == 8


def test_integers_keep_their_fractions():
    documents = np.arange(24).reshape(2, 3, 4)
    found = MultiVectorCorrector(normalize=True).fit_transform(documents)
    wanted = MultiVectorCorrector(normalize=True).fit_transform(documents.astype(float))
    np.testing.assert_allclose(found, wanted)


def test_correctors_that_need_more_than_rows_are_refused():
    with pytest.raises(ValueError, match="PairWhitening learns from more than rows"):
        MultiVectorCorrector(PairWhitening()).fit([np.eye(3)])
