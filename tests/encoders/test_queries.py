"""The same text, as a document and as a query, stays nearest to itself, whatever carries it."""

from functools import cache

import numpy as np
import pytest
from cases import CORRECTORS, LEARNERS, fitted
from sklearn.base import clone

import isotropy.tables
from isotropy import (
    AffineMap,
    AutoCorrector,
    ConceptErasure,
    GroupMeanRemoval,
    HubnessBias,
    MeanRemoval,
    PairWhitening,
    WeightedRemoval,
    Whitening,
)
from isotropy.export import parts

D, N = 12, 80
TEXTS = [f"text {number}" for number in range(N)]
ASKED = TEXTS[:20]
SCALES = np.linspace(0.3, 2, D)
OFFSET = np.random.default_rng(1).normal(size=D) * 3
pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning"),
]


def vector(text, offset=0.0):
    draw = np.random.default_rng(list(text.encode()))
    return (draw.normal(size=D) * SCALES + 2 + offset).astype(np.float32)


class Encoder:
    """Rows of texts; queries lie `offset` from the documents."""

    def __init__(self, offset):
        self.offset = offset
        self.documents = np.array([vector(text) for text in TEXTS])
        self.queries = np.array([vector(text, offset) for text in TEXTS])


ENCODERS = {"one mean": Encoder(0.0), "queries elsewhere": Encoder(OFFSET)}
SETTINGS = [*CORRECTORS, *LEARNERS]
FEW = {type(setting): setting for setting in reversed(SETTINGS)}  # one a class
FEW = [*FEW.values(), Whitening("zca"), Whitening(power=0.5, mean_strength=0.5)]


def learns_from_texts(setting):
    return not (
        isinstance(setting, ConceptErasure | GroupMeanRemoval | PairWhitening | WeightedRemoval)
    )


def learned(corrector, encoder):
    return fitted(clone(corrector), encoder.documents, queries=encoder.queries)


def holds(corrector, encoder):
    """Whether a text must find itself.

    Inner products let long rows win. A purely linear map treats queries as documents, and what is
    the same for all rows as they are is not for rows scaled to length one.
    """
    if isinstance(corrector, HubnessBias):
        return corrector.metric == "cosine" and not np.any(encoder.offset)
    unit = getattr(corrector, "normalize", "none") in ("before", "both")
    return not np.any(encoder.offset) or (corrector._removes_mean and not unit)


def share_of_itself(documents, queries, corrector):
    """How many queries have the document of the same text first."""
    documents, queries = np.asarray(documents), np.asarray(queries)
    scores = queries @ documents.T
    if not isinstance(corrector, HubnessBias):  # the nearest; for hubs the product decides
        scores = 2 * scores - np.square(documents).sum(1)
    return float((scores.argmax(1) == np.arange(len(queries))).mean())


# -- ways to bring documents and queries to a corrector ----------------------------------------


@cache
def langchain(encoder):
    core = pytest.importorskip("langchain_core.embeddings")

    class Base(core.Embeddings):
        def embed_documents(self, texts):
            return [vector(text).tolist() for text in texts]

        def embed_query(self, text):
            return vector(text, encoder.offset).tolist()

    from isotropy.encoders.integrations.langchain import CorrectedEmbeddings

    return (
        CorrectedEmbeddings,
        Base(),
        lambda model: (
            model.embed_documents(TEXTS),
            [model.embed_query(text) for text in ASKED],
        ),
    )


@cache
def llama_index(encoder):
    core = pytest.importorskip("llama_index.core.embeddings")

    class Base(core.BaseEmbedding):
        def _get_text_embedding(self, text):
            return vector(text).tolist()

        def _get_query_embedding(self, query):
            return vector(query, encoder.offset).tolist()

        async def _aget_query_embedding(self, query):
            return self._get_query_embedding(query)

    from isotropy.encoders.integrations.llama_index import CorrectedEmbedding

    return (
        CorrectedEmbedding,
        Base(),
        lambda model: (
            model.get_text_embedding_batch(TEXTS),
            [model.get_query_embedding(text) for text in ASKED],
        ),
    )


def sentence_transformer(encoder):
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers import SentenceTransformer

    class Toy(torch.nn.Module):
        """Takes the prompt off; rows of texts with one lie elsewhere."""

        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def preprocess(self, inputs, prompt=None, **options):
            rows = [
                vector(text.removeprefix("query: "), self.offset(text, prompt)) for text in inputs
            ]
            return {"rows": torch.tensor(np.array(rows))}

        def offset(self, text, prompt):
            asked = text.startswith("query: ") or prompt == "query: "
            return encoder.offset if asked else 0.0

        tokenize = preprocess

        def forward(self, features, **options):
            return {**features, "sentence_embedding": self.drop(features["rows"])}

        def get_sentence_embedding_dimension(self):
            return D

        get_embedding_dimension = get_sentence_embedding_dimension

    made = SentenceTransformer(modules=[Toy()], device="cpu", prompts={"query": "query: "})
    made._model_card_text = "one of its own: a new one takes longer to write than all else here"
    return made


def through_wrap(model):
    documents, queries = model.encode_document(TEXTS), model.encode_query(TEXTS)
    return documents, queries


KITS = {"langchain": langchain, "llama_index": llama_index}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]


def test_every_corrector_of_the_table_is_tried():
    tried = {type(corrector) for corrector in SETTINGS}
    missing = {name for name, cls in isotropy.tables.CORRECTORS.items() if cls not in tried}
    assert missing <= {"flow-gaussianizer"}  # whose packages may be missing


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_transform_and_transform_queries(setting, encoder):
    corrector = learned(setting, encoder)
    found = corrector.transform(encoder.documents), corrector.transform_queries(encoder.queries)
    if holds(corrector, encoder):
        assert share_of_itself(*found, corrector) == 1


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("setting", FEW, ids=str)
def test_frameworks_with_a_fitted_corrector(kit, setting, encoder, tmp_path):
    corrector = learned(setting, encoder)
    make, base, through = KITS[kit](encoder)
    corrector.save(tmp_path / "c.safetensors")
    for given in (corrector, tmp_path / "c.safetensors"):
        found = through(make(base, given))
        np.testing.assert_allclose(
            found[1],
            corrector.transform_queries(encoder.queries[: len(ASKED)].astype(float)),
            atol=1e-6,
        )
        if holds(corrector, encoder):
            assert share_of_itself(*found, corrector) == 1


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("setting", FEW, ids=str)
def test_frameworks_that_fit(kit, setting, encoder):
    make, base, through = KITS[kit](encoder)
    if not learns_from_texts(setting):
        with pytest.raises(ValueError, match=r"learns from (pairs|labels)"):
            make.fit(base, TEXTS, setting, queries=TEXTS)
        return
    model = make.fit(base, TEXTS, setting, queries=TEXTS, batch_size=64)
    if holds(model.corrector, encoder):
        assert share_of_itself(*through(model), model.corrector) == 1


@pytest.mark.parametrize("setting", FEW, ids=str)
def test_a_wrapped_encoder(setting, encoder):
    from isotropy.encoders import wrap

    bare, corrector = sentence_transformer(encoder), learned(setting, encoder)
    wrapped = [wrap(bare, None, corrector, normalize=False)]
    if learns_from_texts(setting):
        wrapped.append(wrap(bare, TEXTS, setting, queries=TEXTS, normalize=False))
    for model in wrapped:
        found = through_wrap(model)
        if holds(model.isotropy_corrector, encoder):
            assert share_of_itself(*found, corrector) == 1


@pytest.mark.parametrize("setting", CORRECTORS, ids=str)
def test_an_index_of_faiss(setting, encoder):
    faiss = pytest.importorskip("faiss")
    from isotropy.export import prepend

    corrector = learned(setting, encoder)
    flat = faiss.IndexFlatL2(corrector.affine_map_.n_features_out)
    with pytest.raises(ValueError, match="has one way in: give queries=False"):
        prepend(flat, corrector)
    prepend(flat, corrector, queries=False).add(encoder.documents)
    found = prepend(flat, corrector, queries=True).search(encoder.queries, 1)[1][:, 0]
    if holds(corrector, encoder):
        assert (found == np.arange(N)).all()


def test_queries_unknown_are_not_made_up():
    faiss = pytest.importorskip("faiss")
    from isotropy.export import prepend

    corrector = Whitening().fit(ENCODERS["one mean"].documents)
    assert not parts.knows_queries(corrector)
    with pytest.raises(ValueError, match="knows no queries: give them to fit"):
        prepend(faiss.IndexFlatL2(D), corrector, queries=True)


@pytest.mark.parametrize("to", isotropy.tables.TARGETS)
def test_an_export_has_the_map_of_queries_beside_it(to, tmp_path):
    from isotropy.export import write

    encoder = ENCODERS["queries elsewhere"]
    corrector = learned(Whitening(), encoder)
    made = write(corrector, to, tmp_path / "map.x")
    assert [path.name for path in made] == ["map.x", "map-queries.x"]
    assert all(path.exists() for path in made)
    alone = write(clone(corrector).fit(encoder.documents), to, tmp_path / "alone.x")
    assert [path.name for path in alone] == ["alone.x"]
    if to == "npz":
        other = np.load(made[1])
        asked = encoder.queries @ other["matrix"] + other["bias"]
        np.testing.assert_allclose(asked, corrector.transform_queries(encoder.queries), atol=1e-4)


@pytest.mark.parametrize("kit", KITS)
def test_what_is_chosen_in_frameworks_is_what_rows_alone_choose(kit):
    words = [f"{a} {b}" for a in ["cats", "markets", "rain", "dogs"] for b in range(30)]
    make, base, _ = KITS[kit](ENCODERS["one mean"])
    rows = np.array([vector(text) for text in words], dtype=float)
    wanted = AutoCorrector("classes").fit(rows)
    for texts in (words, (text for text in words)):
        found = make.fit(base, texts, AutoCorrector("classes")).corrector
        assert found.report_ == wanted.report_ and found.report_.evidence["rows looked at"] > 99
    asked = make.fit(base, words, AutoCorrector(), queries=words[:9]).corrector
    assert asked.report_.task == "search"


@pytest.mark.parametrize("kit", KITS)
def test_frameworks_take_maps_estimators_and_weights(kit, tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    encoder = ENCODERS["one mean"]
    make, base, through = KITS[kit](encoder)
    pipeline = make_pipeline(StandardScaler(), Whitening()).fit(encoder.documents.astype(float))
    wanted = pipeline.transform(encoder.documents.astype(float))
    np.testing.assert_allclose(through(make(base, pipeline))[0], wanted, atol=1e-6)
    AffineMap(encoder.documents.mean(0)).save(tmp_path / "map.safetensors")
    found = through(make(base, tmp_path / "map.safetensors"))[0]
    np.testing.assert_allclose(np.mean(found, axis=0), 0, atol=1e-6)
    weights = np.arange(N) % 3
    model = make.fit(base, TEXTS, MeanRemoval(), sample_weight=weights, batch_size=7)
    wanted = np.average(encoder.documents.astype(float), axis=0, weights=weights)
    np.testing.assert_allclose(model.corrector.affine_map_.mean, wanted, atol=1e-9)
    for texts in (TEXTS, iter(TEXTS)):
        with pytest.raises(ValueError, match="one number a text, got 3"):
            make.fit(base, texts, MeanRemoval(), sample_weight=[1, 2, 3])


class NoCalls:
    """An encoder that must not be asked."""

    model_name, embed_batch_size = "none", 1

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def called(*args, **options):
            raise AssertionError("texts were encoded before the arguments were checked")

        return called


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrector": LEARNERS[0]}, "learns from pairs of rows"),
        ({"corrector": HubnessBias()}, "HubnessBias learns from the queries"),
        ({"corrector": AffineMap(np.ones(3))}, "there is nothing to fit"),
        ({"corrector": Whitening}, "Make one: Whitening"),
        ({"sample_weight": [1.0]}, "one number a text"),
        ({"batch_size": 0}, "batch_size must be an integer"),
        ({"queries": []}, "queries holds no text"),
        ({"queries": [3]}, "got int"),
    ],
)
def test_what_cannot_be_fitted_is_told_before_texts_are_encoded(kit, options, message):
    make, _, _ = KITS[kit](ENCODERS["one mean"])
    with pytest.raises(ValueError, match=message):
        make.fit(NoCalls(), TEXTS, **options)
