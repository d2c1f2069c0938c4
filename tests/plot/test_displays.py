"""Displays draw the numbers they were given, on the axes they were given."""

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402

from isotropy import MeanRemoval, Moments, Whitening, compare  # noqa: E402
from isotropy.encoders import LayerProfile  # noqa: E402
from isotropy.metrics import hubness, mean_cosine  # noqa: E402
from isotropy.plot import (  # noqa: E402
    BeforeAfterDisplay,
    CosineHistogramDisplay,
    FrequencyDisplay,
    HubnessDisplay,
    LayerProfileDisplay,
    ProjectionDisplay,
    SpectrumDisplay,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def rows(n=300, d=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.linspace(2, 0.3, d) + 1


def profile():
    moments = tuple(Moments.from_rows(rows(seed=k) + k) for k in range(4))
    return LayerProfile("some", moments, moments, ("mean_cosine", "isoscore"))


MAKE = {
    "spectrum": lambda ax: SpectrumDisplay.from_embeddings(rows(), ax=ax),
    "spectra": lambda ax: SpectrumDisplay.from_estimator(Whitening(power=0.5), rows(), ax=ax),
    "cosines": lambda ax: CosineHistogramDisplay.from_embeddings(rows(), ax=ax),
    "both cosines": lambda ax: CosineHistogramDisplay.from_estimator(MeanRemoval(), rows(), ax=ax),
    "projection": lambda ax: ProjectionDisplay.from_embeddings(rows(), ax=ax),
    "coloured": lambda ax: ProjectionDisplay.from_embeddings(rows(), values=np.arange(300), ax=ax),
    "corrected": lambda ax: ProjectionDisplay.from_estimator(Whitening(), rows(), ax=ax),
    "layers": lambda ax: LayerProfileDisplay(profile()).plot(ax),
    "hubs": lambda ax: HubnessDisplay.from_embeddings(rows(), n_neighbors=5, ax=ax),
    "corrected hubs": lambda ax: HubnessDisplay.from_estimator(MeanRemoval(), rows(), ax=ax),
    "frequency": lambda ax: FrequencyDisplay.from_embeddings(
        rows(), np.arange(300), edges=(50, 100), ax=ax
    ),
    "before and after": lambda ax: BeforeAfterDisplay.from_estimator(
        {"centred": MeanRemoval(), "white": Whitening()}, rows(), ax=ax
    ),
}


@pytest.mark.parametrize("given", [True, False], ids=["an ax", "no ax"])
@pytest.mark.parametrize("name", MAKE)
def test_it_is_drawn(name, given):
    ax = plt.subplots()[1] if given else None
    display = MAKE[name](ax)
    assert display.artists_ and display.figure_ is display.ax_.figure
    assert ax is None or display.ax_ is ax
    before = len(display.artists_)
    assert display.plot().ax_ is not ax and len(display.artists_) == before  # again, elsewhere
    whole = pixels(display.figure_)
    for artist in display.artists_:
        parts = list(getattr(artist, "patches", [artist]))
        for part in parts:
            part.set_visible(False)
        assert (pixels(display.figure_) != whole).any(), artist
        for part in parts:
            part.set_visible(True)


def pixels(figure):
    """What a figure looks like."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())


def test_the_spectrum_is_that_of_the_covariance():
    display = MAKE["spectra"](None)
    values = np.linalg.eigvalsh(np.cov(rows(), rowvar=False))[::-1]
    raw, corrected, floor = display.artists_
    np.testing.assert_allclose(raw.get_ydata(), values / values.sum(), rtol=1e-9)
    roots = np.sqrt(values)
    np.testing.assert_allclose(corrected.get_ydata(), roots / roots.sum(), rtol=1e-6)
    assert [line.get_label() for line in display.artists_] == ["raw", "Whitening", "isotropic"]
    assert floor.get_ydata()[0] < raw.get_ydata()[0]


def test_cosines_are_those_of_pairs():
    display = CosineHistogramDisplay.from_embeddings(rows(), n_pairs=200_000)
    assert display.cosines["raw"].mean() == pytest.approx(mean_cosine(rows()), abs=0.005)
    assert len(display.cosines["raw"]) == 200_000


def test_the_projection_keeps_the_origin():
    X = rows()
    display = ProjectionDisplay.from_embeddings(X)
    _, _, vectors = np.linalg.svd(X, full_matrices=False)
    np.testing.assert_allclose(np.abs(display.points), np.abs(X @ vectors[:2].T), rtol=1e-6)
    some = ProjectionDisplay.from_embeddings(X, most=50, values=np.arange(300))
    assert some.points.shape == (50, 2) and len(some.values) == 50
    assert ProjectionDisplay.from_embeddings(X[:, :1]).points.shape == (300, 2)


def test_layers_are_in_order():
    display = MAKE["layers"](None)
    cards = [card["mean_cosine"] for card in profile().scorecards()]
    np.testing.assert_allclose(display.artists_[0].get_ydata(), cards)
    assert LayerProfileDisplay(profile(), "isoscore").plot().artists_
    with pytest.raises(ValueError, match="metric must be one of"):
        LayerProfileDisplay(profile(), "uniformity")


def test_hubs_are_counted():
    display = MAKE["hubs"](None)
    heights = [bar.get_height() for bar in display.artists_[0]]
    assert heights == np.bincount(hubness(rows(), n_neighbors=5).counts).tolist()


def test_before_and_after_is_a_comparison():
    table = compare(rows(), {"centred": MeanRemoval()}, metrics=["mean_cosine", "isoscore"])
    display = BeforeAfterDisplay(table, ["isoscore"]).plot()
    assert len(display.artists_) == 3  # raw, centred, floor
    with pytest.raises(ValueError, match="not on the scorecards"):
        BeforeAfterDisplay(table, ["rankme"])


def test_rows_without_spread_are_drawn():
    X = np.ones((20, 4))
    for display in (SpectrumDisplay, CosineHistogramDisplay, ProjectionDisplay, HubnessDisplay):
        display.from_embeddings(X).figure_.canvas.draw()
    BeforeAfterDisplay.from_estimator(MeanRemoval(), X).figure_.canvas.draw()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="two rows"):
        CosineHistogramDisplay.from_embeddings(rows(1))
    with pytest.raises(ValueError, match="one entry a row"):
        ProjectionDisplay.from_embeddings(rows(), values=[1])
