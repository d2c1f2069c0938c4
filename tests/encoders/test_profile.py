"""Layer profiles of text, vision and audio models against states kept and masked by hand."""

import json

import numpy as np
import pytest

from isotropy import score
from isotropy.cli import main
from isotropy.encoders import bundled_minilm, encode, layer_profile
from isotropy.io.texts import documentation_sentences

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def ids(lengths=(40, 13, 40, 25)):
    torch.manual_seed(0)
    found = torch.randint(5, 90, (len(lengths), 40))
    mask = torch.arange(40)[None] < torch.tensor(lengths)[:, None]
    return {"input_ids": found, "attention_mask": mask.long()}


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=100, **SMALL)), ids()


def gpt2():
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=100, n_embd=32, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return GPT2Model(config), ids()


def t5():
    from transformers import T5Config, T5Model

    return T5Model(
        T5Config(vocab_size=100, d_model=32, num_layers=3, num_heads=2, d_kv=16, d_ff=64)
    ), ids()


def canine():
    from transformers import CanineConfig, CanineModel

    config = CanineConfig(**SMALL, num_hash_buckets=64, local_transformer_stride=8)
    return CanineModel(config), ids()


def vit():
    from transformers import ViTConfig, ViTModel

    model = ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8))
    return model, {"pixel_values": torch.randn(4, 3, 32, 32)}


def wav2vec2():
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**SMALL, conv_dim=(16,) * 7)), sound()


def hubert():
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**SMALL, conv_dim=(16,) * 7)), sound()


def sound():
    mask = torch.ones(4, 6000, dtype=torch.long)
    mask[1, 3000:] = 0
    return {"input_values": torch.randn(4, 6000), "attention_mask": mask}


MODELS = [bert, gpt2, t5, canine, vit, wav2vec2, hubert]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_moments_are_those_of_the_states(make):
    torch.manual_seed(0)
    model, batch = make()
    model.train()
    profile = layer_profile(model, [batch, batch])
    assert model.training  # as it was

    bare = model.get_encoder() if make is t5 else model
    with torch.no_grad():
        output = bare.eval()(**batch, output_hidden_states=True)
    assert len(profile) == len(output.hidden_states)
    for k, state in enumerate(output.hidden_states):
        if make is vit:
            mask = torch.ones(state.shape[:2])
        elif make in (wav2vec2, hubert):
            mask = bare._get_feature_vector_attention_mask(state.shape[1], batch["attention_mask"])
        elif state.shape[1] != 40:  # CANINE's molecules: one for 4 characters
            mask = batch["attention_mask"].view(4, -1, 4).amax(2)
        else:
            mask = batch["attention_mask"]
        mask = mask.bool()
        tokens = np.concatenate([state[mask].numpy()] * 2)
        items = np.stack([s[m].mean(0).numpy() for s, m in zip(state, mask, strict=True)])
        assert profile.token[k].n_rows == len(tokens)
        for found, rows in ((profile.token[k], tokens), (profile.pooled[k], [*items, *items])):
            wanted = score(np.asarray(rows), ["mean_cosine", "effective_rank"])
            card = score(found, ["mean_cosine", "effective_rank"])
            for name in wanted:
                assert card[name] == pytest.approx(wanted[name], rel=1e-4)


def test_an_unpadded_tensor_is_a_batch():
    model, batch = bert()
    profile = layer_profile(model, [batch["input_ids"]])
    assert profile.token[0].n_rows == 160


@pytest.fixture(scope="module")
def minilm_profile():
    try:
        bundled_minilm()
    except ImportError:
        pytest.skip("needs the bundled MiniLM")
    return layer_profile("minilm", documentation_sentences(50), batch_size=16)


def test_pooled_layers_of_minilm_are_those_that_encode_gives(minilm_profile):
    assert len(minilm_profile) == 7
    for layer in (0, 3, 6):
        rows = encode("minilm", documentation_sentences(50), layer=layer)
        np.testing.assert_allclose(minilm_profile.pooled[layer].mean, rows.mean(0), atol=1e-5)


def test_what_a_profile_says(minilm_profile):
    said = str(minilm_profile)
    assert "minilm" in said and "50 items, 6 layers" in said and "isoscore" in said
    assert "<table>" in minilm_profile._repr_html_()
    told = minilm_profile.to_dict()
    assert [entry["layer"] for entry in told["token"]] == list(range(7))
    assert told["pooled"][0]["rows"] == 50 and 0 < told["pooled"][3]["mean_cosine"] < 1
    with pytest.raises(ValueError, match="level must be"):
        minilm_profile.scorecards("word")


def test_the_command(minilm_profile, tmp_path, capsys):
    (tmp_path / "t.txt").write_text("\n".join(documentation_sentences(50)), encoding="utf-8")
    texts = str(tmp_path / "t.txt")
    with pytest.raises(SystemExit) as done:
        main(["layers", "minilm", "--data", texts, "--json", "--metrics", "mean_cosine"])
    assert not done.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["token"][2]["mean_cosine"] == pytest.approx(
        minilm_profile.to_dict()["token"][2]["mean_cosine"], abs=1e-6
    )
    assert "isoscore" not in told["token"][2]


def test_wrong_input_is_named(tmp_path, capsys):
    model, batch = bert()
    for call, what in [
        (lambda: layer_profile(model, []), "empty"),
        (lambda: layer_profile(model, ["a text"]), "Texts need a tokenizer"),
        (lambda: layer_profile(model, [[1, 2]]), "dictionary of tensors"),
        (lambda: layer_profile("/nowhere/at/all", ["a"]), "not a folder"),
        (lambda: layer_profile(model, [batch], device="abacus"), "device="),
    ]:
        with pytest.raises(ValueError, match=what):
            call()
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    with pytest.raises(SystemExit):
        main(["layers", "minilm", "--data", str(tmp_path / "t.txt"), "--metrics", "isotropicness"])
    assert "No metric is named" in capsys.readouterr().err
