"""The correction chosen on the data, or none."""

from isotropy.choose.auto import AutoCorrector
from isotropy.choose.report import AutoReport, Risk

__all__ = ["AutoCorrector", "AutoReport", "Risk"]
