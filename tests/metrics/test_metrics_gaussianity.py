"""Gaussianity: each measure against its paper, its null, and what departs from it."""

import warnings

import numpy as np
import pytest
from scipy import integrate, stats

from isotropy import FlowGaussianizer, RotationGaussianizer, Whitening, compare, score
from isotropy.metrics import (
    METRICS,
    NeedsRows,
    _inputs,
    _shape,
    anderson_darling,
    coordinate_kurtosis,
    coordinate_skewness,
    coordinates,
    epps_pulley,
    henze_zirkler,
    mardia,
    mardia_kurtosis,
    mardia_skewness,
    projected,
    sliced_epps_pulley,
    sliced_wasserstein,
)
from isotropy.moments import Moments

NAMES = [
    "mardia_skewness",
    "mardia_kurtosis",
    "epps_pulley",
    "sliced_wasserstein",
    "henze_zirkler",
    "coordinate_skewness",
    "coordinate_kurtosis",
    "anderson_darling",
]
TESTED = [name for name in NAMES if METRICS[name].value_p_value]
FUNCTIONS = [METRICS[name].function for name in NAMES]
pytestmark = pytest.mark.filterwarnings("ignore::isotropy.RankWarning")


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def skewed(n=400, d=4, seed=0):
    return np.random.default_rng(seed).exponential(size=(n, d)) @ np.diag(np.arange(1.0, d + 1))


def mahalanobis(X):
    centred = X - X.mean(0)
    return centred @ np.linalg.inv(np.cov(X.T, ddof=0)) @ centred.T


# -- against the papers ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 400])  # pairs and third moments: n below and above r^2
def test_mardia_is_a_mean_over_pairs_and_over_rows(n):
    X = skewed(n, 6)
    products = mahalanobis(X)
    assert mardia_skewness(X) == pytest.approx((products**3).mean(), rel=1e-9)
    assert mardia_kurtosis(X) == pytest.approx((np.diag(products) ** 2).mean(), rel=1e-9)


def test_epps_pulley_is_the_integral_over_characteristic_functions():
    x = np.random.default_rng(0).exponential(size=80)

    def apart(t):
        f = np.exp(1j * t * x).mean()
        return abs(f - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    wanted = integrate.quad(apart, -3, 3)[0]
    assert epps_pulley(x[:, None])[0] == pytest.approx(wanted, rel=1e-2)
    # Over all t it has a closed form (Epps & Pulley 1983).
    pairs = np.exp(-((x[:, None] - x) ** 2) / 2).mean() - np.sqrt(2) * np.exp(-(x**2) / 4).mean()
    closed = np.sqrt(2 * np.pi) * (pairs + 3**-0.5)
    assert epps_pulley(x[:, None])[0] == pytest.approx(closed, rel=5e-2)


def test_epps_pulley_is_one_definition_for_numpy_and_torch():
    torch = pytest.importorskip("torch")
    slices = gaussian(50, 3) + 1
    rows = torch.from_numpy(slices).requires_grad_()
    values = epps_pulley(rows)
    np.testing.assert_allclose(values.detach().numpy(), epps_pulley(slices), rtol=1e-12)
    assert torch.autograd.gradcheck(epps_pulley, [rows])


def test_slices_are_of_rows_centred_and_divided_by_one_scale():
    X = skewed(200, 3) + 100
    directions = np.random.default_rng(7).standard_normal((3, 5))
    directions /= np.linalg.norm(directions, axis=0)
    slices = (X - X.mean(0)) @ directions / np.sqrt(X.var(0).mean())
    found = sliced_epps_pulley(X, n_slices=5, random_state=7)
    assert found == pytest.approx(epps_pulley(slices).mean(), rel=1e-9)
    levels = (np.arange(200_000) + 0.5) / 200_000
    quantiles = stats.norm.ppf(levels)
    rows = np.sort(slices, axis=0)[(levels * 200).astype(int)]
    wanted = np.sqrt(((rows - quantiles[:, None]) ** 2).mean())
    found = sliced_wasserstein(X, n_slices=5, random_state=7)
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("function", [sliced_epps_pulley, sliced_wasserstein, henze_zirkler])
def test_the_seed_chooses_the_projections(function):
    X = skewed(1500)
    assert function(X) == function(X, random_state=0)
    assert function(X) != function(X, random_state=1)


@pytest.mark.parametrize("wrong", [0, 2.5, True])
def test_slices_are_counted(wrong):
    with pytest.raises(ValueError, match="n_slices must be an integer of at least 1"):
        sliced_wasserstein(gaussian(20, 2), n_slices=wrong)


def test_henze_zirkler_is_the_paper_s_statistic():
    X = skewed(60, 3)
    n, d = X.shape
    products = mahalanobis(X)
    lengths = np.diag(products)
    apart = lengths[:, None] + lengths - 2 * products
    b2 = (n * (2 * d + 1) / 4) ** (2 / (d + 4)) / 2
    wanted = n * (
        np.exp(-b2 * apart / 2).mean()
        - 2 * (1 + b2) ** (-d / 2) * np.exp(-b2 * lengths / (2 * (1 + b2))).mean()
        + (1 + 2 * b2) ** (-d / 2)
    )
    # Of three dimensions there is one projection to three: the whole.
    assert henze_zirkler(X) == pytest.approx(wanted, rel=1e-9)
    flat = np.column_stack([X, X @ np.ones(3), np.full(n, 5.0)])
    assert henze_zirkler(flat) == pytest.approx(wanted, rel=1e-6)


def test_coordinates_are_scipy_s():
    X = skewed(150, 5)
    assert coordinate_skewness(X) == pytest.approx(np.abs(stats.skew(X)).max(), rel=1e-9)
    assert coordinate_kurtosis(X) == pytest.approx(np.abs(stats.kurtosis(X)).max(), rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = max(stats.anderson(column, "norm").statistic for column in X.T)
    assert anderson_darling(X) == pytest.approx(wanted, rel=1e-9)


def test_p_values_of_one_coordinate_are_scipy_s():
    x = np.random.default_rng(3).standard_t(9, size=(200, 1))
    moments = Moments.from_rows(x)
    skewness = METRICS["coordinate_skewness"].value_p_value(coordinate_skewness(x), moments)
    assert skewness == pytest.approx(stats.skewtest(x[:, 0]).pvalue, rel=1e-9)
    excess = stats.kurtosis(x[:, 0])
    upper = stats.kurtosistest(x[:, 0], alternative="greater").pvalue
    assert excess > 0
    both = coordinates.coordinate_pvalue("kurtosis", excess, moments)
    assert (1 - 1e-9) * upper <= both < 2.5 * upper


# -- under the null and away from it -----------------------------------------------------------


@pytest.fixture(scope="module", params=[(60, 3), (150, 12)], ids=["60x3", "150x12"])
def null_cards(request):
    return [score(gaussian(*request.param, seed), metrics=NAMES) for seed in range(200)]


@pytest.mark.parametrize("name", NAMES)
def test_gaussian_rows_get_the_floor(null_cards, name):
    values = [card[name] for card in null_cards]
    middle = np.mean(values) if name.startswith(("mardia", "epps", "sliced")) else np.median(values)
    floor = null_cards[0].scores[name].floor
    error = 4 * np.std(values) / np.sqrt(len(values))
    assert abs(middle - floor) < error + 0.03 * floor


@pytest.mark.parametrize("name", TESTED)
def test_p_values_are_about_even_under_the_null(null_cards, name):
    found = np.array([card.scores[name].p_value for card in null_cards])
    # Bonferroni's bound keeps the level, and wastes more the closer its tests are related.
    assert (found < 0.05).mean() < 0.1
    assert (0.15 if name == "henze_zirkler" else 0.3) < (found < 0.5).mean() < 0.62


def test_weights_of_a_gaussian_are_no_departure_where_rows_are_drawn():
    X = gaussian(1500, 6)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=1500)
    for weight_type in ("frequency", "probability"):
        card = score(X, ["henze_zirkler"], weights, weight_type=weight_type)
        assert card.scores["henze_zirkler"].p_value > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_skewed_rows_stand_out(name):
    found = score(skewed(600, 12), metrics=[name]).scores[name]
    assert found.value > 1.2 * found.floor
    if name in TESTED:
        assert found.p_value < 1e-3


def test_a_shell_has_less_kurtosis_and_heavy_tails_more():
    shell = gaussian(800, 10)
    shell /= np.linalg.norm(shell, axis=1, keepdims=True)
    heavy = np.random.default_rng(0).standard_t(5, size=(800, 10))
    for X, sign in ((shell, -1), (heavy, 1)):
        found = score(X, metrics=["mardia_kurtosis"]).scores["mardia_kurtosis"]
        assert sign * (found.value - found.floor) > 0
        assert found.p_value < 1e-6


def test_whitened_measures_are_blind_to_anisotropy_and_sliced_ones_are_not():
    X = gaussian(500, 6)
    stretched = X @ np.diag([10, 1, 1, 1, 1, 0.1]) + 1000
    for name in ("mardia_skewness", "mardia_kurtosis"):
        function = METRICS[name].function
        assert function(stretched) == pytest.approx(function(X), rel=1e-6)
    for name in ("epps_pulley", "sliced_wasserstein"):
        function = METRICS[name].function
        assert function(stretched) > 3 * function(X)


# -- odd input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_weights_are_repetitions(function):
    X = skewed(90, 3)
    weights = np.random.default_rng(1).integers(0, 4, size=90)
    repeated = np.repeat(X, weights, axis=0)
    assert function(X, weights) == pytest.approx(function(repeated), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_no_frequencies(name):
    X, function = skewed(90, 3), METRICS[name].function
    shares = np.random.default_rng(1).uniform(size=90)
    value = function(X, shares, weight_type="probability")
    assert value == pytest.approx(function(X, shares / 7, weight_type="probability"), rel=1e-9)
    # Tests grow with the rows: 300 frequencies are more rows than 300 times the same share.
    many = function(X, 300 * shares), function(X, 300 * shares, weight_type="probability")
    assert (many[0] > 10 * many[1]) == (name in ("henze_zirkler", "anderson_darling"))
    assert many[1] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_hard_rows_give_a_number_or_nan_and_nothing_else(function, hard):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        value = function(hard)
    assert isinstance(value, float)
    assert np.isnan(value) or 0 <= value < np.inf


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("X", [np.ones((1, 3)), np.ones((40, 3))], ids=["one row", "all equal"])
def test_rows_without_spread_have_no_shape(function, X):
    assert np.isnan(function(X))


@pytest.mark.parametrize("name", ["mardia_skewness", "mardia_kurtosis", "henze_zirkler"])
def test_fewer_rows_than_columns_are_a_simplex(name):
    found = score(gaussian(30, 40), metrics=[name]).scores[name]
    assert np.isnan(found.value)
    assert np.isnan(found.p_value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_mean_far_off_and_float16_change_little(function):
    X = skewed(300, 4)
    assert function(X + 1000 * X.std()) == pytest.approx(function(X), rel=1e-5)
    assert function(X.astype(np.float16)) == pytest.approx(function(X), rel=2e-2)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_moments_do_not_suffice(function):
    with pytest.raises(NeedsRows, match="needs the rows"):
        function(Moments.from_rows(gaussian(20, 3)))


@pytest.mark.parametrize("d", [4, 20], ids=["third moments", "pairs"])
def test_blocks_give_what_the_whole_gives(monkeypatch, d):
    X = skewed(150, d)
    monkeypatch.setattr(projected, "_FRAME_ROWS", 120)  # so that rows are drawn
    whole = [function(X) for function in FUNCTIONS]
    monkeypatch.setattr(_shape, "_VALUES_AT_ONCE", 300)
    monkeypatch.setattr(mardia, "_BLOCK", 32)
    monkeypatch.setattr(_inputs, "block_rows", lambda d, itemsize: 40)
    np.testing.assert_allclose([function(X) for function in FUNCTIONS], whole, rtol=1e-9)


def test_a_card_gathers_moments_once(monkeypatch):
    X = skewed(60, 3)
    alone = [function(X) for function in FUNCTIONS]

    def again(*args, **kwargs):
        raise AssertionError("moments were at hand")

    monkeypatch.setattr(_shape, "gather", again)
    np.testing.assert_allclose(list(score(X, NAMES).values()), alone, rtol=1e-12)


def test_rows_all_the_same_get_a_card():
    card = score(np.ones((30, 4)), NAMES)
    assert all(np.isnan(value) or value == 0 for value in card.values())
    assert "henze_zirkler" in str(card)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_moments_of_other_rows_are_refused(function):
    with pytest.raises(ValueError, match="moments must be those of the rows"):
        function(skewed(60, 3), moments=Moments.from_rows(skewed(60, 4)))


# -- side by side ------------------------------------------------------------------------------


@pytest.fixture
def topics():
    """Rows around four topics, in a bent and stretched space off the origin."""
    rng = np.random.default_rng(5)
    rows = (1.5 * rng.normal(size=(4, 6)))[rng.integers(0, 4, 1500)]
    return np.tanh(rows + 0.6 * rng.normal(size=(1500, 6))) @ rng.normal(size=(6, 6)) + 10


def test_raw_whitened_and_rotated_rows_side_by_side(topics):
    correctors = {"whitened": Whitening(), "RBIG": RotationGaussianizer(random_state=0)}
    table = compare(topics, correctors, metrics=NAMES)
    raw, whitened, rbig = (table[column] for column in ("raw", "whitened", "RBIG"))
    for name in ("epps_pulley", "sliced_wasserstein"):
        assert raw[name] > 3 * whitened[name] > 9 * rbig[name]
    for name in ("mardia_skewness", "mardia_kurtosis"):
        assert raw[name] == pytest.approx(whitened[name], rel=1e-6)
    for name in ("mardia_skewness", "henze_zirkler", "anderson_darling"):
        assert rbig[name] < 0.1 * whitened[name]
    assert "henze_zirkler" in str(table)


def test_a_flow_comes_between_whitening_and_gaussian(topics):
    pytest.importorskip("nflows")
    flow = FlowGaussianizer(hidden=48, dropout=0, max_iter=20, device="cpu", random_state=0)
    table = compare(topics, {"whitened": Whitening(), "flow": flow}, metrics=NAMES)
    assert list(table.scorecards) == ["raw", "whitened", "flow"]
    for name in sorted(set(NAMES) - {"mardia_kurtosis"}):
        found = table["flow"].scores[name]
        assert found.floor < found.value < 0.8 * table["whitened"][name]


def test_rows_of_no_weight_are_not_drawn():
    good, bad = gaussian(1200, 3), skewed(1200, 3)
    X, weights = np.vstack([good, bad]), np.repeat([1.0, 0.0], 1200)
    assert henze_zirkler(X, weights) < 1.5 < henze_zirkler(X, weights[::-1])
