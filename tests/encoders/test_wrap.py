"""`wrap`: the corrected encoder gives what the corrector gives, here and without this library."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from isotropy import (
    AutoCorrector,
    ComponentRemoval,
    FlowGaussianizer,
    MeanRemoval,
    RotationGaussianizer,
    Whitening,
)
from isotropy.cli import main
from isotropy.encoders import bundled_minilm, check, encode, save, wrap
from isotropy.encoders._wrap import _tell_of_queries
from isotropy.io.texts import documentation_sentences

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
from sentence_transformers import SentenceTransformer  # noqa: E402

from isotropy.export.dense import native  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::isotropy.RankWarning")
TEXTS = documentation_sentences(60)
PROBES = documentation_sentences(80)[60:]
CHOICES = {
    "mean": MeanRemoval(),
    "components": ComponentRemoval(2),
    "whitening": Whitening(power=0.5),
    "truncated": Whitening("pca", n_components=16, normalize="after"),
    "unit before": Whitening("zca", epsilon=0.1, normalize="before"),
}


@pytest.fixture(scope="module")
def minilm():
    try:
        return SentenceTransformer(str(bundled_minilm()), device="cpu")
    except ImportError:
        pytest.skip("needs the bundled MiniLM")


@pytest.fixture(scope="module")
def embeddings(minilm):
    return minilm.encode(TEXTS), minilm.encode(PROBES)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_queries_land_in_the_space_of_the_documents(prompted):
    # Whitening rotates: fitted apart, documents and queries would have nothing in common.
    queries = [text[:30] for text in TEXTS]
    wrapped = wrap(prompted, TEXTS, Whitening(power=0.5), queries=queries, normalize=False)
    matrix = wrapped.isotropy_corrector.affine_map_.matrix
    np.testing.assert_array_equal(wrapped.isotropy_query_corrector.affine_map_.matrix, matrix)
    asked = prompted.encode_query(PROBES) - prompted.encode_query(queries).mean(0)
    np.testing.assert_allclose(wrapped.encode_query(PROBES), asked @ matrix, atol=1e-4)


@pytest.mark.parametrize("name", CHOICES)
def test_the_wrapped_encoder_gives_what_the_corrector_gives(minilm, embeddings, name):
    wrapped = wrap(minilm, TEXTS, CHOICES[name])
    wanted = clone(CHOICES[name]).fit(embeddings[0]).transform(embeddings[1].astype(np.float64))
    np.testing.assert_allclose(wrapped.encode(PROBES), unit(wanted), atol=3e-6)
    added = list(wrapped.children())[3:]
    assert all(type(module).__module__.startswith("sentence_transformers.") for module in added)
    told = getattr(wrapped, "get_embedding_dimension", None)  # version 5 has a longer name
    assert (told or wrapped.get_sentence_embedding_dimension)() == wanted.shape[1]


def test_the_encoder_given_stays_as_it_was(minilm, embeddings):
    before = list(minilm.named_children())
    wrap(minilm, TEXTS, MeanRemoval())
    assert list(minilm.named_children()) == before
    np.testing.assert_array_equal(minilm.encode(PROBES), embeddings[1])


@pytest.mark.parametrize("normalize", [True, False])
def test_length_is_as_asked_for(minilm, normalize):
    lengths = np.linalg.norm(wrap(minilm, TEXTS, MeanRemoval(), normalize=normalize).encode(PROBES))
    assert bool(lengths == pytest.approx(len(PROBES) ** 0.5)) is normalize


def test_an_encoder_of_any_length_keeps_its_lengths(minilm):
    bare = SentenceTransformer(modules=list(minilm.children())[:2], device="cpu")
    wrapped = wrap(bare, TEXTS, MeanRemoval())
    wanted = bare.encode(PROBES) - bare.encode(TEXTS).mean(0)
    np.testing.assert_allclose(wrapped.encode(PROBES), wanted, atol=1e-5)


def test_a_dense_at_the_end_keeps_its_place(minilm):
    torch.manual_seed(0)
    dense = native("Dense")(384, 20, activation_function=torch.nn.Tanh())
    bare = SentenceTransformer(modules=[*list(minilm.children())[:2], dense], device="cpu")
    wrapped = wrap(bare, TEXTS, Whitening(epsilon=0.1))
    wanted = Whitening(epsilon=0.1).fit(bare.encode(TEXTS)).transform(bare.encode(PROBES))
    np.testing.assert_allclose(wrapped.encode(PROBES), wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_texts_come_from_lists_generators_and_files(minilm, embeddings, kind, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    given = {"list": TEXTS, "generator": (t for t in TEXTS), "file": tmp_path / "texts.txt"}
    wrapped = wrap(minilm, given[kind], MeanRemoval(), normalize=False)
    wanted = embeddings[1] - embeddings[0].mean(0)
    np.testing.assert_allclose(wrapped.encode(PROBES), wanted, atol=1e-6)


def test_a_fitted_corrector_or_its_file_is_used_as_it_is(minilm, embeddings, tmp_path):
    fitted = ComponentRemoval(1).fit(embeddings[0])
    fitted.save(tmp_path / "c.safetensors")
    wanted = unit(fitted.transform(embeddings[1]))
    for given in (fitted, tmp_path / "c.safetensors", str(tmp_path / "c.safetensors")):
        np.testing.assert_allclose(wrap(minilm, None, given).encode(PROBES), wanted, atol=1e-6)


# -- what the encoder had, it keeps ------------------------------------------------------------


@pytest.fixture(scope="module")
def prompted(minilm):
    prompts = {"query": "query: ", "document": "passage: "}
    return SentenceTransformer(
        modules=list(minilm.children()),
        device="cpu",
        prompts=prompts,
        default_prompt_name="document",
        similarity_fn_name="dot",
    )


def test_prompts_and_similarity_are_kept_and_used_in_the_fit(prompted):
    with pytest.warns(UserWarning, match="give queries=") as found:
        wrapped = wrap(prompted, TEXTS, MeanRemoval(), normalize=False)
    assert found[0].filename == __file__
    assert wrapped.prompts == prompted.prompts
    assert wrapped.default_prompt_name == "document"
    assert wrapped.similarity_fn_name == "dot"
    mean = prompted.encode_document(TEXTS).mean(0)
    wanted = prompted.encode_query(PROBES) - mean
    np.testing.assert_allclose(wrapped.encode_query(PROBES), wanted, atol=1e-6)
    by_name = wrap(prompted, TEXTS, MeanRemoval(), normalize=False, prompt_name="query")
    wanted = prompted.encode_query(PROBES) - prompted.encode_query(TEXTS).mean(0)
    np.testing.assert_allclose(by_name.encode_query(PROBES), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("fixed", "prompts", "told"),
    [
        (MeanRemoval(), {"query": "query: ", "document": ""}, True),
        (AutoCorrector("search"), {"query": "query: "}, True),
        (AutoCorrector("classes"), {"query": "query: "}, False),
        (MeanRemoval(), {"query": "", "document": ""}, False),
        (MeanRemoval(), {"query": "text: ", "document": "text: "}, False),
        (Whitening(power=0.25, mean_strength=0), {"query": "query: "}, False),
    ],
)
def test_an_encoder_with_a_prompt_for_queries_is_told_to_give_them(fixed, prompts, told):
    rows = np.random.default_rng(0).normal(size=(400, 64))
    fixed = clone(fixed).fit(rows)
    if isinstance(fixed, AutoCorrector):
        fixed.corrector_ = Whitening().fit(rows)  # whatever was chosen
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        _tell_of_queries(SimpleNamespace(prompts=prompts), fixed)
    said = [one for one in found if "give queries=" in str(one.message)]
    assert len(said) == told


def test_queries_get_statistics_of_their_own(prompted, tmp_path):
    queries = [text[:30] for text in TEXTS]
    wrapped = wrap(prompted, TEXTS, MeanRemoval(), queries=queries, normalize=False)
    documents = prompted.encode_document(PROBES) - prompted.encode_document(TEXTS).mean(0)
    asked = prompted.encode_query(PROBES) - prompted.encode_query(queries).mean(0)
    assert np.abs(documents - asked).max() > 0.01
    wrapped.save_pretrained(str(tmp_path / "m"))
    for encoder in (wrapped, SentenceTransformer(str(tmp_path / "m"), device="cpu")):
        np.testing.assert_allclose(encoder.encode_document(PROBES), documents, atol=1e-6)
        np.testing.assert_allclose(encoder.encode_query(PROBES), asked, atol=1e-6)
        np.testing.assert_allclose(encoder.encode(PROBES), documents, atol=1e-6)


def test_truncation_goes_on_working(minilm, embeddings):
    wrapped = wrap(minilm, TEXTS, Whitening("pca", n_components=32), normalize=False)
    wanted = Whitening("pca", n_components=32).fit(embeddings[0]).transform(embeddings[1])
    found = wrapped.encode(PROBES, truncate_dim=8)
    np.testing.assert_allclose(found, wanted[:, :8], atol=1e-4)


def test_an_encoder_that_truncates_is_corrected_after_truncation(minilm, embeddings):
    short = SentenceTransformer(modules=list(minilm.children()), device="cpu", truncate_dim=24)
    wrapped = wrap(short, TEXTS, Whitening(epsilon=0.01), normalize=False)
    fitted = Whitening(epsilon=0.01).fit(embeddings[0][:, :24])
    wanted = fitted.transform(embeddings[1][:, :24])
    np.testing.assert_allclose(wrapped.encode(PROBES), wanted, atol=1e-4)
    with pytest.raises(ValueError, match="which no native module does before a Dense"):
        wrap(short, TEXTS, Whitening(epsilon=0.01, normalize="before"))


def test_half_precision_encoders_get_half_precision_modules(minilm):
    half = SentenceTransformer(str(bundled_minilm()), device="cpu").bfloat16()
    wrapped = wrap(half, TEXTS, ComponentRemoval(1))
    assert {parameter.dtype for parameter in wrapped.parameters()} == {torch.bfloat16}
    rows = wrapped.encode(PROBES, convert_to_tensor=True).float().numpy()
    wanted = wrap(minilm, TEXTS, ComponentRemoval(1)).encode(PROBES)
    assert (rows * wanted).sum(1).min() > 0.99


# -- saved -------------------------------------------------------------------------------------

_ELSEWHERE = """
import sys
import warnings
sys.modules["isotropy"] = None
import json, numpy as np
from sentence_transformers import SentenceTransformer
encoder = SentenceTransformer("model", device="cpu", local_files_only=True)
texts = json.load(open("texts.json"))
if __name__ == "__main__":
    rows = encoder.encode(texts)
    if len(sys.argv) > 1:
        pool = encoder.start_multi_process_pool(["cpu", "cpu"])
        rows = encoder.encode(texts, pool=pool, chunk_size=8)
        encoder.stop_multi_process_pool(pool)
    np.save("rows.npy", rows)
"""


@pytest.mark.parametrize(
    "words", [[], pytest.param(["pool"], marks=pytest.mark.slow)], ids=["one process", "several"]
)
def test_it_loads_where_isotropy_is_not_installed(minilm, tmp_path, words):
    wrapped = wrap(minilm, TEXTS, Whitening(power=0.5))
    wrapped.save_pretrained(str(tmp_path / "model"))
    (tmp_path / "elsewhere.py").write_text(_ELSEWHERE)
    (tmp_path / "texts.json").write_text(json.dumps(PROBES))
    program = [sys.executable, "elsewhere.py", *words]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True)
    rows = np.load(tmp_path / "rows.npy")
    np.testing.assert_allclose(rows, wrapped.encode(PROBES), atol=1e-6)


def test_the_card_tells_what_was_fitted_and_the_scores(minilm, tmp_path):
    wrap(minilm, TEXTS, Whitening(power=0.5)).save_pretrained(str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert card.startswith((bundled_minilm() / "README.md").read_text(encoding="utf-8")[:2000])
    assert "## Correction for anisotropy" in card
    assert "Whitening(power=0.5)" in card
    assert "60 texts" in card
    assert "| mean_cosine |" in card
    assert "no other library is needed" in card.replace("\n", " ")


def test_an_encoder_without_a_card_gets_one(minilm, tmp_path):
    bare = SentenceTransformer(modules=list(minilm.children()), device="cpu")
    wrap(bare, TEXTS, MeanRemoval()).save_pretrained(str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "MeanRemoval()" in card


def test_wrapped_twice_is_corrected_twice(minilm, embeddings):
    once = wrap(minilm, TEXTS, MeanRemoval(), normalize=False)
    twice = wrap(once, TEXTS, ComponentRemoval(1), normalize=False)
    rows = once.encode(TEXTS)
    wanted = ComponentRemoval(1).fit(rows).transform(once.encode(PROBES))
    np.testing.assert_allclose(twice.encode(PROBES), wanted, atol=1e-6)


@pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning")
@pytest.mark.parametrize(
    "gaussianizer",
    [
        RotationGaussianizer(max_layers=2, n_components=6, random_state=0),
        FlowGaussianizer(n_layers=2, hidden=8, max_iter=2, n_components=6, random_state=0),
    ],
    ids=["rotation", "flow"],
)
def test_correctors_that_are_not_affine_come_with_a_module_of_ours(minilm, gaussianizer, tmp_path):
    if isinstance(gaussianizer, FlowGaussianizer):
        pytest.importorskip("nflows")
    wrapped = wrap(minilm, TEXTS, gaussianizer, normalize=False)
    wanted = wrapped.isotropy_corrector.transform(minilm.encode(PROBES))
    np.testing.assert_allclose(wrapped.encode(PROBES), wanted, atol=1e-5)
    save(wrapped, tmp_path / "model")
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(loaded.encode(PROBES), wanted, atol=1e-5)
    assert "trust_remote_code=True" in (tmp_path / "model" / "README.md").read_text()
    assert check(tmp_path / "model", texts=PROBES).holds
    (tmp_path / "model" / "own.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match="would run code of its own"):
        check(tmp_path / "model", texts=PROBES)


# -- check -------------------------------------------------------------------------------------


@pytest.fixture
def folder(minilm, tmp_path):
    save(wrap(minilm, TEXTS, Whitening(power=0.5)), tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_encoder_agrees_with_its_corrector(folder):
    found = check(folder)
    assert found.holds
    assert found.largest < 1e-6
    assert found.n_texts == 64
    assert check(folder, texts=PROBES).n_texts == len(PROBES)


def test_queries_are_checked_too(prompted, tmp_path):
    queries = [text[:30] for text in TEXTS]
    save(wrap(prompted, TEXTS, MeanRemoval(), queries=queries), tmp_path / "model")
    assert check(tmp_path / "model").holds
    ComponentRemoval(1).fit(prompted.encode_query(queries)).save(
        tmp_path / "model" / "isotropy_query_corrector.safetensors"
    )
    assert not check(tmp_path / "model").holds


def test_an_edited_corrector_is_found_out(folder, embeddings):
    Whitening(power=0.6).fit(embeddings[0]).save(folder / "isotropy_corrector.safetensors")
    assert not check(folder).holds
    with pytest.raises(ValueError, match="holds none"):
        (folder / "isotropy_corrector.safetensors").unlink()
        check(folder)


def test_what_is_no_corrected_encoder_is_refused(minilm, folder, tmp_path):
    with pytest.raises(ValueError, match="does not end in a correction"):
        check(minilm, folder / "isotropy_corrector.safetensors")
    with pytest.raises(ValueError, match=r"what isotropy.encoders.wrap returned"):
        save(minilm, tmp_path / "other")
    with pytest.raises(ValueError, match="not an empty folder"):
        save(wrap(minilm, TEXTS, MeanRemoval()), folder)


# -- wrong input -------------------------------------------------------------------------------


def test_a_corrector_of_another_width_or_layer_is_refused(minilm):
    narrow = MeanRemoval().fit(np.eye(5))
    with pytest.raises(ValueError, match="takes 5 dimensions, but the encoder gives 384"):
        wrap(minilm, None, narrow)
    inner = Whitening().fit(encode("minilm", TEXTS, layer=3))
    with pytest.raises(ValueError, match="on another layer's or pooling's"):
        wrap(minilm, None, inner)


def test_wrong_arguments_are_refused(minilm):
    with pytest.raises(ValueError, match="texts is None, but the MeanRemoval is not fitted"):
        wrap(minilm, None, MeanRemoval())
    with pytest.raises(ValueError, match="corrector must be a corrector of isotropy"):
        wrap(minilm, TEXTS, "whitening.npz".__len__)
    with pytest.raises(ValueError, match="at position 1"):
        wrap(minilm, ["a", None], MeanRemoval())
    with pytest.raises(ValueError, match="holds no text"):
        wrap(minilm, [], MeanRemoval())
    with pytest.raises(ValueError, match="queries bring prompts of their own"):
        wrap(minilm, TEXTS, MeanRemoval(), queries=TEXTS, prompt_name="query")


# -- the commands ------------------------------------------------------------------------------


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return stop.value.code or 0, *capsys.readouterr()

    return call


def test_the_commands_wrap_and_check(run, minilm, embeddings, tmp_path):
    Path("texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    words = ["--texts", "texts.txt", "-c", "component-removal:n_components=1", "-o", "model"]
    code, told, errors = run("wrap", "minilm", *words)
    assert code == 0, errors
    assert "ComponentRemoval, 384 -> 384 dimensions" in told
    wanted = unit(ComponentRemoval(1).fit(embeddings[0]).transform(embeddings[1]))
    loaded = SentenceTransformer("model", device="cpu")
    np.testing.assert_allclose(loaded.encode(PROBES), wanted, atol=1e-6)
    code, told, _ = run("check", "model", "--json")
    assert code == 0
    assert json.loads(told)["verdict"] == "agree"
    MeanRemoval().fit(embeddings[0]).save("model/isotropy_corrector.safetensors")
    code, told, _ = run("check", "model")
    assert code == 1
    assert "DISAGREE" in told


def test_the_commands_refuse_in_one_line_and_leave_nothing(run, minilm, tmp_path):
    Path("texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    Path("bad.safetensors").write_bytes(b"no")
    cases = [
        (["wrap", "minilm", "--texts", "none.txt", "-o", "m"], "none.txt"),
        (["wrap", "minilm", "-o", "m"], "is not fitted"),
        (["wrap", "minilm", "-c", "bad.safetensors", "-o", "m"], "bad.safetensors"),
        (["wrap", "./no-model", "--texts", "texts.txt", "-o", "m"], "not a folder"),
        (["wrap", "minilm", "--texts", "texts.txt", "-o", "no/m"], "does not exist; make it"),
        (["check", "."], "holds none"),
    ]
    for words, message in cases:
        code, _, errors = run(*words)
        assert code == 2
        assert message in errors
        assert len([line for line in errors.splitlines() if line.startswith("isotropy: e")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.safetensors", "texts.txt"]
