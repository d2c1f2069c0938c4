"""The correction chosen on the data, or none."""

from isotropy.choose.advice import Advice, Choice, advise
from isotropy.choose.auto import AutoCorrector
from isotropy.choose.report import AutoReport, Risk

__all__ = ["Advice", "AutoCorrector", "AutoReport", "Choice", "Risk", "advise"]
