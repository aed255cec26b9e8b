"""What can be chosen about a fit."""

from dataclasses import dataclass

from taichi_softras.errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How `Fitter` turns posed images into a mesh. Softness is in pixels of the current images."""

    steps: int = 750
    """Optimiser steps."""
    views_per_step: int = 3
    """Images that each step looks at; every image is seen before one is seen again."""
    level: int = 4
    """Subdivisions of the icosphere at the end: 4 gives 2562 vertices, 5 gives 10242."""
    shrink: tuple[int, ...] = (4, 2, 1)
    """Factors by which images are shrunk, coarse to fine, each for an equal share of the steps."""
    learning_rate: float = 0.05
    """Largest step of the shape, in units of the object's radius."""
    color_rate: float = 3e-2
    """Adam's step for the colours' logits."""
    smoothness: float = 6.0
    """Weight of the graph Laplacian in the shape's preconditioner; larger is smoother."""
    sigma_start: float = 0.7
    """Edge softness sqrt(sigma) at the first step, in pixels."""
    sigma_end: float = 0.2
    """Edge softness sqrt(sigma) at the last step, in pixels."""
    gamma_start: float = 1e-2
    """Depth softness at the first step; near and far enclose the object tightly."""
    gamma_end: float = 3e-3
    """Depth softness at the last step."""
    silhouette_weight: float = 1.0
    """Weight of 1 - IoU of the silhouettes, beside the photometric L1."""
    patience: int = 150
    """Stop early when the loss has not fallen for this many steps of the last stage."""
    seed: int = 0
    """Order of the views and background colours."""

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted with, naming the field."""
        for name in ("steps", "views_per_step", "patience"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.level <= 7:
            raise ArgumentError(f"`level` must lie in 0 to 7, got {self.level}.")
        if not self.shrink or min(self.shrink) < 1:
            raise ArgumentError(f"`shrink` must be factors of at least 1, got {self.shrink}.")
        for name in (
            "learning_rate",
            "color_rate",
            "sigma_start",
            "sigma_end",
            "gamma_start",
            "gamma_end",
        ):
            if not getattr(self, name) > 0.0:
                raise ArgumentError(f"`{name}` must be positive, got {getattr(self, name)}.")
        for name in ("smoothness", "silhouette_weight"):
            if not getattr(self, name) >= 0.0:
                raise ArgumentError(f"`{name}` must not be negative, got {getattr(self, name)}.")
