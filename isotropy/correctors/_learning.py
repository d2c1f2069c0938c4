"""Estimators that several threads may use: one learns at a time, the others see it all or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from isotropy.storage.state import contiguous

__all__ = ["Learner"]

_LOCK = "_learns_alone"


class Learner(BaseEstimator):
    """Base of estimators whose fitted state is replaced whole, never changed in its place.

    What learns, learns in a twin inside of ``with self._learning(...) as twin``; the twin's
    attributes become this object's by one assignment. So a refusal changes nothing, two threads
    that learn take turns, and one that applies sees the old state or the new one.
    """

    @contextmanager
    def _learning(self, *, anew: bool) -> Iterator[Self]:
        """A twin to learn in, without what was learned before where it is to begin `anew`."""
        with self.__dict__.setdefault(_LOCK, RLock()):
            twin = object.__new__(type(self))
            twin.__dict__ = {
                name: value
                for name, value in self.__dict__.copy().items()
                if not (anew and name.endswith("_"))
            }
            yield twin
            for name, value in vars(twin).items():
                if name.endswith("_") and isinstance(value, np.ndarray):
                    twin.__dict__[name] = contiguous(value)
            self.__dict__ = twin.__dict__

    def _as_it_is(self) -> Self:
        """This object as it is now, whatever it learns next: it looks into the same attributes."""
        now = object.__new__(type(self))
        now.__dict__ = self.__dict__
        return now

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        state.pop(_LOCK, None)
        return state
