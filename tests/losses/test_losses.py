"""Losses: the papers' plain definitions, the metrics' numbers, gradients, hard rows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from isotropy import losses, metrics, score  # noqa: E402
from isotropy.losses import _base, cosine, pairs  # noqa: E402
from isotropy.tables import LOSSES  # noqa: E402

EVERY = dict(LOSSES)
TWO_VIEWS = {name: kind for name, kind in EVERY.items() if kind.n_views == 2}
ONE_VIEW = {name: kind for name, kind in EVERY.items() if kind.n_views == 1}
OF_MOMENTS = [n for n, c in EVERY.items() if issubclass(c, losses.MomentRegularizer)]
OF_ROWS = [n for n, c in EVERY.items() if issubclass(c, losses.RowRegularizer)]


def rows(n=12, d=5, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 0.7, dtype=dtype)


def views(name, n=12, d=5, dtype=torch.float64):
    """The arguments of a loss: one view, or two of the same rows."""
    X = rows(n, d, dtype=dtype)
    return (X, X + 0.3 * rows(n, d, seed=1, dtype=dtype)) if name in TWO_VIEWS else (X,)


def ids_of(name, *numbers):
    """Ids, for the losses that want them beside their queue."""
    return {"ids": torch.arange(*numbers)} if name in OF_ROWS and EVERY[name].needs_ids else {}


def module_value(name, value):
    """What the module makes of the function's value."""
    return 1 - value if name == "isoscore_star" else value


# -- the papers' definitions, plainly ------------------------------------------------------------


def units(X):
    return X / X.norm(dim=1, keepdim=True)


def off_diagonal(M):
    return M[~torch.eye(len(M), dtype=bool)]


def covariance(X, ddof):
    return torch.from_numpy(np.cov(X.numpy(), rowvar=False, ddof=ddof))


def plain_mean_cosine(X):
    return off_diagonal(units(X) @ units(X).T).mean()


def plain_spread_out(X):
    cosines = off_diagonal(units(X) @ units(X).T)
    return cosines.mean() ** 2 + max(0, (cosines**2).mean() - 1 / X.shape[1])


def plain_uniformity(X):
    apart = (units(X)[:, None] - units(X)).square().sum(-1)
    return off_diagonal(apart).mul(-2).exp().mean().log()


def plain_koleo(X):
    apart = torch.cdist(units(X), units(X))
    return -apart.fill_diagonal_(torch.inf).min(1).values.log().mean()


def plain_variance_covariance(X):
    C = covariance(X, 1)
    short = torch.clamp(1 - (C.diagonal() + 1e-4).sqrt(), min=0).mean()
    return 25 * short + (off_diagonal(C) ** 2).sum() / X.shape[1]


def plain_decorrelation(X):
    return (off_diagonal(covariance(X, 0)) ** 2).sum() / 2


def plain_isoscore_star(X):
    C = covariance(X, 0)
    d = len(C)
    values = torch.linalg.eigvalsh(0.8 * C + 0.2 * C.trace() / d * torch.eye(d, dtype=C.dtype))
    # Rudman et al. 2022, algorithm 1, steps 3 to 7
    scaled = d**0.5 * values / values.norm()
    defect = (scaled - 1).norm() / (2 * (d - d**0.5)) ** 0.5
    return ((d - defect**2 * (d - d**0.5)) ** 2 - d) / (d * (d - 1))


def plain_log_frobenius(X):
    values = torch.linalg.eigvalsh(covariance(X, 0))
    return ((values / values.sum()) ** 2).sum().log()


def plain_spectrum_control(X):
    sigma = torch.linalg.svdvals(X)
    prior = torch.arange(1, len(sigma) + 1, dtype=X.dtype) ** -0.5
    return ((sigma / sigma.norm() - prior / prior.norm()) ** 2).sum()


def plain_sliced_epps_pulley(X):
    d = X.shape[1]
    directions = np.random.default_rng(0).standard_normal((d, 128))
    slices = units(X) * d**0.5 @ torch.from_numpy(directions / np.linalg.norm(directions, axis=0))
    t = torch.linspace(-3, 3, 33, dtype=torch.float64)  # the whole line, no symmetry
    f = torch.exp(1j * t[:, None, None] * slices).mean(1)
    apart = (f - torch.exp(-(t**2) / 2)[:, None]).abs() ** 2 * torch.exp(-(t**2) / 2)[:, None]
    return torch.trapezoid(apart, t, dim=0).mean()


def plain_alignment(X, Y):
    return ((units(X) - units(Y)).norm(dim=1) ** 2).mean()


def plain_barlow_twins(X, Y):
    R = torch.from_numpy(np.corrcoef(X.numpy(), Y.numpy(), rowvar=False)[:5, 5:])
    return ((1 - R.diagonal()) ** 2).sum() + 5e-3 * (off_diagonal(R) ** 2).sum()


@pytest.mark.parametrize("n", [4, 12], ids=["n < d", "n > d"])
@pytest.mark.parametrize("name", EVERY)
def test_the_plain_definition(name, n):
    given = views(name, n)
    wanted = globals()[f"plain_{name}"](*given)
    found = getattr(losses, name)(*given)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-9, abs=1e-12)
    assert EVERY[name]()(*given).item() == pytest.approx(module_value(name, found.item()))


# -- the metrics' numbers ------------------------------------------------------------------------

METRIC = {
    "mean_cosine": metrics.mean_cosine,
    "uniformity": metrics.uniformity,
    "isoscore_star": metrics.isoscore_star,
    "spread_out": lambda X: (
        (m := metrics.mean_cosine(X)) ** 2
        + max(0, metrics.cosine_spread(X) ** 2 + m**2 - 1 / X.shape[1])
    ),
    "log_frobenius": lambda X: -np.log(metrics.participation_ratio(X, corrected=False)),
    "alignment": metrics.alignment,
}


def cone(n, d):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, d)) * np.linspace(1, 3, d) + 4
    X[5] = X[6]
    return X


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(400, 24), (20, 64)], ids=str)
@pytest.mark.parametrize("name", METRIC)
def test_loss_and_metric_agree(name, shape, dtype):
    X = cone(*shape).astype(dtype)
    if name == "uniformity":
        X[3] = 0  # a row without direction
    given = (X, X[::-1].copy()) if name == "alignment" else (X,)
    found = getattr(losses, name)(*map(torch.from_numpy, given)).item()
    assert found == pytest.approx(METRIC[name](*given), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_standard_scale_is_the_metric_s(dtype):
    X = cone(400, 24).astype(dtype)
    found = losses.sliced_epps_pulley(torch.from_numpy(X), scale="standard", random_state=4)
    assert found.item() == pytest.approx(metrics.sliced_epps_pulley(X, random_state=4), rel=1e-6)


def test_a_prior_gives_the_metric_s_number():
    X, prior = cone(50, 8), np.cov(cone(90, 8) ** 2, rowvar=False) / 30
    found = losses.isoscore_star(torch.from_numpy(X), zeta=0.4, prior=torch.from_numpy(prior))
    wanted = metrics.isoscore_star(X, zeta=0.4, prior=prior)
    assert found.item() == pytest.approx(wanted, rel=1e-9)
    module = losses.IsoScoreStar(0.4, torch.from_numpy(prior))
    assert module(torch.from_numpy(X)).item() == pytest.approx(1 - wanted, rel=1e-9)
    assert not module.state_dict()
    with pytest.raises(ValueError, match=r"shape \(8, 8\)"):
        losses.isoscore_star(torch.from_numpy(X), prior=torch.eye(3))


def test_the_package_isoscore_gives_the_same_and_no_gradient():
    package = pytest.importorskip("IsoScore.IsoScore")
    X = torch.tensor(cone(512, 64), dtype=torch.float32, requires_grad=True)
    ours = losses.isoscore_star(X, zeta=0)
    with pytest.warns(UserWarning):
        theirs = package.IsoScore(X)
    assert ours.item() == pytest.approx(float(theirs), abs=1e-5)
    ours.backward()
    assert X.grad.abs().sum() > 0
    assert not getattr(theirs, "requires_grad", False)


# -- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 9], ids="n={}".format)
@pytest.mark.parametrize("name", EVERY)
def test_gradients(name, n):
    if name == "koleo" and n == 2:
        pytest.skip("two rows are each other's nearest: covered by the others")
    given = tuple(X.requires_grad_() for X in views(name, n, 4))
    assert gradcheck(getattr(losses, name), given, atol=1e-7)
    assert gradcheck(EVERY[name]().eval(), given, atol=1e-7)


@pytest.mark.parametrize("name", EVERY)
def test_second_derivatives(name):
    X = tuple(V.requires_grad_() for V in views(name, 5, 3))
    option = {"n_slices": 8} if name == "sliced_epps_pulley" else {}
    assert gradgradcheck(lambda *V: getattr(losses, name)(*V, **option), X, atol=1e-5)


@pytest.mark.parametrize("name", ["mean_cosine", "uniformity"])
def test_second_derivatives_beside_zero_rows(name):
    X = torch.cat([torch.zeros(1, 3, dtype=torch.float64), rows(5, 3)]).requires_grad_()
    plain = globals()[f"plain_{name}"]
    kept = X[1:].detach().requires_grad_()
    found, wanted = (
        torch.autograd.grad(
            torch.autograd.grad(value, given, create_graph=True)[0].square().sum(), given
        )[0]
        for value, given in ((getattr(losses, name)(X), X), (plain(kept), kept))
    )
    torch.testing.assert_close(found[1:], wanted)
    assert (found[0] == 0).all()


@pytest.mark.parametrize("name", ["mean_cosine", "spread_out", "uniformity", "koleo", "alignment"])
def test_a_row_without_direction_has_no_gradient(name):
    X = torch.cat([torch.zeros(2, 3, dtype=torch.float64), rows(5, 3)]).requires_grad_()
    given = (X, X.roll(1, 0)) if name in TWO_VIEWS else (X,)
    (gradient,) = torch.autograd.grad(getattr(losses, name)(*given), X)
    assert (gradient[:1] == 0).all() and (gradient[3:] != 0).any()


@pytest.mark.parametrize("name", EVERY)
def test_compiled_in_one_graph(name):
    """No loss asks for the value of a tensor on its way, which would also wait for a GPU."""
    X = torch.cat([rows(9, 4), torch.zeros(1, 4, dtype=torch.float64)]).requires_grad_()
    given = (X, X.flip(0)) if name in TWO_VIEWS else (X,)
    torch.compiler.reset()
    value = torch.compile(getattr(losses, name), fullgraph=True, backend="eager")(*given)
    wanted = getattr(losses, name)(*given)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-12)
    found, expected = (torch.autograd.grad(v, X)[0] for v in (value, wanted))
    torch.testing.assert_close(found, expected)


def test_gradients_of_rows_in_several_blocks(monkeypatch):
    monkeypatch.setattr(cosine, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(pairs, "_BLOCK", 3)
    X = rows(70, 3).requires_grad_()
    assert gradcheck(losses.mean_cosine, (X,))
    assert losses.mean_cosine(X).item() == pytest.approx(plain_mean_cosine(X).item(), rel=1e-9)
    X = rows(8, 3).requires_grad_()
    for name in ("uniformity", "koleo"):
        assert gradcheck(getattr(losses, name), (X,))
        wanted = globals()[f"plain_{name}"](X.detach())
        assert getattr(losses, name)(X).item() == pytest.approx(wanted.item(), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_alignment_of_other_powers(alpha):
    X, Y = (V.requires_grad_() for V in views("alignment", 6))
    assert gradcheck(lambda a, b: losses.alignment(a, b, alpha=alpha), (X, Y))
    same = losses.alignment(X, X, alpha=alpha)
    same.backward()
    assert same == 0 and torch.isfinite(X.grad).all()


def test_repeated_eigenvalues_do_no_harm():
    X = torch.eye(6, dtype=torch.float64).repeat(2, 1).requires_grad_()
    for name in ("isoscore_star", "log_frobenius", "spectrum_control"):
        (gradient,) = torch.autograd.grad(getattr(losses, name)(X), X)
        assert torch.isfinite(gradient).all()
    assert losses.spectrum_control(X, decay=0).item() == pytest.approx(0, abs=1e-12)


# -- hard rows -----------------------------------------------------------------------------------


def hard_rows():
    X = rows(8, 4)
    holes = X.clone()
    holes[2:5] = 0
    return {
        "all zero": torch.zeros(6, 4),
        "zero rows": holes,
        "duplicates": X[torch.tensor([0, 0, 0, 1, 1, 2])],
        "all the same": X[:1].repeat(7, 1),
        "far from 0": X + 1e5,
        "huge": X * 1e25,
        "tiny": X * 1e-25,
        "constant column": torch.cat([X[:, :3], torch.ones(8, 1)], 1),
        "opposite": torch.cat([X, -X]),
        "one": X[:1],
        "two": X[:2],
        "three": X[:3],
        "four": X[:4],
        "one alive": torch.cat([X[:1], torch.zeros(3, 4)]),
        "empty": X[:0],
        "one column": X[:, :1],
    }


OF_SCALE = ("variance_covariance", "decorrelation")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", hard_rows())
@pytest.mark.parametrize("name", EVERY)
def test_hard_rows_are_finite(name, kind, dtype):
    if kind in ("huge", "tiny", "far from 0") and dtype == torch.float16:
        pytest.skip("outside the range of the type")
    if kind == "huge" and name in OF_SCALE:
        pytest.skip("a square of it leaves float32, as the definition says")
    X = hard_rows()[kind].to(dtype).requires_grad_()
    given = (X, X.flip(0)) if name in TWO_VIEWS else (X,)
    module = EVERY[name]()
    value = module(*given)
    assert value.dtype == torch.float32 and value.ndim == 0 and torch.isfinite(value)
    value.backward()
    assert X.grad.dtype == dtype and torch.isfinite(X.grad).all()


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("name", OF_MOMENTS + OF_ROWS)
def test_the_past_of_small_batches_is_finite(name, n):
    module = EVERY[name](**({"momentum": 0.9} if name in OF_MOMENTS else {"queue": 6}))
    for size in (n, 0, n, 3):
        X = rows(size, 4, seed=size).half().requires_grad_()
        given = (X, X.flip(0)) if name in TWO_VIEWS else (X,)
        value = module(*given, **ids_of(name, size))
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(X.grad).all()


@pytest.mark.parametrize("name", EVERY)
def test_under_autocast_products_stay_in_full_precision(name):
    given = tuple(V.float().requires_grad_() for V in views(name, 40, 16))
    plain = EVERY[name]()(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = EVERY[name]()(*given)
        as_function = getattr(losses, name)(*given)
    assert cast.dtype == torch.float32 and cast.item() == plain.item()
    assert module_value(name, as_function.item()) == pytest.approx(plain.item(), abs=1e-7)
    (gradient,) = torch.autograd.grad(cast, given[0])
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
def test_half_precision_rows_of_a_model_under_autocast(name):
    layer = torch.nn.Linear(16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = [layer(V.float()) for V in views(name, 20, 16)]
        value = EVERY[name]()(*given)
    assert given[0].dtype == torch.bfloat16 and value.dtype == torch.float32
    value.backward()
    assert torch.isfinite(layer.weight.grad).all() and layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", EVERY)
def test_input_is_not_written_to(name):
    given = views(name)
    before = [V.clone() for V in given]
    EVERY[name]()(*given)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_more_leading_dimensions_are_rows(name):
    given = views(name)
    wanted = getattr(losses, name)(*given)
    folded = [V.reshape(3, 4, -1) for V in given]
    assert getattr(losses, name)(*folded) == wanted
    assert EVERY[name]()(*folded) == module_value(name, wanted)


@pytest.mark.parametrize("name", EVERY)
def test_wrong_input_is_named(name):
    function = getattr(losses, name)
    n = 2 if name in TWO_VIEWS else 1
    with pytest.raises(TypeError, match="floating-point"):
        function(*[torch.ones(3, 2, dtype=torch.long)] * n)
    with pytest.raises(TypeError, match="ndarray"):
        function(*[np.ones((3, 2))] * n)
    with pytest.raises(ValueError, match=r"rows \(n, d\)"):
        function(*[torch.ones(3)] * n)


def test_wrong_options_are_named():
    X = rows()
    for call, what in [
        (lambda: losses.uniformity(X, t=0), "t must be"),
        (lambda: losses.alignment(X, X, alpha=0), "alpha must be"),
        (lambda: losses.alignment(X, X[:3]), "equal shapes"),
        (lambda: losses.barlow_twins(X, X[:3]), "equal shapes"),
        (lambda: losses.koleo(X, eps=0), "eps must be"),
        (lambda: losses.isoscore_star(X, zeta=2), "zeta must be"),
        (lambda: losses.IsoScoreStar(-1), "zeta must be"),
        (lambda: losses.spectrum_control(X, decay=-1), "decay must be"),
        (lambda: losses.sliced_epps_pulley(X, scale="rows"), "scale must be"),
        (lambda: losses.MeanCosine(momentum=1), "momentum must be"),
        (lambda: losses.KoLeo(queue=-1), "queue must be"),
    ]:
        with pytest.raises(ValueError, match=what):
            call()


# -- running moments, past rows ------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_momentum_zero_is_the_batch_alone(name):
    given = [V.requires_grad_() for V in views(name, 30)]
    module, plain = EVERY[name](momentum=0.0), EVERY[name]()
    module(*[torch.randn(30, 5, dtype=torch.float64) for _ in given])
    value, wanted = module(*given), plain(*given)
    assert value.item() == pytest.approx(wanted.item(), rel=1e-9, abs=1e-12)
    gradient, expected = (torch.autograd.grad(v, given)[0] for v in (value, wanted))
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_running_moments_are_those_of_all_batches(name):
    """With a momentum that gives every batch one weight they are the moments of the whole."""
    batches = [tuple(V + 0.2 * k for V in views(name, 30)) for k in range(4)]
    batches = [tuple(V * (1 + 0.1 * k) for V in b) for k, b in enumerate(batches)]
    module = EVERY[name](momentum=0.5)
    for k, batch in enumerate(batches):
        module.momentum = k / (k + 1)
        value = module(*batch)
    whole = [torch.cat(views_) for views_ in zip(*batches, strict=True)]
    assert value.item() == pytest.approx(EVERY[name]()(*whole).item(), rel=1e-9)


def test_running_moments_take_off_the_noise_of_few_rows():
    rng = torch.Generator().manual_seed(0)
    basis = torch.linspace(0.3, 2, 32)
    truth = losses.isoscore_star(torch.randn(20_000, 32, generator=rng) * basis, zeta=0)
    alone, carried = losses.IsoScoreStar(0), losses.IsoScoreStar(0, momentum=0.95)
    found = [
        [m(X).item() for m in (alone, carried)]
        for X in (torch.randn(8, 32, generator=rng) * basis for _ in range(200))
    ]
    alone, carried = (1 - np.array(found)[100:]).T
    assert abs(carried.mean() - truth) < 0.2 * abs(alone.mean() - truth)


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_gradients_flow_through_the_batch_s_part(name):
    module = EVERY[name](momentum=0.9)
    module(*views(name, 20))
    given = [V.requires_grad_() for V in views(name, 20)]
    module(*given).backward()
    assert given[0].grad.abs().sum() > 0
    module(*views(name, 20))  # the past holds no graph


@pytest.mark.parametrize("name", OF_MOMENTS + OF_ROWS)
def test_evaluation_takes_the_rows_alone_and_leaves_the_past(name):
    option = {"momentum": 0.9} if name in OF_MOMENTS else {"queue": 100}
    module, given = EVERY[name](**option), views(name)
    module(*[V * 3 - 1 for V in given], **ids_of(name, 12))
    past = module._past
    module.eval()
    assert module(*given).item() == pytest.approx(EVERY[name]().eval()(*given).item())
    assert module._past is past
    module.reset()
    assert module._past is None


@pytest.mark.parametrize("name", OF_MOMENTS + OF_ROWS)
def test_the_past_belongs_to_one_kind_of_rows(name):
    module = EVERY[name](**({"momentum": 0.9} if name in OF_MOMENTS else {"queue": 9}))
    module(*views(name, 6, 5), **ids_of(name, 6))
    with pytest.raises(ValueError, match="reset"):
        module(*views(name, 6, 4), **ids_of(name, 6))


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_queue_is_rows_appended(name):
    module, batches = EVERY[name](queue=20), [rows(8, 5, seed=k) for k in range(4)]
    for k, batch in enumerate(batches):
        value = module(batch, **ids_of(name, 8 * k, 8 * k + 8))
    # Four batches of 8, of which the last met 20 rows before it.
    rows_met = torch.cat([batches[3], batches[2], batches[1], batches[0][:4]])
    option = {"random_state": 3} if name == "sliced_epps_pulley" else {}
    assert value.item() == pytest.approx(getattr(losses, name)(rows_met, **option).item())
    assert torch.equal(module._past.rows, rows_met[:20])


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_row_that_comes_again_does_not_meet_its_past_copy(name):
    """The epochs of a small set: past copies would be each row's nearest, at a distance of 0."""
    X, ids, module = rows(12, 5).requires_grad_(), torch.arange(12), EVERY[name](queue=50)
    for epoch in range(3):
        for order in torch.randperm(12, generator=torch.manual_seed(epoch)).split(4):
            value = module(X[order], ids=ids[order])
    others = torch.cat([X[order], X[~torch.isin(ids, order)]])
    option = {"random_state": 8} if name == "sliced_epps_pulley" else {}
    wanted = getattr(losses, name)(others, **option)
    assert value.item() == pytest.approx(wanted.item())
    assert sorted(module._past.ids.tolist()) == list(range(12))
    (gradient,) = torch.autograd.grad(value, X)
    assert (gradient[order] != 0).any(dim=1).all()


def test_ids_are_checked():
    X = rows(6, 5)
    with pytest.raises(ValueError, match="needs ids="):
        losses.KoLeo(queue=9)(X)
    for wrong in (torch.arange(5), torch.arange(6.0)):
        with pytest.raises(ValueError, match="6 integers"):
            losses.Uniformity(queue=9)(X, ids=wrong)
    module = losses.Uniformity(queue=20)  # without ids every row counts as new
    module(X)
    module(X, ids=torch.arange(6))
    assert len(module._past.rows) == 12
    assert losses.KoLeo()(X) == losses.KoLeo(queue=9).eval()(X) == losses.koleo(X)


def test_directions_change_in_training_and_stay_in_evaluation():
    X, module = rows(40), losses.SlicedEppsPulley()
    assert module(X) != module(X)
    module.eval()
    assert module(X) == module(X) == losses.sliced_epps_pulley(X)


def test_the_table_holds_every_loss():
    public = {getattr(losses, name) for name in losses.__all__}
    kinds = {k for k in public if isinstance(k, type) and issubclass(k, losses.Regularizer)}
    bases = {losses.Regularizer, losses.MomentRegularizer, losses.RowRegularizer}
    assert kinds - bases == set(LOSSES.values())
    assert all(getattr(losses, name) in public for name in LOSSES)


def test_modules_say_what_they_are():
    assert repr(losses.MeanCosine(momentum=0.9)) == "MeanCosine(gather=False, momentum=0.9)"
    assert "zeta=0.1" in repr(losses.IsoScoreStar(0.1))


# -- what they are for ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(ONE_VIEW) - {"decorrelation"}))
def test_descent_spreads_a_cone(name):
    torch.manual_seed(0)
    X = torch.nn.Parameter(torch.randn(60, 12) * torch.linspace(0.2, 1, 12) + 1)
    option = {"std": 1.5} if name == "variance_covariance" else {}
    module, optimizer = EVERY[name](**option), torch.optim.Adam([X], lr=0.02)
    before = score(X.detach(), ["mean_cosine", "isoscore"])
    for _ in range(200):
        optimizer.zero_grad()
        module(X).backward()
        optimizer.step()
    after = score(X.detach(), ["mean_cosine", "isoscore"])
    if name not in ("isoscore_star", "log_frobenius", "variance_covariance"):  # blind to the mean
        assert after["mean_cosine"] < 0.5 * before["mean_cosine"]
    if name != "mean_cosine":  # blind to the spectrum
        assert after["isoscore"] > min(0.9, before["isoscore"] + 0.1)


def test_the_mean_cosine_makes_no_matrix_of_pairs():
    """At 200,000 rows the pairs would take 160 GB."""
    X = torch.randn(200_000, 8, requires_grad=True)
    losses.mean_cosine(X).backward()
    assert X.grad.shape == X.shape


def test_spacing_is_that_of_the_type():
    assert _base.spacing(torch.zeros(1)) == np.finfo(np.float32).eps


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", EVERY)
def test_a_row_that_is_not_finite_has_no_loss(name, bad):
    """A training that diverged shows it: value and gradient, of function and module."""
    momentum = {"momentum": 0.5} if name in OF_MOMENTS else {}
    for loss in (getattr(losses, name), EVERY[name](), EVERY[name](**momentum)):
        for dtype in (torch.float32, torch.float64):
            given = [view.requires_grad_() for view in views(name, 8, 4, dtype)]
            last = given[-1].detach().clone()
            last[3, 1] = bad
            given[-1] = last.requires_grad_()
            value = loss(*given)
            assert value.isnan() and torch.autograd.grad(value, given[-1])[0].isnan().any()


@pytest.mark.parametrize("name", EVERY)
def test_rows_of_the_largest_numbers_are_finite(name):
    if name in ("decorrelation", "variance_covariance", "barlow_twins"):
        pytest.skip("of the fourth power of the scale, or with squares of each dimension")
    X = torch.tensor([[3e38, -3e38], [-3e38, 3e38], [3e38, 3e38]])
    given = (X, X.roll(1, 0)) if name in TWO_VIEWS else (X,)
    assert EVERY[name]()(*given).isfinite()


@pytest.mark.parametrize("name", ["mean_cosine", "spread_out", "uniformity", "koleo"])
def test_rows_below_the_normal_range_have_a_direction(name):
    X = rows(6, 4, dtype=torch.float32).requires_grad_()
    tiny = (X.detach() * 1e-39).requires_grad_()
    wanted, found = (getattr(losses, name)(each) for each in (X, tiny))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)
    if name == "mean_cosine":
        (gradient,) = torch.autograd.grad(found * 1e-3, tiny)
        (plain,) = torch.autograd.grad(wanted, X)
        torch.testing.assert_close(gradient * 1e-36, plain, rtol=1e-3, atol=1e-5)
