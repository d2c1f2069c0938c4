"""FlowGaussianizer: its parts against nflows and autograd, its density, and its worst case."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.utils.estimator_checks import parametrize_with_checks

import isotropy
from isotropy import FallbackWarning, FlowGaussianizer

torch = pytest.importorskip("torch")
pytest.importorskip("nflows")

from isotropy.gaussianize import _flow_transforms as parts  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::isotropy.RankWarning"),
    pytest.mark.filterwarnings("ignore::isotropy.FallbackWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
]
PRESETS = ("affine", "spline", "bert-flow")


def bent(n=1200, seed=0, d=4):
    """Two pairs of columns, the second of each leaning on the square of the first."""
    X = np.random.default_rng(seed).normal(size=(n, d))
    X[:, 1::2] = 0.4 * X[:, 1::2] + X[:, 0::2] ** 2
    return X * np.linspace(1, 3, d) + 5


def small(preset="affine", **changes):
    options = {"hidden": 32, "dropout": 0.0, "max_iter": 15, "batch_size": 128, "random_state": 0}
    if preset == "bert-flow":
        options["learning_rate"] = 1e-2
    return FlowGaussianizer(preset, **{**options, **changes})


@pytest.fixture(scope="module", params=PRESETS)
def fitted(request):
    return small(request.param).fit(bent())


@pytest.fixture(scope="module")
def affine():
    return small().fit(bent())


def gaussian_log_density(X, rows):
    return stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(rows)


@parametrize_with_checks(
    [FlowGaussianizer(hidden=8, max_iter=2, n_layers=2, random_state=0, device="cpu")]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# -- the parts ---------------------------------------------------------------------------------


def generator():
    return torch.Generator().manual_seed(0)


def stirred(module, scale=0.3):
    """The zero start left behind, so that the part does something."""
    for parameter in module.parameters():
        parameter.data.add_(scale * torch.randn(parameter.shape, generator=generator()))
    return module.double().eval()


def a_part(name):
    make = {
        "affine": lambda: parts.AffineCoupling(5, False, 16, 0.0, 2.0, generator()),
        "affine flipped": lambda: parts.AffineCoupling(5, True, 16, 0.0, 2.0, generator()),
        "spline": lambda: parts.SplineCoupling(5, False, 16, 0.0, generator()),
        "spline flipped": lambda: parts.SplineCoupling(5, True, 16, 0.0, generator()),
        "additive": lambda: parts.AdditiveCoupling(5, True, 16, 0.0, generator()),
        "lu": lambda: parts.LULinear(parts.random_rotation(5, generator())),
        "rotation": lambda: parts.Rotation(parts.random_rotation(5, generator())),
    }
    return stirred(make[name]())


PARTS = ("affine", "affine flipped", "spline", "spline flipped", "additive", "lu", "rotation")


@pytest.mark.parametrize("name", PARTS)
def test_a_part_inverts_and_knows_its_volume(name):
    part = a_part(name)
    rows = torch.randn(6, 5, dtype=torch.float64, generator=generator())
    Y, volume = part(rows)
    assert (Y - rows).abs().max() > 0.05
    back, less = part.inverse(Y)
    tolerance = 1e-5 if name in ("rotation", "lu") else 1e-9  # a matrix rounded to float32
    torch.testing.assert_close(back, rows, atol=1e-9, rtol=0)
    torch.testing.assert_close(less, -volume, atol=1e-9, rtol=0)
    for row, wanted in zip(rows, volume, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: part(x[None])[0][0], row)
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian)[1], wanted.detach(), atol=tolerance, rtol=0
        )


def test_the_fused_coupling_has_the_gradients_of_autograd():
    part = a_part("affine").train()
    net = part.net
    seen, x = torch.randn(2, 7, 3, dtype=torch.float64, generator=generator())
    x = x[:, :2].contiguous()
    seen[0, 0] = 30.0  # beyond the reach of the conditioner
    mask = torch.rand(7, 16, generator=generator()) < 0.5
    tensors = [t.detach().requires_grad_() for t in (seen, x, net.w1, net.b1, net.w2, net.b2)]
    assert torch.autograd.gradcheck(
        lambda *t: parts._Coupled.apply(*t, mask, 2.0, 1.5, torch.float64), tensors, atol=1e-6
    )


@pytest.mark.parametrize("flip", [False, True])
def test_the_fused_coupling_is_the_affine_coupling_of_nflows(flip):
    from nflows.transforms import AffineCouplingTransform

    ours = a_part("affine flipped" if flip else "affine")
    mask = torch.tensor([1.0, 1, 0, 0, 0] if flip else [0.0, 0, 0, 1, 1])

    class Theirs(AffineCouplingTransform):  # nflows 0.14 has a scale of its own, and no argument
        def _scale_and_shift(self, params):
            raw, shift = params.chunk(2, dim=1)
            return torch.exp(2.0 * torch.tanh(raw / 2.0)), shift

    theirs = Theirs(mask, lambda n_in, n_out: ours.net)
    rows = torch.randn(50, 5, dtype=torch.float64, generator=generator())
    for mine, wanted in zip(ours(rows), theirs(rows), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_dropout_keeps_the_share_asked_for():
    net = parts.Conditioner(3, 4, 1000, 0.25, generator()).train()
    net.masks = parts.MaskSource(torch.device("cpu"), 0)
    assert net.mask(200).float().mean() == pytest.approx(0.75, abs=0.01)
    assert net.scale == pytest.approx(4 / 3)
    assert net.eval().mask(200) is None
    assert net.scale == 1


def test_a_negative_discriminant_is_inverted_by_bisection(monkeypatch):
    """nflows#87: rounding makes the discriminant negative, and nflows asserts."""
    part = a_part("spline")
    rows = torch.randn(20, 5, dtype=torch.float64, generator=generator()) * 4
    Y, volume = part(rows)
    base = parts.PiecewiseRationalQuadraticCouplingTransform
    plain = base._piecewise_cdf

    def asserting(self, inputs, params, inverse=False):
        assert not inverse
        return plain(self, inputs, params, inverse=False)

    def not_a_number(self, inputs, params, inverse=False):
        out, volume = plain(self, inputs, params, inverse=False)
        return (out * np.nan, volume) if inverse else (out, volume)

    for broken in (asserting, not_a_number):
        monkeypatch.setattr(base, "_piecewise_cdf", broken)
        back, less = part.inverse(Y)
        torch.testing.assert_close(back, rows, atol=1e-9, rtol=0)
        torch.testing.assert_close(less, -volume, atol=1e-7, rtol=0)


def test_flows_start_at_the_identity_but_for_mixing():
    rows = torch.randn(9, 6, generator=generator())
    for preset in ("affine", "spline"):
        flow = parts.build_flow(preset, 6, 4, 8, 0.0, 2.0, seed=0).eval()
        Y, volume = flow(rows)
        torch.testing.assert_close(Y, rows, atol=1e-5, rtol=0)
        torch.testing.assert_close(volume, torch.zeros(9), atol=1e-5, rtol=0)


# -- the estimator -----------------------------------------------------------------------------


def test_unseen_rows_are_likelier_than_under_the_gaussian(fitted):
    new = bent(seed=1)
    gain = (fitted.score_samples(new) - gaussian_log_density(bent(), new)).mean()
    assert gain > 0.5
    assert fitted.gain_ == pytest.approx(gain, abs=0.4)
    assert fitted.score(new) == pytest.approx(fitted.score_samples(new).mean())
    assert not fitted.falls_back_


def test_the_density_is_the_jacobian_of_the_map(fitted):
    """log p(x) = log N(f(x)) + log |det df/dx|, by autograd through the whole estimator."""
    for x in torch.from_numpy(bent(seed=2)[:5]):
        jacobian = torch.autograd.functional.jacobian(lambda r: fitted.transform(r[None])[0], x)
        wanted = torch.distributions.Normal(0, 1).log_prob(fitted.transform(x[None])).sum()
        wanted = wanted + torch.linalg.slogdet(jacobian)[1]
        assert float(fitted.score_samples(x[None]).detach()[0]) == pytest.approx(
            float(wanted.detach()), abs=1e-4
        )


@pytest.mark.parametrize("far", [1, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_far_outside_stay_finite_and_come_back(fitted, far, dtype):
    X = (bent(seed=3) * far).astype(dtype)
    Y = fitted.transform(X)
    assert Y.dtype == dtype
    assert np.isfinite(Y).all()
    assert np.isfinite(fitted.score_samples(X)).all()
    back = fitted.inverse_transform(Y)
    atol = {np.float32: 1e-3, np.float64: 1e-6}[dtype] * np.abs(X).max()
    np.testing.assert_allclose(back, X, rtol=0, atol=atol)


def test_the_float32_map_is_the_float64_map_rounded(fitted):
    X = bent(seed=4)
    np.testing.assert_allclose(
        fitted.transform(X.astype(np.float32)), fitted.transform(X), atol=2e-4
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_hard_data_is_finite_and_comes_back(preset, hard):
    flow = small(preset, max_iter=2, hidden=8, device="cpu").fit(hard)
    Y = flow.transform(hard)
    assert np.isfinite(Y).all()
    assert Y.dtype == (hard.dtype if hard.dtype.kind == "f" else np.float64)
    wide = hard.astype(np.float64)
    back = flow.inverse_transform(flow.transform(wide))
    spread = np.abs(wide - wide.mean(0)).max()
    np.testing.assert_allclose(back / spread, wide / spread, atol=1e-3)


def test_rows_scaled_a_million_times_give_the_same_map():
    X, scale = bent(), 2.0**20
    a, b = small(max_iter=3).fit(X), small(max_iter=3).fit(scale * X)
    np.testing.assert_allclose(a.transform(X), b.transform(scale * X), atol=1e-3)
    shift = X.shape[1] * np.log(scale)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(scale * X) + shift, atol=1e-2)


def test_gaussian_rows_fall_back_to_the_whitening_and_say_so_once():
    X = np.random.default_rng(0).normal(size=(400, 20))
    with pytest.warns(FallbackWarning, match="held-out") as caught:
        flow = small(max_iter=3, hidden=256, learning_rate=0.05, n_iter_no_change=1).fit(X)
    assert len([w for w in caught if w.category is FallbackWarning]) == 1
    assert flow.falls_back_
    assert flow.gain_ <= 0
    np.testing.assert_allclose(flow.transform(X), isotropy.Whitening().fit_transform(X), atol=1e-9)
    np.testing.assert_allclose(flow.score_samples(X), gaussian_log_density(X, X), atol=1e-8)
    np.testing.assert_allclose(flow.inverse_transform(flow.transform(X)), X, atol=1e-9)


def test_two_runs_are_equal_and_the_global_state_is_left_alone():
    X = bent(600)
    torch.manual_seed(7)
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    before = torch.get_rng_state()
    a = small(dropout=0.5, max_iter=3, device="cpu").fit(X)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    torch.manual_seed(8)
    b = small(dropout=0.5, max_iter=3, device="cpu").fit(X)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    c = small(dropout=0.5, max_iter=3, random_state=1, device="cpu").fit(X)
    assert not np.array_equal(a.transform(X), c.transform(X))


def test_early_stopping_keeps_the_best_epoch_and_stops():
    X = bent(150, d=8)
    hasty = {"max_iter": 60, "hidden": 256, "learning_rate": 5e-3, "weight_decay": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stopped = small(**hasty, n_iter_no_change=5).fit(X)
        on = small(**hasty, early_stopping=False).fit(X)
    gains = [entry["held_out_gain"] for entry in stopped.history_]
    assert stopped.gain_ == max(gains)
    assert stopped.n_iter_ == len(gains) == int(np.argmax(gains)) + 6 < 60
    assert on.n_iter_ == 60
    throughout = [entry["held_out_gain"] for entry in on.history_]
    assert on.gain_ == throughout[-1] < max(throughout)


@pytest.mark.parametrize(
    "change",
    [
        {"n_layers": 2},
        {"hidden": 16},
        {"dropout": 0.5},
        {"scale_bound": 0.1},
        {"learning_rate": 1e-4},
        {"weight_decay": 10.0},
        {"batch_size": 300},
        {"max_iter": 1},
        {"volume_weight": 0.5},
        {"validation_fraction": 0.4},
        {"n_components": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_options_are_heeded(change):
    X = bent(500)
    a, b = small(max_iter=2).fit(X), small(**{"max_iter": 2, **change}).fit(X)
    assert a.transform(X).shape != b.transform(X).shape or not np.allclose(
        a.transform(X), b.transform(X), atol=1e-6
    )


def test_bfloat16_products_learn_as_much_and_maps_stay_in_float32():
    X = bent(2000)
    rough, fine = (
        small(precision=precision, n_layers=4, device="cpu").fit(X)
        for precision in ("bfloat16", "float32")
    )
    assert rough.gain_ == pytest.approx(fine.gain_, rel=0.05)
    assert not np.array_equal(rough.transform(X), fine.transform(X))
    assert all(value.dtype == np.float32 for value in rough.flow_.arrays().values())
    single = rough.transform(X.astype(np.float32))
    np.testing.assert_allclose(single, rough.transform(X), atol=2e-4)


def test_less_weight_on_volume_contracts():
    X = bent()
    volumes = []
    for weight in (1.0, 0.5):
        flow = small(volume_weight=weight, early_stopping=False).fit(X)
        volumes.append(
            np.square(flow.flow_.forward(flow.whitening_.apply(X), "cpu")[0]).sum(1).mean()
        )
    assert volumes[1] < 0.9 * volumes[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "glow"},
        {"n_layers": 0},
        {"hidden": 2.5},
        {"dropout": 1.0},
        {"scale_bound": 0},
        {"learning_rate": -1},
        {"weight_decay": -1},
        {"batch_size": "all"},
        {"max_iter": 0},
        {"n_iter_no_change": 0},
        {"volume_weight": -1},
        {"precision": "float16"},
        {"validation_fraction": 0.6},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlowGaussianizer(**wrong).fit(bent(50))


def test_weights_are_repetitions():
    X = bent(300)
    w = np.random.default_rng(1).integers(0, 4, 300)
    a = small(max_iter=3, batch_size=512).fit(X, sample_weight=w)
    b = small(max_iter=3, batch_size=512).fit(np.repeat(X, w, axis=0))
    assert not a.falls_back_
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-4)
    assert not np.allclose(a.transform(X), small(max_iter=3).fit(X).transform(X), atol=1e-2)


def test_more_rows_train_on(tmp_path):
    flow = small(max_iter=5).partial_fit(bent())
    first, whitening = flow.score(bent(seed=1)), flow.whitening_
    flow.partial_fit(bent(3000, seed=5))
    assert flow.score(bent(seed=1)) > first
    assert flow.n_iter_ == 10
    assert flow.whitening_ is whitening
    flow.save(tmp_path / "f")
    assert isotropy.load(tmp_path / "f").partial_fit(bent(500, seed=6)).n_iter_ == 15


def test_samples_look_like_the_rows(affine):
    drawn = affine.sample(3000, random_state=0)
    rows = bent(3000, seed=7)
    for j in range(4):
        assert stats.ks_2samp(drawn[:, j], rows[:, j]).statistic < 0.12
    np.testing.assert_array_equal(drawn, affine.sample(3000, random_state=0))


def test_a_saved_flow_comes_back_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "f", moments=True)
    loaded = isotropy.load(tmp_path / "f")
    X = bent(seed=8)
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
    Y = fitted.transform(X)
    np.testing.assert_array_equal(loaded.inverse_transform(Y), fitted.inverse_transform(Y))
    assert loaded.history_ == fitted.history_
    assert loaded.moments_.n_rows == 1200


def test_torch_comes_back_as_torch_and_gradients_flow(affine):
    X = torch.from_numpy(bent(20, seed=9)).requires_grad_()
    Y = affine.transform(X)
    np.testing.assert_allclose(Y.detach().numpy(), affine.transform(X.detach().numpy()), atol=1e-9)
    affine.score_samples(X).sum().backward()
    assert X.grad.abs().sum() > 0
    back = affine.inverse_transform(Y.detach())
    torch.testing.assert_close(back, X.detach(), atol=1e-8, rtol=0)


def test_the_bar_is_drawn_when_asked_for(capsys):
    small(max_iter=2).fit(bent(300))
    assert not capsys.readouterr().err
    small(max_iter=2, progress=True).fit(bent(300))
    assert "2/2" in capsys.readouterr().err


def test_isotropy_loads_no_torch_and_a_missing_extra_is_named():
    code = (
        "import sys, isotropy; assert 'torch' not in sys.modules; sys.modules['nflows'] = None\n"
        "import numpy as np\n"
        "try: isotropy.FlowGaussianizer().fit(np.random.default_rng(0).normal(size=(300, 3)))\n"
        "except ImportError as error: assert 'isotropy[flow]' in str(error)\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
