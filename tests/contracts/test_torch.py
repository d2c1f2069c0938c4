"""Torch in, torch out: on the device, of the type, with gradients."""

import numpy as np
import pytest
from cases import CORRECTORS
from sklearn.base import clone

import isotropy
from isotropy import MeanRemoval, Moments, Whitening
from isotropy.tables import CORRECTORS as TABLE

torch = pytest.importorskip("torch")

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]


def rows(n=80, d=6, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    scales = torch.arange(1, d + 1)
    return (torch.randn(n, d, generator=generator) * scales + 4).to(device, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_type_and_device_come_back_and_values_are_those_of_numpy(corrector, dtype, device):
    X = rows(dtype=dtype, device=device)
    Y = corrector.fit(X).transform(X)
    assert (Y.dtype, Y.device, type(Y)) == (X.dtype, X.device, torch.Tensor)
    wanted = corrector.transform(X.double().cpu().numpy())
    tolerance = 8 * torch.finfo(dtype).eps * np.abs(wanted).max()
    if dtype is torch.float64:
        tolerance = 1e-10
    np.testing.assert_allclose(Y.double().cpu().numpy(), wanted, atol=tolerance)


def test_integers_come_back_in_float64():
    assert MeanRemoval().fit_transform(torch.tensor([[1, 2], [3, 4]])).dtype == torch.float64


def test_gradients_are_right(corrector):
    X = rows(5)
    corrector.fit(rows())
    probe = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(corrector.transform, probe)
    module = corrector.to_torch().double()
    assert torch.autograd.gradcheck(module, probe)


def test_the_gradient_at_a_zero_row_is_finite():
    corrector = MeanRemoval(0, normalize="both").fit(rows())
    X = torch.zeros(2, 6, requires_grad=True)
    corrector.transform(X).sum().backward()
    assert torch.isfinite(X.grad).all()


def test_a_tensor_that_needs_gradients_can_be_fitted():
    assert Whitening().fit(rows().requires_grad_()).rank_ == 6


def test_the_module_does_what_the_corrector_does(corrector):
    X = rows(dtype=torch.float32)
    module = corrector.fit(X).to_torch()
    np.testing.assert_allclose(module(X), corrector.transform(X), atol=2e-4)
    assert not list(module.parameters())
    batch = X.reshape(8, 10, 6)
    torch.testing.assert_close(module(batch).reshape(80, -1), module(X))
    assert module(X.bfloat16()).dtype == torch.bfloat16
    again = corrector.to_torch()
    again.load_state_dict(module.state_dict())


def test_a_mean_far_away_does_no_harm_in_float32():
    X = rows(400, dtype=torch.float32) + 5000
    Y = Whitening().fit(X).transform(X)
    C = torch.cov(Y.double().T)
    assert (C - torch.eye(6)).abs().max() < 1e-4


def test_moments_of_a_tensor_without_a_copy_are_those_of_numpy():
    X = rows()
    a, b = Moments.from_rows(X), Moments.from_rows(X.numpy())
    np.testing.assert_array_equal(a.scatter, b.scatter)


def test_wrong_tensors_are_refused(corrector):
    X = rows()
    corrector.fit(X)
    with pytest.raises(ValueError, match="2-D"):
        corrector.transform(X[0])
    with pytest.raises(ValueError, match="expecting 6"):
        corrector.transform(X[:, :5])
    with pytest.raises(ValueError, match="complex"):
        corrector.fit(X.to(torch.complex64))
    X[3, 2] = torch.nan
    with pytest.raises(ValueError, match="row 3"):
        corrector.fit(X)


def test_inverse_of_a_tensor_is_a_tensor():
    X = rows()
    whitening = Whitening().fit(X)
    torch.testing.assert_close(whitening.inverse_transform(whitening.transform(X)), X)


def test_scores_of_a_tensor_are_those_of_numpy():
    X = rows()
    names = ["mean_cosine", "isoscore", "uniformity"]
    assert dict(isotropy.score(X, names)) == dict(isotropy.score(X.numpy(), names))


def test_every_corrector_is_in_the_list():
    tested_on_their_own = {
        isotropy.ConceptErasure,
        isotropy.PairWhitening,
        isotropy.WeightedRemoval,
    }
    affine = {c for c in TABLE.values() if issubclass(c, isotropy.correctors.AffineCorrector)}
    assert {type(clone(c)) for c in CORRECTORS} == affine - tested_on_their_own
