"""Pictures: scikit-learn-style displays on matplotlib."""

from isotropy._optional import require

require("matplotlib", extra="plot")

from isotropy.plot.displays import (  # noqa: E402
    BeforeAfterDisplay,
    CosineHistogramDisplay,
    FrequencyDisplay,
    HubnessDisplay,
    LayerProfileDisplay,
    ProjectionDisplay,
    SpectrumDisplay,
)

__all__ = [
    "BeforeAfterDisplay",
    "CosineHistogramDisplay",
    "FrequencyDisplay",
    "HubnessDisplay",
    "LayerProfileDisplay",
    "ProjectionDisplay",
    "SpectrumDisplay",
]
