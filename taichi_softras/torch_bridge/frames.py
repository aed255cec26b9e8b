"""What a rendering is but for its values: checked and planned once, and then remembered."""

from typing import Any, NamedTuple

from torch import Tensor

from taichi_softras.constants import zeros
from taichi_softras.inputs import RasterInputs
from taichi_softras.pipeline import Plan
from taichi_softras.settings import RasterSettings
from taichi_softras.topology import KernelFaces, kernel_faces
from taichi_softras.torch_bridge.launch import Fixed, Tensors, fix
from taichi_softras.torch_bridge.memory import dtype_name

MOST_KEPT = 64
"""Frames that are remembered."""


class Frame(NamedTuple):
    """What a rendering is, but for points, attributes and faces."""

    plan: Plan
    views: Tensor
    background: Tensor
    texels: Tensor
    table: Tensor
    nothing: Tensor
    """Attributes where none are to be read. [M, 3, 0]"""
    fixed: Fixed | None = None
    """Of a frame that is remembered."""

    @classmethod
    def of(cls, inputs: RasterInputs, settings: RasterSettings, orthographic: bool) -> "Frame":
        """Plan the rendering of a group of channels."""
        attributes, texels = inputs.attributes, inputs.texels
        plan = Plan.of(
            settings,
            dtype=dtype_name(attributes.dtype),
            channels=inputs.channels,
            size=inputs.size,
            n_views=inputs.views.shape[0],
            n_faces=inputs.n_faces,
            n_vertices=inputs.n_vertices,
            n_attributes=attributes.shape[0],
            background_rows=inputs.background.shape[0],
            orthographic=orthographic,
            lookup=inputs.texture.lookup if inputs.texture else "",
            textured=texels.shape[1],
            n_texels=texels.shape[0],
        )
        nothing = zeros(attributes.shape[0], 3, 0, like=attributes)
        return cls(plan, inputs.views, inputs.background, texels, inputs.table, nothing)

    def attributes_of(self, given: Tensor | None, settings: RasterSettings) -> Tensor:
        """Lay out `rasterize`'s attributes, which have been checked. [M, 3, C]."""
        if given is None or settings.color == "none":
            return self.nothing
        return given.flatten(0, 1) if given.ndim == 4 else given


def kind_of(settings: RasterSettings, choices: Any, *tensors: Any) -> Any:
    """Return what decides a frame, None if values do that too.

    Args:
        settings: Those of the rendering.
        choices: Whatever else matters, hashable.
        *tensors: Points, attributes and faces; of these only shapes, dtypes and devices matter.
    """
    if isinstance(settings.sigma, Tensor) or isinstance(settings.gamma, Tensor):
        return None
    return settings, choices, *map(_metadata, tensors)


def _metadata(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    return type(value)


def recall(
    kind: Any, points: Tensor, faces: Tensor | None
) -> tuple[Frame | None, KernelFaces | None]:
    """Return the frame of arguments that were checked, if these are as good; and the faces."""
    frame = _kept.get(kind)
    if frame is None or faces is None:
        return frame, None
    known = kernel_faces(faces)
    if known.lowest < 0 or known.highest >= points.shape[1]:
        return None, None
    return frame, known


def remember(kind: Any, frame: Frame, points: Tensor) -> None:
    """Keep the frame of arguments that have been checked; of kind None nothing is kept."""
    if kind is None:
        return
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    plan, views, background, texels, table, nothing, _ = frame
    tensors = Tensors(points, nothing, views, background, texels, table)
    _kept[kind] = frame._replace(fixed=fix(plan, tensors))


_kept: dict[Any, Frame] = {}
"""Frames by kind."""
