import numpy as np
import pytest

from isotropy import Moments
from isotropy.metrics import NeedsRows, partition_isotropy


def both_signs(rows, scale="rms", weights=None):
    """min Z / max Z over +-eigenvectors of X'X, straight from the definition."""
    rows = rows.astype(np.float64)
    weights = np.ones(len(rows)) if weights is None else weights
    if scale == "rms":
        rows = rows / np.sqrt(np.average((rows**2).sum(1), weights=weights))
    _, vectors = np.linalg.eigh((rows * weights[:, None]).T @ rows)
    z = [weights @ np.exp(sign * rows @ c) for c in vectors.T for sign in (1, -1)]
    return min(z) / max(z)


def test_exact_value_is_the_definition(hard):
    if np.abs(hard.astype(np.float64)).max() > 1e20:
        pytest.skip("the plain definition overflows")
    # Eigenvectors of equal eigenvalues, as null ones are, are any; those have Z = n all alike.
    assert partition_isotropy(hard) == pytest.approx(both_signs(hard), rel=1e-4)


def test_neither_sign_of_an_eigenvector_is_preferred():
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(300, 8)) * np.linspace(0.5, 1.5, 8)
    for mirrored in (rows, -rows, rows[:, ::-1]):
        assert partition_isotropy(mirrored) == pytest.approx(both_signs(rows), rel=1e-9)


def test_value_does_not_depend_on_scale_unless_asked(gaussian):
    assert partition_isotropy(9 * gaussian) == pytest.approx(partition_isotropy(gaussian))
    raw = partition_isotropy(gaussian, scale="none")
    assert raw == pytest.approx(both_signs(gaussian, "none"), rel=1e-9)
    assert partition_isotropy(2 * gaussian, scale="none") < raw / 2


def test_large_rows_do_not_overflow(gaussian):
    value = partition_isotropy(gaussian * 1e4, scale="none", form="exact")
    assert value == 0 or 0 < value < 1e-300


def test_blocks_add_up(gaussian, monkeypatch):
    whole = partition_isotropy(gaussian)
    monkeypatch.setattr("isotropy.metrics._inputs.block_rows", lambda d, itemsize: 7)
    assert partition_isotropy(gaussian) == pytest.approx(whole, rel=1e-12)


def test_frequencies_are_repetitions(weighted):
    rows, counts, repeated = weighted
    for form in ("exact", "gaussian", "second", "first"):
        value = partition_isotropy(rows, counts, form=form)
        assert value == pytest.approx(partition_isotropy(repeated, form=form), rel=1e-10)


def test_probabilities_weigh_as_frequencies_do(weighted):
    rows, counts, repeated = weighted
    value = partition_isotropy(rows, counts / counts.sum(), weight_type="probability")
    assert value == pytest.approx(partition_isotropy(repeated), rel=1e-10)


def test_first_and_second_order_are_the_papers(gaussian):
    rows = gaussian / np.sqrt((gaussian**2).sum(1).mean())
    n, total = len(rows), np.linalg.norm(rows.sum(0))
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    first, second = (partition_isotropy(gaussian, form=form) for form in ("first", "second"))
    assert first == pytest.approx((n - total) / (n + total))
    assert second == pytest.approx(
        (n - total + values[-1] / 2) / (n + total + values[0] / 2), rel=1e-9
    )


def test_gaussian_form_is_exact_for_gaussian_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100_000, 3)) * [0.3, 0.6, 1.0] + [0.9, 0.0, 0.4]
    exact = partition_isotropy(rows)
    assert partition_isotropy(rows, form="gaussian") == pytest.approx(exact, rel=0.01)
    for form in ("first", "second"):
        assert partition_isotropy(rows, form=form) != pytest.approx(exact, rel=0.1)


def test_moments_serve_all_but_the_exact_form(gaussian):
    moments = Moments.from_rows(gaussian)
    for form in ("gaussian", "second", "first"):
        value = partition_isotropy(moments, form=form)
        assert value == pytest.approx(partition_isotropy(gaussian, form=form), rel=1e-12)
    with pytest.raises(NeedsRows, match="needs the rows"):
        partition_isotropy(moments)


def test_wrong_choices_are_named(gaussian):
    with pytest.raises(ValueError, match="form must be one of"):
        partition_isotropy(gaussian, form="third")
    with pytest.raises(ValueError, match="scale must be"):
        partition_isotropy(gaussian, scale="unit")


def test_rows_of_zeros_have_no_value():
    assert np.isnan(partition_isotropy(np.zeros((5, 3))))
