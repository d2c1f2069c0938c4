"""A random encoder, small enough to be trained in every test."""

import re
from copy import deepcopy

import pytest

WIDTH = 16


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory):
    """Three layers of BERT, in a folder."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from isotropy.io.texts import documentation_sentences

    words = re.findall(r"\w+|[^\w\s]", " ".join(documentation_sentences(80)).lower())
    words = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    folder, bert = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("bert")
    BertModel(config).save_pretrained(bert)
    numbers = {word: number for number, word in enumerate(words)}
    BertTokenizerFast(vocab=numbers).save_pretrained(bert)
    modules = [Transformer(str(bert)), Pooling(WIDTH)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def loaded(encoder_path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(encoder_path, device="cpu").eval()


@pytest.fixture
def model(loaded):
    """The encoder, in evaluation as loaded: no dropout, so that two passes compare."""
    return deepcopy(loaded)
