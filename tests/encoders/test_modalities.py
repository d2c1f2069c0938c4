"""`wrap_modalities`: what each modality gives is what the corrector gives for its group."""

import numpy as np
import pytest
from sklearn.base import clone

import isotropy
from isotropy import GroupMeanRemoval, GroupWhitening, MeanRemoval
from isotropy.encoders import ModalityEncoder, check, layer_profile, save, wrap, wrap_modalities
from isotropy.metrics import modality_gap

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("PIL")

WORDS = ["a", "cat", "dog", "sat", "on", "the", "mat", "and", "ran", "home", "red", "blue"]
CHOICES = {
    "own means": GroupMeanRemoval(shrinkage=0, normalize="both"),
    "lengths kept": GroupMeanRemoval(),
    "shared whitening": GroupWhitening(0.5, normalize="before"),
    "own whitening": GroupWhitening(0.5, own=True, normalize="both"),
}


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(n)]


def images(n, seed=0):
    from PIL import Image

    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(n)]


ITEMS = {"text": texts(40), "image": images(30)}
PROBES = {"text": texts(5, 1), "image": images(4, 1)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP's own classes, of random weights."""
    import transformers
    from sentence_transformers import SentenceTransformer
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer

    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    folder = str(tmp_path_factory.mktemp("clip"))
    marks = ["<|startoftext|>", "<|endoftext|>"]
    letters = sorted(set("".join(WORDS)))
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), *marks]
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(vocabulary)}, merges=[], model_max_length=32
    )
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    small["num_attention_heads"] = 2
    ends = {"bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={
                **small, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": 32
            },
            vision_config={**small, "image_size": 8, "patch_size": 4},
            projection_dim=12,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    size = {"height": 8, "width": 8}
    CLIPProcessor(processor(size=size, crop_size=size), tokenizer).save_pretrained(folder)
    return SentenceTransformer(folder, device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def bare(clip):
    return {m: (clip.encode(ITEMS[m]), clip.encode(PROBES[m])) for m in ITEMS}


def fitted(corrector, bare, **more):
    rows = np.concatenate([bare[m][0] for m in ITEMS])
    return clone(corrector).fit(rows, groups=["text"] * 40 + ["image"] * 30, **more)


@pytest.mark.parametrize("name", CHOICES)
def test_each_route_gives_what_the_corrector_gives_for_its_modality(clip, bare, name):
    wrapped = wrap_modalities(clip, ITEMS, CHOICES[name])
    corrector = fitted(CHOICES[name], bare)
    for m, some in PROBES.items():
        wanted = corrector.transform(bare[m][1].astype(float), groups=[m] * len(some))
        np.testing.assert_allclose(wrapped.encode(some), wanted, atol=1e-4)
        np.testing.assert_allclose(wrapped.encode_document(some), wanted, atol=1e-4)


def test_the_gap_closes_and_is_told(clip):
    wrapped = wrap_modalities(clip, ITEMS)
    before, after = wrapped.isotropy_gap["text", "image"]
    found = modality_gap(clip.encode(ITEMS["image"]), clip.encode(ITEMS["text"]))
    assert before.value == pytest.approx(found.value) and before.beyond_chance
    assert after.value < before.value / 5
    assert "distance of text to image" in wrapped._model_card_text
    assert wrapped.isotropy_gap["image", "text"] == (before, after)


def test_queries_of_a_modality_have_their_own_mean(clip, bare):
    asked = {"text": texts(25, 2)}
    wrapped = wrap_modalities(clip, ITEMS, CHOICES["lengths kept"], queries=asked)
    corrector = fitted(
        CHOICES["lengths kept"],
        bare,
        queries=clip.encode(asked["text"]),
        query_groups=["text"] * 25,
    )
    wanted = corrector.transform_queries(bare["text"][1], ["text"] * 5)
    np.testing.assert_allclose(wrapped.encode_query(PROBES["text"]), wanted, atol=1e-5)
    assert not np.allclose(wrapped.encode(PROBES["text"]), wanted, atol=1e-5)
    loose = wrap_modalities(clip, None, wrapped.isotropy_corrector)
    np.testing.assert_allclose(loose.encode_query(PROBES["text"]), wanted, atol=1e-5)


def test_it_loads_without_this_library(clip, tmp_path):
    wrapped = wrap_modalities(clip, ITEMS)
    save(wrapped, tmp_path / "model")
    corrector = isotropy.load(tmp_path / "model" / "isotropy_corrector.safetensors")
    assert corrector.groups_ == ["image", "text"]
    from sentence_transformers import SentenceTransformer

    again = SentenceTransformer(str(tmp_path / "model"), device="cpu", local_files_only=True)
    for some in PROBES.values():
        np.testing.assert_allclose(again.encode(some), wrapped.encode(some), atol=1e-6)
    with pytest.raises(ValueError, match="corrects by image, text, not as wrap does"):
        check(tmp_path / "model", texts=["a cat"])
    types = {type(module).__module__.partition(".")[0] for module in again.modules()}
    assert "isotropy" not in types


def test_a_fitted_corrector_is_used_as_it_is(clip, bare, tmp_path):
    corrector = fitted(CHOICES["own means"], bare)
    corrector.save(tmp_path / "c.safetensors")
    wrapped = wrap_modalities(clip, None, tmp_path / "c.safetensors")
    wanted = corrector.transform(bare["image"][1], groups=["image"] * 4)
    np.testing.assert_allclose(wrapped.encode(PROBES["image"]), wanted, atol=1e-5)
    assert wrapped.isotropy_gap is None


# -- two towers ------------------------------------------------------------------------------------


def _of_text(some):
    return np.array([[len(one), one.count("a"), 4.0] for one in some])


def _of_image(some):
    return torch.tensor([[float(np.asarray(one).mean()) / 99, 1.0, -4.0] for one in some])


TOWERS = {"text": _of_text, "image": _of_image}


def test_two_towers_take_items_as_they_come(tmp_path):
    both = wrap_modalities(TOWERS, ITEMS, batch_size=7)
    mixed = [PROBES["image"][0], "a cat", np.asarray(PROBES["image"][1]), {"text": "a mat"}]
    kinds = ["image", "text", "image", "text"]
    found = both.encode(mixed)
    assert found.shape == (4, 3) and found.dtype == np.float32
    for k, (item, kind) in enumerate(zip(mixed, kinds, strict=True)):
        item = item["text"] if isinstance(item, dict) else item
        rows = np.asarray(TOWERS[kind]([item]), dtype=float)
        wanted = both.isotropy_corrector.transform(rows, groups=[kind])
        np.testing.assert_allclose(found[k : k + 1], wanted, atol=1e-5)
    both.isotropy_corrector.save(tmp_path / "c.safetensors")
    again = ModalityEncoder(TOWERS, tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.encode(mixed), found)
    assert both.encode([]).shape == (0, 3)
    np.testing.assert_array_equal(both.encode_query(mixed), found)


def test_one_modality_alone_changes_nothing_of_the_order_within_it():
    # A shift of all rows of a modality, and of its queries, leaves distances within it.
    both = wrap_modalities(TOWERS, ITEMS, GroupMeanRemoval())
    raw, found = _of_text(PROBES["text"]), both.encode(PROBES["text"])
    np.testing.assert_allclose(found - found[0], raw - raw[0], atol=1e-5)


WRONG = [
    (lambda: wrap_modalities(TOWERS, {"text": ["a", "b"]}), "two modalities or more, got 'text'"),
    (lambda: wrap_modalities(TOWERS, ["a"]), "must be a mapping"),
    (lambda: wrap_modalities(TOWERS, {"text": "a", "image": ["b"]}), "iterable of items, got str"),
    (lambda: wrap_modalities(TOWERS, {"text": ["a"], "image": []}), "holds nothing to fit on"),
    (lambda: wrap_modalities(TOWERS, {"text": ["a"], "audio": ["b"]}), "'audio', which is no mod"),
    (lambda: wrap_modalities({**TOWERS, "audio": len}, ITEMS), "items has none of 'audio'"),
    (lambda: wrap_modalities(TOWERS, ITEMS, MeanRemoval()), "must know groups"),
    (lambda: wrap_modalities(TOWERS, None), "is not fitted"),
    (lambda: wrap_modalities({"text": len}, ITEMS), "two towers or more"),
    (lambda: wrap_modalities({"text": _of_text, "image": 3}, ITEMS), "must be a function"),
    (
        lambda: wrap_modalities({**TOWERS, "image": lambda some: np.ones((len(some), 2))}, ITEMS),
        "different widths",
    ),
    (
        lambda: wrap_modalities({**TOWERS, "image": lambda some: np.ones(3)}, ITEMS),
        "one row an item",
    ),
    (lambda: wrap_modalities(TOWERS, ITEMS).encode([3]), "item 0 is not told by its type, int"),
    (lambda: wrap_modalities(TOWERS, ITEMS).encode([{"audio": 3}]), "'audio', which is no mod"),
    (lambda: wrap_modalities(TOWERS, ITEMS).encode("a"), "put it in a list"),
    (lambda: wrap_modalities(TOWERS, ITEMS).encode(["a"], ["text"] * 2), "2 names for 1 items"),
    (lambda: modality_gap(np.ones((3, 2)), np.ones((3, 4))), "X has 2 columns and Y 4"),
    (lambda: modality_gap(np.ones((1, 2)), np.ones((3, 2))), "X must have two rows"),
    (lambda: modality_gap(np.ones((2, 2)), np.full((3, 2), np.nan)), "NaN"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_input_is_named(number):
    call, message = WRONG[number]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_names_of_modalities_are_no_texts(clip):
    with pytest.raises(ValueError, match="got a mapping"):
        wrap(clip, ITEMS)


def test_an_encoder_is_not_fitted_for_what_it_takes_for_something_else(clip, bare):
    with pytest.raises(ValueError, match="'image', of type str, for 'text'"):
        wrap_modalities(clip, {"text": ["a cat"], "image": ["a dog"]})
    with pytest.raises(ValueError, match="'audio', which is no modality of this encoder"):
        wrap_modalities(clip, {"text": ["a cat"], "audio": [np.ones(9)]})
    other = GroupMeanRemoval().fit(np.eye(4), groups=["text", "image"] * 2)
    with pytest.raises(ValueError, match="takes 4 dimensions, but the encoder gives 12"):
        wrap_modalities(clip, None, other)


def test_floor_and_interval_of_the_gap_hold():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 60, 8)) + np.eye(8)[0] * 3
    same = [modality_gap(rows[:30], rows[30:]) for rows in X]
    assert np.sqrt(np.mean([g.value**2 for g in same])) == pytest.approx(
        np.mean([g.floor for g in same]), rel=0.05
    )


def test_layers_of_both_towers(clip):
    towers = {m: layer_profile(clip, some) for m, some in PROBES.items()}
    assert [len(profile) for profile in towers.values()] == [3, 3]
    assert towers["image"].token[0].n_rows == 4 * 5  # four patches and the class token
    assert towers["text"].pooled[0].n_rows == 5
    bare = clip[0].auto_model
    with pytest.raises(ValueError, match="two towers: give batches of one"):
        layer_profile(
            bare, [{"input_ids": torch.ones(1, 2), "pixel_values": torch.ones(1, 3, 8, 8)}]
        )
