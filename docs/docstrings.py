"""Every public object has a whole docstring: numpydoc's validation, and what it does not look at.

Run as ``python docs/docstrings.py [PART ...]``; without names it looks at every part of the
package. Prints a line for each fault, and ends with 1 if there is one.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType
from typing import Any

from numpydoc.validate import validate

import isotropy

EVERYWHERE = {
    "GL08": "has no docstring",
    "PR01": "parameters not documented",
    "PR02": "unknown parameters",
    "RT01": "has no Returns section",
    "YD01": "has no Yields section",
}
OBJECTS = {**EVERYWHERE, "EX01": "has no example"}
OBVIOUS = {"y", "self"}  # scikit-learn's ignored argument


def public_objects(parts: list[str]) -> Iterator[tuple[str, Any]]:
    """Functions and classes in the ``__all__`` of each part, each once, under its public name."""
    seen = set()
    for part in parts:
        module = import_module(f"isotropy.{part}") if part else isotropy
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            ours = getattr(thing, "__module__", "").startswith("isotropy")
            if not ours or id(thing) in seen or not callable(thing):
                continue
            seen.add(id(thing))
            yield f"{module.__name__}:{name}", thing


def methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """Public methods of our own classes, where they are written and first documented."""
    for name, raw in vars(cls).items():
        function = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
        if name.startswith("_") or not isinstance(function, FunctionType):
            continue
        told = function.__doc__ or not inspect.getdoc(getattr(cls, name))
        field = function.__name__ != name  # a dataclass keeps the default of a field here
        if function.__module__.startswith("isotropy") and told and not field:
            yield name, function


def raises(function: Any) -> bool:
    """Whether the body has a raise statement of its own, beside a bare one."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


def faults(path: str, thing: Any, wanted: dict[str, str]) -> Iterator[str]:
    """What is missing in one docstring."""
    found = validate(f"{thing.__module__}.{thing.__qualname__}")
    for code, message in found["errors"]:
        if code in wanted and not (code == "PR01" and _only_obvious(message)):
            yield f"{path}: {message}"
    if not isinstance(thing, type) and raises(thing) and "Raises\n" not in (thing.__doc__ or ""):
        yield f"{path}: raises, and has no Raises section"


def _only_obvious(message: str) -> bool:
    names = message.partition("{")[2].partition("}")[0]
    return {name.strip(" '") for name in names.split(",")} <= OBVIOUS


def main(parts: list[str]) -> int:
    """Print the faults; 1 if there are any."""
    lines = []
    for path, thing in public_objects(parts or ["", *isotropy._PARTS]):
        trouble = isinstance(thing, type) and issubclass(thing, Exception)
        lines += faults(path, thing, EVERYWHERE if trouble else OBJECTS)
        if isinstance(thing, type):
            for name, method in methods(thing):
                wanted = {} if _short(method) else EVERYWHERE
                lines += faults(f"{path}.{name}", method, wanted)
    print(*lines, f"{len(lines)} faults in docstrings.", sep="\n")
    return min(1, len(lines))


def _short(method: FunctionType) -> bool:
    """Whether a method takes nothing but itself: a sentence says all of it."""
    return len(inspect.signature(method).parameters) <= 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
