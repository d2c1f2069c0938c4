"""Beside every loss that sentence-transformers has, the regularizer sees what the encoder gives.

The list is the package's own: a loss that a new version brings fails here until it is described.
"""

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer import losses  # noqa: E402
from torch import nn  # noqa: E402

from isotropy.losses import (  # noqa: E402
    Alignment,
    BarlowTwins,
    KoLeo,
    MeanCosine,
    RegularizedLoss,
    alignment,
    koleo,
    mean_cosine,
)

WORDS = ["the", "and", "is", "of", "a", "to", "in", "for", "python", "value", "object"]
N, D = 6, 16
TWO, THREE, ONE = (0, 1), (0, 1, 2), (0,)
SCORES = torch.linspace(0, 1, N)
CLASSES = torch.arange(N) % 2

inner = losses.MultipleNegativesRankingLoss
cached = losses.CachedMultipleNegativesRankingLoss


def layered(m, kind=inner, **options):
    return losses.AdaptiveLayerLoss(m, kind(m), n_layers_per_step=2, **options)


# By name: how it is made, how many columns it takes, its labels, the columns that it embeds with
# the model that is trained.
SPECS = {
    "AdaptiveLayerLoss": (layered, 2, None, TWO),
    "AdaptiveLayerLoss of three": (layered, 3, None, THREE),
    "AdaptiveLayerLoss of Matryoshka": (
        lambda m: losses.AdaptiveLayerLoss(m, losses.MatryoshkaLoss(m, inner(m), [D, 4])),
        2,
        None,
        TWO,
    ),
    "CosineSimilarityLoss": (losses.CosineSimilarityLoss, 2, SCORES, TWO),
    "SoftmaxLoss": (lambda m: losses.SoftmaxLoss(m, D, 2), 2, CLASSES, TWO),
    "MultipleNegativesRankingLoss": (inner, 2, None, TWO),
    "MultipleNegativesRankingLoss of three": (inner, 3, None, THREE),
    "MultipleNegativesSymmetricRankingLoss": (
        losses.MultipleNegativesSymmetricRankingLoss,
        2,
        None,
        TWO,
    ),
    "TripletLoss": (losses.TripletLoss, 3, None, THREE),
    "MarginMSELoss": (losses.MarginMSELoss, 3, SCORES, THREE),
    "MatryoshkaLoss": (lambda m: losses.MatryoshkaLoss(m, inner(m), [D, 8, 4]), 2, None, TWO),
    "MatryoshkaLoss of some widths": (
        lambda m: losses.MatryoshkaLoss(m, inner(m), [D, 8, 4], n_dims_per_step=1),
        2,
        None,
        TWO,
    ),
    "MatryoshkaLoss of a cached loss": (
        lambda m: losses.MatryoshkaLoss(m, cached(m, mini_batch_size=4), [D, 8]),
        2,
        None,
        TWO,
    ),
    "Matryoshka2dLoss": (
        lambda m: losses.Matryoshka2dLoss(m, inner(m), [D, 8, 4]),
        2,
        None,
        TWO,
    ),
    "MSELoss": (losses.MSELoss, 1, torch.ones(N, D), ONE),
    "ContrastiveLoss": (losses.ContrastiveLoss, 2, CLASSES, TWO),
    "CachedGISTEmbedLoss": (
        lambda m: losses.CachedGISTEmbedLoss(m, guide(m), mini_batch_size=4),
        3,
        None,
        THREE,
    ),
    "CachedMultipleNegativesRankingLoss": (lambda m: cached(m, mini_batch_size=4), 3, None, THREE),
    "CachedMultipleNegativesSymmetricRankingLoss": (
        lambda m: losses.CachedMultipleNegativesSymmetricRankingLoss(m, mini_batch_size=4),
        2,
        None,
        TWO,
    ),
    # A copy of the model, trained beside it and left out of what is saved, embeds the other column.
    "ContrastiveTensionLoss": (losses.ContrastiveTensionLoss, 2, None, (1,)),
    "ContrastiveTensionLossInBatchNegatives": (
        losses.ContrastiveTensionLossInBatchNegatives,
        2,
        None,
        ONE,
    ),
    "CoSENTLoss": (losses.CoSENTLoss, 2, SCORES, TWO),
    "AnglELoss": (losses.AnglELoss, 2, SCORES, TWO),
    "OnlineContrastiveLoss": (losses.OnlineContrastiveLoss, 2, CLASSES, TWO),
    "MegaBatchMarginLoss": (
        lambda m: losses.MegaBatchMarginLoss(m, mini_batch_size=4),
        2,
        None,
        TWO,
    ),
    "MegaBatchMarginLoss at once": (
        lambda m: losses.MegaBatchMarginLoss(m, use_mini_batched_version=False),
        2,
        None,
        TWO,
    ),
    # The second column is what a decoder is to say.
    "DenoisingAutoEncoderLoss": (losses.DenoisingAutoEncoderLoss, 2, None, ONE),
    "GISTEmbedLoss": (lambda m: losses.GISTEmbedLoss(m, guide(m)), 3, None, THREE),
    "GlobalOrthogonalRegularizationLoss": (
        losses.GlobalOrthogonalRegularizationLoss,
        2,
        None,
        TWO,
    ),
    "BatchHardTripletLoss": (losses.BatchHardTripletLoss, 1, CLASSES, ONE),
    "BatchHardSoftMarginTripletLoss": (losses.BatchHardSoftMarginTripletLoss, 1, CLASSES, ONE),
    "BatchSemiHardTripletLoss": (losses.BatchSemiHardTripletLoss, 1, CLASSES, ONE),
    "BatchAllTripletLoss": (losses.BatchAllTripletLoss, 1, CLASSES, ONE),
    "DistillKLDivLoss": (losses.DistillKLDivLoss, 3, torch.rand(N, 2), THREE),
    "EmbedDistillLoss": (losses.EmbedDistillLoss, 2, torch.ones(N, D), TWO),
}


def guide(model):
    return SentenceTransformer(modules=list(model), device="cpu").eval()


def texts(column):
    drawn = random.Random(column)
    return [" ".join(drawn.choices(WORDS, k=3 + k % 4)) for k in range(N)]


def batch(model, n_columns):
    """As `preprocess` gives it, which is no dict in every version."""
    return [model.preprocess(texts(column)) for column in range(n_columns)]


def rows_of(model, columns):
    return [model(model.preprocess(texts(c)))["sentence_embedding"] for c in columns]


def made(model, name):
    torch.manual_seed(1)
    random.seed(1)
    make, n_columns, labels, embedded = SPECS[name]
    return make(model), batch(model, n_columns), labels, embedded


def test_every_loss_of_the_package_is_described():
    kinds = [getattr(losses, name) for name in losses.__all__]
    names = {k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, nn.Module)}
    assert names <= set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_the_regularizer_sees_the_encoder_s_embeddings_of_each_column_once(model, name):
    base, features, labels, embedded = made(model, name)
    model.zero_grad()
    terms = RegularizedLoss(model, base, MeanCosine(), 0.5)(features, labels)
    wanted = 0.5 * torch.stack([mean_cosine(X) for X in rows_of(model, embedded)]).mean()
    assert terms["regularizer"].item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_two_views_are_the_first_two_columns(model, name):
    base, features, labels, embedded = made(model, name)
    loss = RegularizedLoss(model, base, Alignment())
    if {0, 1} <= set(embedded):
        wanted = alignment(*rows_of(model, (0, 1)))
        assert loss(features, labels)["regularizer"].item() == pytest.approx(
            wanted.item(), rel=1e-5
        )
    else:
        with pytest.raises(ValueError, match="two views of the same rows"):
            loss(features, labels)


@pytest.mark.parametrize("name", SPECS)
def test_the_gradient_is_that_of_both_terms(model, name):
    def gradient(terms):
        model.zero_grad()
        sum(terms.values()).backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]

    base, features, labels, embedded = made(model, name)
    random.seed(2)
    found = gradient(RegularizedLoss(model, base, MeanCosine(), 3.0)(features, labels))
    base, features, labels, _ = made(model, name)
    random.seed(2)
    alone = base(features, labels)
    alone = gradient(alone if isinstance(alone, dict) else {"base": alone})
    rows = rows_of(model, embedded)
    term = gradient({"term": 3.0 * torch.stack([mean_cosine(X) for X in rows]).mean()})
    for got, a, b in zip(found, alone, term, strict=True):
        torch.testing.assert_close(got, a + b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["CoSENTLoss", "CachedMultipleNegativesRankingLoss"])
def test_a_loss_within_a_loss_keeps_its_term(model, name):
    base, features, labels, embedded = made(model, name)
    first = RegularizedLoss(model, base, MeanCosine(), 0.5)
    second = RegularizedLoss(model, first, Alignment(), 2.0)
    terms = RegularizedLoss(model, second, BarlowTwins(), 0.1)(features, labels)
    assert list(terms) == ["base_loss", "regularizer", "regularizer_2", "regularizer_3"]
    rows = rows_of(model, embedded)
    wanted = [0.5 * torch.stack([mean_cosine(X) for X in rows]).mean(), 2 * alignment(*rows[:2])]
    for found, value in zip(list(terms.values())[1:3], wanted, strict=True):
        assert found.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["TripletLoss", "CachedMultipleNegativesRankingLoss"])
def test_texts_that_come_again_do_not_meet_their_past_copies(model, name):
    base, _, labels, _ = made(model, name)
    loss = RegularizedLoss(model, base, KoLeo(queue=100))
    wanted = torch.stack([koleo(X) for X in rows_of(model, THREE)]).mean()
    for _ in range(3):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        found = loss(batch(model, 3), labels)["regularizer"]
        assert found.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_other_texts_stay_in_the_queue(model):
    loss = RegularizedLoss(model, losses.CoSENTLoss(model), KoLeo(queue=100), columns="together")
    model.train()
    loss(batch(model, 2), SCORES)
    loss([model.preprocess(["is a", "the object and value"])] * 2, SCORES[:2])
    kept = loss.regularizer._pasts["together"]
    assert len(kept.rows) == 2 * 2 + 2 * N
    # Padding makes no other text of one, and the order of words does.
    loss([model.preprocess(["is a", "object the and value for python to"])] * 2, SCORES[:2])
    assert len(loss.regularizer._pasts["together"].rows) == 2 * 2 + 2 + 2 * N


class _Scaled(nn.Module):
    """A regularizer of a user's own, with a parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(D))

    def forward(self, rows):
        return mean_cosine(rows * self.scale)


def test_parameters_of_a_regularizer_are_there_before_the_first_batch(model):
    loss = RegularizedLoss(model, losses.CoSENTLoss(model), _Scaled())
    before = {id(p) for p in loss.parameters()}
    sum(loss(batch(model, 2), SCORES).values()).backward()
    assert {id(p) for p in loss.parameters()} == before
    assert loss.regularizer.scale.grad.abs().sum() > 0
