"""Correctors that make rows Gaussian."""

from isotropy.gaussianize.base import FallbackWarning
from isotropy.gaussianize.flow import FlowGaussianizer
from isotropy.gaussianize.rbig import RotationGaussianizer

__all__ = ["FallbackWarning", "FlowGaussianizer", "RotationGaussianizer"]
