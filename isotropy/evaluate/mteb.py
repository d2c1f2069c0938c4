"""A (corrected) encoder as `mteb` wants it."""

from __future__ import annotations

from typing import Any

from isotropy._optional import require

__all__ = ["as_mteb"]


def as_mteb(model: Any, *, name: str = "isotropy/corrected", device: str = "auto") -> Any:
    """An encoder that `mteb.evaluate` takes, under a name of its own in the results.

    Parameters
    ----------
    model : SentenceTransformer, Hub name, folder or "minilm"
        For a correction inside, what `isotropy.encoders.wrap` gives.
    name : str
        As Hub names are: owner/name.
    device : str, default="auto"
        Where to run, as in `isotropy.encoders.encode`.

    Returns
    -------
    mteb.models.SentenceTransformerEncoderWrapper

    Raises
    ------
    ImportError
        If mteb is not installed (extra ``mteb``).
    ValueError
        If the name is no owner/name, or the model cannot be loaded.

    Examples
    --------
    >>> from isotropy.evaluate.mteb import as_mteb
    >>> model = as_mteb("minilm", name="me/corrected")  # doctest: +SKIP
    >>> mteb.evaluate(model, mteb.get_tasks(["STSBenchmark"]))  # doctest: +SKIP
    >>> as_mteb("minilm", name="corrected")
    Traceback (most recent call last):
    ValueError: name must be owner/name, got 'corrected'.
    """
    if name.count("/") != 1:
        raise ValueError(f"name must be owner/name, got {name!r}.")
    mteb = require("mteb", extra="mteb")
    from isotropy.encoders._models import check_device, load

    wrapped = mteb.models.SentenceTransformerEncoderWrapper(load(model, check_device(device)))
    wrapped.mteb_model_meta = wrapped.mteb_model_meta.model_copy(update={"name": name})
    return wrapped
