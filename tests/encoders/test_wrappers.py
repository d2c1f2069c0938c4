"""The LangChain and LlamaIndex wrappers, in the real packages."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from isotropy import AffineMap, MeanRemoval, RotationGaussianizer, Whitening
from isotropy.encoders import bundled_minilm
from isotropy.io.texts import documentation_sentences

TEXTS = documentation_sentences(30)
D = 8


def vector(text, query=False):
    seed = sum(text.encode()) + (1000 if query else 0)
    return (np.random.default_rng(seed).normal(size=D) + 3).tolist()


@pytest.fixture(params=["langchain", "llama_index"])
def kit(request):
    """Ways to make and to call a wrapper: (class, base, documents, query, async of both)."""
    if request.param == "langchain":
        core = pytest.importorskip("langchain_core.embeddings")
        from isotropy.encoders.integrations.langchain import CorrectedEmbeddings

        class Fake(core.Embeddings):
            calls = 0

            def embed_documents(self, texts):
                self.calls += 1
                return [vector(text) for text in texts]

            def embed_query(self, text):
                return vector(text, query=True)

            async def aembed_query(self, text):
                return (np.array(vector(text, query=True)) + 1).tolist()

        return {
            "make": CorrectedEmbeddings,
            "base": Fake(),
            "documents": lambda model, texts: model.embed_documents(texts),
            "query": lambda model, text: model.embed_query(text),
            "adocuments": lambda model, texts: asyncio.run(model.aembed_documents(texts)),
            "aquery": lambda model, text: asyncio.run(model.aembed_query(text)),
        }
    core = pytest.importorskip("llama_index.core.embeddings")
    from isotropy.encoders.integrations.llama_index import CorrectedEmbedding

    class Fake(core.BaseEmbedding):
        def _get_text_embedding(self, text):
            return vector(text)

        def _get_query_embedding(self, query):
            return vector(query, query=True)

        async def _aget_query_embedding(self, query):
            return (np.array(vector(query, query=True)) + 1).tolist()

    return {
        "make": CorrectedEmbedding,
        "base": Fake(model_name="fake", embed_batch_size=7),
        "documents": lambda model, texts: model.get_text_embedding_batch(texts),
        "query": lambda model, text: model.get_query_embedding(text),
        "adocuments": lambda model, texts: asyncio.run(model.aget_text_embedding_batch(texts)),
        "aquery": lambda model, text: asyncio.run(model.aget_query_embedding(text)),
    }


ROWS = np.array([vector(text) for text in TEXTS])
ASKED = np.array([vector(text, query=True) for text in TEXTS])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("normalize", [True, False])
def test_vectors_are_the_corrector_s(kit, normalize):
    corrector = Whitening("zca").fit(ROWS)
    model = kit["make"](kit["base"], corrector, normalize=normalize)
    wanted = corrector.transform(ROWS)
    found = kit["documents"](model, TEXTS)
    assert type(found[0][0]) is float
    np.testing.assert_allclose(found, unit(wanted) if normalize else wanted, atol=1e-12)
    query = corrector.transform(ASKED[:1])[0]
    found = kit["query"](model, TEXTS[0])
    np.testing.assert_allclose(found, unit(query) if normalize else query, atol=1e-12)
    assert kit["documents"](model, []) == []


def test_the_base_s_asynchronous_methods_are_used(kit):
    corrector = MeanRemoval().fit(ROWS)
    model = kit["make"](kit["base"], corrector)
    np.testing.assert_allclose(
        kit["adocuments"](model, TEXTS), corrector.transform(ROWS), atol=1e-12
    )
    wanted = ASKED[0] + 1 - ROWS.mean(0)  # the base adds 1 in its asynchronous method alone
    np.testing.assert_allclose(kit["aquery"](model, TEXTS[0]), wanted, atol=1e-12)


def test_queries_may_have_a_corrector_of_their_own(kit):
    # Often enough for a mean of their own to be told.
    model = kit["make"].fit(kit["base"], TEXTS, MeanRemoval(), queries=TEXTS * 40)
    np.testing.assert_allclose(np.mean(kit["documents"](model, TEXTS), axis=0), 0, atol=1e-12)
    asked = [kit["query"](model, text) for text in TEXTS]
    np.testing.assert_allclose(np.mean(asked, axis=0), 0, atol=1e-12)


def test_fitting_reads_texts_in_batches_from_anywhere(kit, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    wanted = MeanRemoval().fit(ROWS).transform(ROWS)
    for texts in (TEXTS, (text for text in TEXTS), tmp_path / "texts.txt"):
        model = kit["make"].fit(kit["base"], texts, MeanRemoval(), batch_size=7)
        np.testing.assert_allclose(kit["documents"](model, TEXTS), wanted, atol=1e-12)
    default = kit["make"].fit(kit["base"], TEXTS)
    wanted = Whitening(power=0.5).fit(ROWS).transform(ROWS)
    np.testing.assert_allclose(kit["documents"](default, TEXTS), wanted, atol=1e-9)


@pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning")
def test_correctors_that_are_not_affine_serve_too(kit):
    rotation = RotationGaussianizer(max_layers=1, random_state=0)
    model = kit["make"].fit(kit["base"], TEXTS, rotation)
    wanted = rotation.fit(ROWS).transform(ROWS)
    np.testing.assert_allclose(kit["documents"](model, TEXTS), wanted, atol=1e-9)


def test_maps_and_files_are_taken(kit, tmp_path):
    corrector = MeanRemoval().fit(ROWS)
    corrector.save(tmp_path / "c.safetensors")
    wanted = ROWS - ROWS.mean(0)
    for given in (corrector.affine_map_, tmp_path / "c.safetensors", AffineMap(ROWS.mean(0))):
        model = kit["make"](kit["base"], given)
        np.testing.assert_allclose(kit["documents"](model, TEXTS), wanted, atol=1e-12)


def test_wrong_correctors_are_refused(kit):
    with pytest.raises(NotFittedError):
        kit["make"](kit["base"], MeanRemoval())
    with pytest.raises(ValueError, match="corrector must be a corrector of isotropy"):
        kit["make"](kit["base"], 3)
    narrow = kit["make"](kit["base"], MeanRemoval().fit(np.eye(3)))
    with pytest.raises(ValueError, match="takes 3 dimensions"):
        kit["documents"](narrow, TEXTS)
    with pytest.raises(ValueError, match="no text to fit on"):
        kit["make"].fit(kit["base"], [], MeanRemoval())


def test_llama_index_keeps_names_batches_and_serializes():
    pytest.importorskip("llama_index.core")
    from llama_index.core.embeddings import MockEmbedding

    from isotropy.encoders.integrations.llama_index import CorrectedEmbedding

    base = MockEmbedding(embed_dim=3, embed_batch_size=7)
    model = CorrectedEmbedding(base, MeanRemoval().fit(np.eye(3)), normalize=True)
    assert model.embed_batch_size == 7
    assert model.model_name == f"{base.model_name}, corrected"
    told = model.to_dict()
    assert told["class_name"] == "CorrectedEmbedding"
    assert told["normalize"] is True


def test_a_langchain_vector_store_finds_with_corrected_vectors():
    pytest.importorskip("langchain_core")
    from langchain_core.vectorstores import InMemoryVectorStore

    from isotropy.encoders.integrations.langchain import CorrectedEmbeddings

    model = CorrectedEmbeddings.fit(minilm_for_langchain(), TEXTS, MeanRemoval())
    store = InMemoryVectorStore(model)
    store.add_texts(TEXTS)
    found = store.similarity_search_with_score(TEXTS[4], k=2)
    assert found[0][0].page_content == TEXTS[4]
    assert found[0][1] == pytest.approx(1, abs=1e-5)
    raw = InMemoryVectorStore(model.base)
    raw.add_texts(TEXTS)
    assert found[1][1] < raw.similarity_search_with_score(TEXTS[4], k=2)[1][1]


def minilm_for_langchain():
    from langchain_core.embeddings import Embeddings

    pytest.importorskip("sentence_transformers")
    from isotropy.encoders import encode

    try:
        bundled_minilm()
    except ImportError:
        pytest.skip("needs the bundled MiniLM")

    class MiniLM(Embeddings):
        def embed_documents(self, texts):
            return encode("minilm", texts, layer=3).tolist()

        def embed_query(self, text):
            return self.embed_documents([text])[0]

    return MiniLM()


def test_a_llama_index_retriever_finds_with_corrected_vectors():
    core = pytest.importorskip("llama_index.core")
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.schema import TextNode

    from isotropy.encoders.integrations.llama_index import CorrectedEmbedding

    class Fake(BaseEmbedding):
        def _get_text_embedding(self, text):
            return vector(text)

        def _get_query_embedding(self, query):
            return vector(query)

        async def _aget_query_embedding(self, query):
            return vector(query)

    model = CorrectedEmbedding.fit(Fake(), TEXTS, Whitening())
    nodes = [TextNode(text=text) for text in TEXTS]
    index = core.VectorStoreIndex(nodes, embed_model=model)
    found = index.as_retriever(similarity_top_k=1).retrieve(TEXTS[7])
    assert found[0].node.get_content() == TEXTS[7]


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("langchain", "langchain_core", "langchain"), ("llama_index", "llama_index", "llama-index")],
)
def test_a_missing_package_is_named(module, missing, extra):
    script = f"""
import sys
sys.modules["{missing}"] = None
try:
    import isotropy.encoders.integrations.{module}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"pip install 'isotropy[{extra}]'" in done.stdout, done.stderr
