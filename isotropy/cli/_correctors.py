"""Correctors as words on a command line: ``whitening:power=0.5,n_components=128``."""

from __future__ import annotations

import difflib
import inspect
import json
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from isotropy.tables import CORRECTORS

__all__ = ["CORRECTOR_HELP", "corrector_or_file", "parse_corrector", "parse_correctors", "spelled"]

CORRECTOR_HELP = (
    "NAME or NAME:parameter=value,... such as whitening:method=zca,power=0.5. Names: {CORRECTORS}."
)
"""In help texts ``{TABLE}`` stands for the names in a table."""

_WORDS = {float: "a number", int: "an integer", bool: "True or False", str: "a word"}


def parse_corrector(spec: str) -> Any:
    """The unfitted corrector that `spec` names, its parameters checked as far as words go.

    Parameters
    ----------
    spec : str
        A name in `isotropy.tables.CORRECTORS`, alone or with ``:parameter=value,...``.

    Returns
    -------
    corrector : Corrector

    Raises
    ------
    ValueError
        If there is no such corrector or parameter, or a value is of another kind than it takes.

    Examples
    --------
    >>> parse_corrector("whitening:method=zca,power=0.5")
    Whitening(method='zca', power=0.5)
    """
    name, _, rest = spec.partition(":")
    cls = CORRECTORS[name.strip()]
    allowed = list(inspect.signature(cls).parameters)
    parameters = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"{spec!r}: {part!r} is not parameter=value; {_takes(name, allowed)}")
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{spec!r}: no parameter is named {key!r}.{hint} {_takes(name, allowed)}"
            )
        parameters[key] = _value(text)
    _check_kinds(spec, cls, parameters)
    corrector = cls(**parameters)
    if check := getattr(corrector, "_check_parameters", None):
        check()
    return corrector


def parse_correctors(specs: list[str]) -> dict[str, Any]:
    """The unfitted correctors by the words that name them; see `parse_corrector`."""
    return {spec: parse_corrector(spec) for spec in specs}


def spelled(corrector: Any) -> str:
    """The words that `parse_corrector` makes an unfitted corrector of the table from.

    Parameters
    ----------
    corrector : unfitted corrector
        Its parameters are numbers, words, truth values or None.

    Returns
    -------
    str

    Examples
    --------
    >>> spelled(parse_corrector("whitening:power=0.5"))
    'whitening:power=0.5'
    """
    usual = type(corrector)().get_params()
    told = [f"{k}={v}" for k, v in corrector.get_params().items() if v != usual[k]]
    return ":".join(filter(None, [CORRECTORS.name_of(type(corrector)), ",".join(told)]))


def corrector_or_file(text: str) -> Any:
    """The corrector that a ``.safetensors`` file holds, or the unfitted one that `text` names."""
    if text.endswith(".safetensors"):
        from isotropy.correctors import load

        return load(text)
    return parse_corrector(text)


def _takes(name: str, allowed: list[str]) -> str:
    return f"{name} takes {', '.join(allowed)}."


def _value(text: str) -> Any:
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_kinds(spec: str, cls: type, parameters: dict[str, Any]) -> None:
    """Compare values with the types that the class's signature names."""
    try:
        hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError:  # a type that only a checker of types imports
        return
    for key, value in parameters.items():
        hint = hints.get(key, Any)
        if not _fits(value, hint):
            wanted = " or ".join(dict.fromkeys(_words(hint)))
            words = [word for word in _words(hint) if word.startswith("'")]
            close = difflib.get_close_matches(repr(value), words, n=1)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise ValueError(f"{spec!r}: {key} must be {wanted}, got {value!r}.{meant}")


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        # A truth value is an integer to Python, and an integer is a number.
        return not isinstance(value, bool) and isinstance(value, int | hint)
    return isinstance(hint, type) and isinstance(value, hint)


def _words(hint: Any) -> list[str]:
    """What a type takes, in words; what cannot be written on a command line is left out."""
    if get_origin(hint) in (Union, UnionType):
        return [word for part in get_args(hint) for word in _words(part)]
    if get_origin(hint) is Literal:
        return [repr(value) for value in get_args(hint)]
    if hint is NoneType:
        return ["None"]
    return [_WORDS[hint]] if hint in _WORDS else []
