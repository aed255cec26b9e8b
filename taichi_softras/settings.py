"""The rasterizer's options: one frozen object that cannot be built wrong."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

from taichi_softras.errors import ArgumentError, check_choice

if TYPE_CHECKING:  # the settings serve programs without torch too
    import torch

Distance = Literal["euclidean", "barycentric", "hard"]
Alpha = Literal["prod", "sum", "hard"]
Color = Literal["softmax", "hard", "none"]
Clip = Literal["nearest", "clamp"]
Cull = Literal["none", "back", "front"]
Unseen = Literal["drop", "alpha"]


@dataclass(frozen=True, kw_only=True)
class RasterSettings:
    """How triangles become pixels. Numbers may change every step without recompiling anything.

    `sigma` and `gamma` accept floats or 0-d tensors; tensors that require grad receive one.
    """

    sigma: "float | torch.Tensor" = 1e-5
    """Edge softness in squared NDC units: coverage is sigmoid(+-d**2 / sigma)."""
    gamma: "float | torch.Tensor" = 1e-4
    """Depth softness, unit-less: it divides the depth normalised to 1 at near, 0 at far."""
    eps: float = 1e-3
    """Normalised depth at which the background takes part in the softmax."""
    dist_eps: float = 1e-4
    """A face is skipped where its coverage is below this; 0 keeps every face at every pixel."""
    near: float = 1.0
    """View depth of the near plane, in world units; `render` clips geometry there."""
    far: float = 100.0
    """View depth of the background, in world units. Scales `gamma`; nothing is clipped there."""
    distance: Distance = "euclidean"
    """Metric of the coverage: to the triangle's boundary, smallest barycentric, or inside-only."""
    alpha: Alpha = "prod"
    """Silhouette: 1 - prod(1 - D), sum(D), or 1 where some D > 0.5."""
    color: Color = "softmax"
    """Blend all faces, take the nearest one that contains the pixel, or render no colour."""
    clip: Clip = "nearest"
    """Where attributes are read outside a face: its nearest point, or clamped barycentrics."""
    perspective_correct: bool = True
    """Interpolate attributes in space (True) or on the screen, as the original does (False)."""
    cull: Cull = "none"
    """Faces to drop; counter-clockwise on the screen is the front."""
    unseen: Unseen = "drop"
    """What becomes of culled faces: nothing, or they count in alpha alone. "alpha" is Liu et al.'s
    code: faces behind the eye count in alpha too, colour and depth leave out whatever lies nearer
    than `near` or beyond `far` at the pixel, and `render` clips nothing."""

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered, naming the argument and what it should be."""
        for name, choices in (
            ("distance", Distance),
            ("alpha", Alpha),
            ("color", Color),
            ("clip", Clip),
            ("cull", Cull),
            ("unseen", Unseen),
        ):
            check_choice(name, getattr(self, name), get_args(choices))
        for name in ("eps", "dist_eps", "near", "far"):
            value = getattr(self, name)
            if not _is_number(value):
                raise ArgumentError(f"`{name}` must be a number, got {value!r}.")
        _check_softness("sigma", self.sigma, "use distance='hard' for hard edges")
        _check_softness("gamma", self.gamma, "use color='hard' for a z-buffer")
        if not 0.0 <= self.dist_eps < 0.5:
            raise ArgumentError(f"`dist_eps` must lie in [0, 0.5), got {self.dist_eps}.")
        if not math.isfinite(self.eps):
            raise ArgumentError(f"`eps` must be finite, got {self.eps}.")
        if not (math.isfinite(self.far) and 0.0 < self.near < self.far):
            raise ArgumentError(
                f"`near` and `far` must satisfy 0 < near < far, got {self.near} and {self.far}."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_softness(name: str, value: Any, remedy: str) -> None:
    if getattr(value, "shape", ()) != ():
        raise ArgumentError(
            f"`{name}` must be a float or a 0-d tensor, got a tensor of shape {list(value.shape)}."
        )
    if not (_is_number(value) or hasattr(value, "detach")):
        raise ArgumentError(f"`{name}` must be a float or a 0-d tensor, got {value!r}.")
    number = float(getattr(value, "detach", lambda: value)())
    if not (math.isfinite(number) and number > 0.0):
        raise ArgumentError(f"`{name}` must be positive and finite, got {number}; {remedy}.")
