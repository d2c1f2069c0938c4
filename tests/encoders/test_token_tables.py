"""Counts of tokens, weights, and tables of tokens corrected inside models."""

import subprocess
import sys

import numpy as np
import pytest

from isotropy import AffineMap, ComponentRemoval, MeanRemoval, TaperedWhitening, Whitening
from isotropy.encoders import (
    TiedTableWarning,
    correct_tokens,
    perplexity,
    token_counts,
    token_weights,
    unembedding_filter,
)
from isotropy.export.dense import native

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
model2vec = pytest.importorskip("model2vec")

WORDS = ["[PAD]", "[UNK]", "[MASK]", "the", "cat", "sat", "on", "mat", "dog", "rare"]
TEXTS = ["the cat sat on the mat", "the dog", "", "the the unseen"]
COUNTS = np.array([0, 1, 0, 5, 1, 1, 1, 1, 1, 0])
D = 6
STATIC = ["sentence-transformers", "module", "model2vec", "model2vec quantized"]


def rust_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def hugging_face_tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=rust_tokenizer(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_max_length=4,
    )


def rows_of(n=10, dtype=np.float32):
    rows = np.random.default_rng(0).normal(size=(n, D)) * np.arange(1, D + 1) + 3
    rows[0] = 0
    return rows.astype(dtype)


def static(kind, *, behind=(), dtype=np.float32, rows=None):
    from sentence_transformers import SentenceTransformer

    rows = rows_of(dtype=dtype) if rows is None else rows
    if kind == "model2vec":
        return model2vec.StaticModel(rows, rust_tokenizer(), config={"hidden_dim": D})
    if kind == "model2vec quantized":
        places = np.arange(len(WORDS)) // 2
        weights = np.linspace(0.5, 2, len(WORDS))
        return model2vec.StaticModel(
            rows[1:6], rust_tokenizer(), weights=weights, token_mapping=places
        )
    module = native("StaticEmbedding")(rust_tokenizer(), torch.from_numpy(rows.copy()))
    if kind == "module":
        return module
    return SentenceTransformer(modules=[module, *behind], device="cpu")


def table_of(model):
    """One row a token, as the model takes them."""
    if isinstance(model, model2vec.StaticModel):
        rows = model.embedding
        rows = rows if model.token_mapping is None else rows[model.token_mapping]
        return rows if model.weights is None else rows * model.weights[:, None]
    module = model[0] if hasattr(model, "encode") else model
    return module.embedding.weight.detach().float().numpy()


def language_model(kind="gpt2"):
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    if kind == "gpt2":
        config = GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=1, n_head=2)
        return GPT2LMHeadModel(config).eval()
    config = BertConfig(
        vocab_size=12,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    return BertForMaskedLM(config).eval()


# -- counts --------------------------------------------------------------------------------------


class Letters:
    """A tokenizer of no library."""

    def __len__(self):
        return 26

    def __call__(self, texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[ord(letter) - 97 for letter in text] for text in texts]}


@pytest.mark.parametrize("kind", ["tokenizers", "transformers", *STATIC[:3]])
def test_every_tokenizer_counts_the_same_whole_texts_and_stays_as_it_was(kind):
    made = {"tokenizers": rust_tokenizer, "transformers": hugging_face_tokenizer}
    tokenizer = made[kind]() if kind in made else static(kind)
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    inner = getattr(inner, "backend_tokenizer", inner)
    inner.enable_truncation(2)  # a text is counted whole, however a model may cut it
    before = inner.to_str()
    found = token_counts(tokenizer, (text for text in TEXTS), batch_size=2)
    assert found.tolist() == COUNTS.tolist()
    assert inner.to_str() == before


def test_counts_of_a_tokenizer_of_no_library():
    counts = token_counts(Letters(), (text for text in ["abba", "", "az"]), batch_size=2)
    assert counts[[0, 1, 25]].tolist() == [3, 2, 1] and counts.sum() == 6


def test_counts_of_files_and_of_texts_that_have_a_token(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("id,text\n" + "".join(f'1,"{text}"\n' for text in TEXTS), encoding="utf-8")
    assert token_counts(rust_tokenizer(), path, column="text").tolist() == COUNTS.tolist()
    found = token_counts(rust_tokenizer(), TEXTS, per_text=True, n_tokens=12)
    assert found.tolist() == [*np.minimum(COUNTS, [3] * 10), 0, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((7, ["a"], {}), TypeError, "tokenizer must be one of transformers"),
        ((None, "the cat", {}), ValueError, "texts are read from"),
        ((None, [None], {}), ValueError, "texts must be strings"),
        ((None, ["a"], {"n_tokens": 3}), ValueError, "n_tokens must be at least 10"),
        ((None, ["a"], {"column": "text"}), ValueError, "is for texts in a file"),
        ((None, ["a"], {"batch_size": 0}), ValueError, "batch_size"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments, error, said):
    tokenizer, texts, options = arguments
    with pytest.raises(error, match=said):
        token_counts(rust_tokenizer() if tokenizer is None else tokenizer, texts, **options)


# -- weights -------------------------------------------------------------------------------------


def test_weights_follow_their_formulas():
    counts = np.array([6.0, 3.0, 1.0, 0.0])
    share = counts / 10
    np.testing.assert_allclose(token_weights(counts, "zipf"), share)
    np.testing.assert_allclose(token_weights(counts, a=0.1), 0.1 / (0.1 + share))
    np.testing.assert_allclose(token_weights(counts, "uniform"), 1)
    idf = np.log(1 + (8 - counts + 0.5) / (counts + 0.5))
    np.testing.assert_allclose(token_weights(counts, "idf", n_texts=8), idf)
    assert (np.diff(token_weights(counts)) > 0).all()


@pytest.mark.parametrize("scheme", ["sif", "zipf", "uniform"])
def test_weights_know_no_scale_of_counts(scheme):
    np.testing.assert_allclose(
        token_weights(COUNTS, scheme), token_weights(COUNTS / 7e9, scheme), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("counts", "options", "said"),
    [
        ([1, -1], {}, "not negative"),
        ([1, np.nan], {}, "finite"),
        ([0, 0], {}, "all zero"),
        ([[1]], {}, "one number a token"),
        ([1, 2], {"scheme": "tfidf"}, "scheme must be one of"),
        ([1, 2], {"a": 0}, "a must be a number above 0"),
        ([1, 2], {"scheme": "idf"}, "n_texts must be"),
        ([1, 2], {"scheme": "idf", "n_texts": 1}, "at least the largest count"),
    ],
)
def test_what_makes_no_weights_is_refused(counts, options, said):
    with pytest.raises(ValueError, match=said):
        token_weights(counts, **options)


# -- static tables -------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error::isotropy.RankWarning")  # of what is cut anyway
@pytest.mark.parametrize("kind", STATIC)
def test_a_table_is_corrected_by_counts_weighted_and_cut_in_a_copy(kind):
    model = static(kind)
    old = table_of(model).astype(np.float64)
    counts = np.arange(1.0, len(WORDS) + 1)
    made = correct_tokens(model, Whitening(), counts=counts, weights="sif", n_components=4)
    np.testing.assert_array_equal(table_of(model), old)
    # The slow way: principal directions of the counted rows that are not zero, whitened.
    live = old.any(axis=1)
    p = counts[live] / counts[live].sum()
    centred = old[live] - p @ old[live]
    cov = (centred * counts[live, None]).T @ centred / (counts[live].sum() - 1)
    values, vectors = np.linalg.eigh(cov)
    white = centred @ vectors[:, ::-1][:, :4] / np.sqrt(values[::-1][:4])
    wanted = white * token_weights(counts)[live, None]
    found = table_of(made).astype(np.float64)
    assert type(made) is type(model) and found.shape == (len(WORDS), 4)
    np.testing.assert_allclose(found[live] @ found[live].T, wanted @ wanted.T, rtol=1e-4, atol=1e-5)
    assert not found[~live].any()


@pytest.mark.parametrize("kind", STATIC)
def test_a_corrected_static_model_encodes_its_means(kind):
    model = static(kind)
    made = correct_tokens(model, MeanRemoval(), counts=COUNTS)
    if kind == "module":
        return
    rows = table_of(made)[[3, 4]]
    np.testing.assert_allclose(made.encode(["the cat"])[0], rows.mean(0), rtol=1e-5)


def test_the_mean_of_running_text_is_removed():
    made = correct_tokens(static("model2vec"), MeanRemoval(), counts=COUNTS)
    np.testing.assert_allclose(COUNTS @ table_of(made), 0, atol=1e-5)


def test_rows_that_no_text_reaches_stay_as_they_are():
    rows = rows_of(14)
    model = static("sentence-transformers", rows=rows)
    made = correct_tokens(model, MeanRemoval())
    found = table_of(made)
    np.testing.assert_array_equal(found[10:], rows[10:])  # beyond the tokenizer's vocabulary
    np.testing.assert_array_equal(found[0], 0)  # a row of zeros
    np.testing.assert_allclose(found[1:10].mean(0), 0, atol=1e-6)  # the others' own mean


def test_a_fitted_corrector_and_its_file_are_used_as_they_are(tmp_path):
    fitted = Whitening("zca").fit(np.random.default_rng(1).normal(size=(50, D)))
    fitted.save(tmp_path / "c.safetensors")
    model = static("model2vec")
    wanted = fitted.transform(rows_of()[1:])
    for corrector in (fitted, fitted.affine_map_, tmp_path / "c.safetensors"):
        np.testing.assert_allclose(table_of(correct_tokens(model, corrector))[1:], wanted)


def test_weights_alone():
    weights = np.linspace(-1, 1, len(WORDS))
    made = correct_tokens(static("model2vec"), weights=weights)
    np.testing.assert_allclose(table_of(made), rows_of() * weights[:, None], rtol=1e-6)


@pytest.mark.parametrize("kind", ["sentence-transformers", "model2vec"])
def test_half_precision_is_kept(kind):
    rows = rows_of(dtype=np.float16)
    made = correct_tokens(static(kind, rows=rows), TaperedWhitening(), counts=COUNTS)
    wanted = correct_tokens(
        static(kind, rows=rows.astype(np.float32)), TaperedWhitening(), counts=COUNTS
    )
    table = made.embedding if kind == "model2vec" else made[0].embedding.weight
    assert str(table.dtype).endswith("float16")
    np.testing.assert_allclose(table_of(made), table_of(wanted), atol=2e-3)


LOADED = {
    "model2vec": "from model2vec import StaticModel\nmade = StaticModel.from_pretrained('made')\n",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer\n"
    "made = SentenceTransformer('made', device='cpu')\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOADED)
def test_corrected_static_models_load_without_this_library(kind, tmp_path):
    made = correct_tokens(static(kind), Whitening(n_components=3), counts=COUNTS + 1)
    save = made.save_pretrained if kind == "model2vec" else made.save
    save(str(tmp_path / "made"))
    code = (
        f"import sys; sys.modules['isotropy'] = None\n{LOADED[kind]}"
        "import numpy as np\nnp.save('rows.npy', made.encode(['the cat']))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), made.encode(["the cat"]), rtol=1e-6)


@pytest.mark.parametrize("kind", LOADED)
def test_what_a_corrected_model_saves_names_no_part_of_this_library(kind, tmp_path):
    made = correct_tokens(static(kind), MeanRemoval(), counts=COUNTS)
    save = made.save_pretrained if kind == "model2vec" else made.save
    save(str(tmp_path / "made"))
    written = [path.read_bytes() for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert written and not any(b"isotropy" in text for text in written)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a SentenceTransformer"),
        ({"model": "minilm"}, TypeError, "model must be a SentenceTransformer"),
        ({"counts": [1, 2]}, ValueError, "one number a token, 10 of them"),
        ({"counts": [1] + [0] * 9}, ValueError, "zero for every row"),
        ({"weights": "sif"}, ValueError, "follow from counts"),
        ({"weights": "idf", "counts": COUNTS}, ValueError, "need counts of texts"),
        ({"weights": [1.0]}, ValueError, "10 finite numbers"),
        ({"weights": "best", "counts": COUNTS}, ValueError, "scheme must be one of"),
        ({"n_components": 7}, ValueError, "n_components must be"),
        (
            {"n_components": 6, "counts": [0] * 5 + [1] * 5},
            ValueError,
            "more than the 4 directions",
        ),
        ({"corrector": MeanRemoval}, ValueError, r"Make one: MeanRemoval\(\)"),
        ({"corrector": AffineMap(np.zeros(3))}, ValueError, "3"),
    ],
)
def test_what_does_not_fit_a_table_is_refused(options, error, said):
    model = options.pop("model", None) or static("sentence-transformers")
    with pytest.raises(error, match=said):
        correct_tokens(model, options.pop("corrector", MeanRemoval()), **options)


def test_a_table_of_zeros_is_refused():
    rows = np.zeros((10, D), np.float32)
    with pytest.raises(ValueError, match="no row that can be corrected"):
        correct_tokens(static("model2vec", rows=rows), MeanRemoval())


def test_a_width_that_the_next_module_cannot_take_is_refused():
    model = static("sentence-transformers", behind=[native("Dense")(D, 2)])
    assert correct_tokens(model, MeanRemoval()).encode(["cat"]).shape == (1, 2)
    with pytest.raises(ValueError, match="Dense behind the table needs rows of 6 columns"):
        correct_tokens(model, MeanRemoval(), n_components=3)


# -- tables of transformers ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_tied_table_is_corrected_at_both_ends_and_said_so(kind, tmp_path):
    model = language_model(kind)
    old = model.get_input_embeddings().weight.detach().clone()
    with pytest.warns(TiedTableWarning, match="output table"):
        made = correct_tokens(model, ComponentRemoval(2))
    new = made.get_input_embeddings().weight
    assert made.get_output_embeddings().weight is new
    assert torch.equal(model.get_input_embeddings().weight, old)
    padding = model.get_input_embeddings().padding_idx
    live = [k for k in range(12) if k != padding and old[k].any()]
    wanted = ComponentRemoval(2).fit_transform(old[live].numpy())
    np.testing.assert_allclose(new.detach().numpy()[live], wanted, atol=1e-6)
    if padding is not None:
        assert torch.equal(new[padding], old[padding])
    made.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(again.get_input_embeddings().weight, new)
    tokenizer = hugging_face_tokenizer()
    before, after = (perplexity(m, tokenizer, TEXTS) for m in (model, again))
    assert before >= 1 and after >= 1 and before != after


def test_an_encoder_s_input_table_is_corrected_in_a_copy_that_saves(tmp_path, recwarn):
    from sentence_transformers import SentenceTransformer

    language_model("bert").bert.save_pretrained(tmp_path / "bert")
    hugging_face_tokenizer().save_pretrained(tmp_path / "bert")
    model = SentenceTransformer(str(tmp_path / "bert"), device="cpu")
    texts = ["the cat sat", "the dog"]
    before, old = model.encode(texts), table(model)
    made = correct_tokens(model, MeanRemoval(), counts=[*COUNTS, 0, 0])
    np.testing.assert_array_equal(model.encode(texts), before)
    np.testing.assert_allclose(COUNTS @ table(made)[:10], 0, atol=1e-5)
    # The padding token, and the two rows that the tokenizer does not know.
    np.testing.assert_array_equal(table(made)[[0, 10, 11]], old[[0, 10, 11]])
    made.save(str(tmp_path / "made"))
    again = SentenceTransformer(str(tmp_path / "made"), device="cpu")
    np.testing.assert_allclose(again.encode(texts), made.encode(texts), atol=1e-6)
    assert abs(made.encode(texts) - before).max() > 1e-4
    assert not [w for w in recwarn if w.category is TiedTableWarning]


def table(model):
    return model[0].auto_model.get_input_embeddings().weight.detach().numpy().copy()


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (MeanRemoval(), {"n_components": 4}, "would narrow the input table"),
        (Whitening(n_components=4), {}, "makes 4 columns of 8"),
        (Whitening(), {}, "turns the axes"),
    ],
)
def test_a_map_that_the_layers_above_could_not_read_is_refused(given, options, said):
    with pytest.raises(ValueError, match=said):
        correct_tokens(language_model("bert"), given, **options)


# -- language models -----------------------------------------------------------------------------


def test_perplexity_is_that_of_each_token_given_those_before():
    model, tokenizer = language_model(), hugging_face_tokenizer()
    losses = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]], dtype=torch.long)
        if ids.shape[1] > 1:
            with torch.no_grad():
                said = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            losses += [-float(row[k]) for row, k in zip(said, ids[0, 1:], strict=True)]
    wanted = np.exp(np.mean(losses))
    for batch_size in (1, 3):
        found = perplexity(model, tokenizer, iter(TEXTS), batch_size=batch_size)
        assert found == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="no token"):
        perplexity(model, tokenizer, ["", "the"])
    with pytest.raises(ValueError, match="gives no logits"):
        perplexity(model.transformer, tokenizer, TEXTS)


def test_the_filter_keeps_the_middle_or_what_frequent_tokens_are_not_written_in():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(200, 8)) * np.arange(8, 0, -1)
    middle = unembedding_filter(table, 4)
    _, _, Vt = np.linalg.svd(table)
    np.testing.assert_allclose(middle.matrix @ middle.matrix.T, Vt[2:6].T @ Vt[2:6], atol=1e-10)
    counts = np.zeros(200)
    counts[7] = 5
    without = unembedding_filter(torch.from_numpy(table), 7, counts=counts)
    np.testing.assert_allclose(without.apply(table[7:8]), 0, atol=1e-10)
    assert unembedding_filter(language_model()).n_features_out == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": 0}, "keep must be"),
        ({"keep": 1.5}, "keep must be"),
        ({"keep": 9}, "keep must be"),
        ({"counts": [1]}, "one number a token"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        unembedding_filter(np.eye(8), **options)
    with pytest.raises(ValueError, match="no output table"):
        unembedding_filter(language_model("bert").bert)
    with pytest.raises(ValueError, match="finite numbers of shape"):
        unembedding_filter(np.full((3, 2), np.nan))
