"""Which face is nearest at each pixel: the z-buffer alone, from the kernels of hard colour."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.inputs import pack_inputs
from taichi_softras.settings import RasterSettings
from taichi_softras.torch_bridge import launch
from taichi_softras.torch_bridge.frames import Frame
from taichi_softras.torch_bridge.memory import check_backend


def nearest_faces(
    corners_ndc: Tensor,
    *,
    size: tuple[int, int],
    settings: RasterSettings,
    face_counts: Sequence[int] | None = None,
    orthographic: bool = False,
) -> Tensor:
    """Return the nearest face that contains each pixel's centre.

    Args:
        corners_ndc: As for `rasterize`. [B, F, 3, 3], or [N, 3, 3] with `face_counts`
        size: Image height and width in pixels.
        settings: Which faces there are; what makes them soft does not matter.
        face_counts: Faces of each view, when views have different meshes.
        orthographic: Depth varies linearly over the screen.

    Returns:
        Rows of all views' faces one after the other, 0..N - 1, and -1 where there is none. int64,
        on the device of the corners. [B, H, W]
    """
    corners_ndc = corners_ndc.detach()
    hard = replace(settings, distance="hard", alpha="hard", color="hard", sigma=1e-4, gamma=1e-4)
    runtime.init(tensors_on=corners_ndc.device.type)
    check_backend(corners_ndc, hard)
    inputs = pack_inputs(
        corners_ndc, None, size=size, settings=hard, background=None, face_counts=face_counts
    )
    plan = Frame.of(inputs, hard, orthographic).plan
    images, kept = launch.forward(plan, launch.Tensors.of(inputs))
    winner: Tensor = launch.leftovers(kept, images).winner
    return winner.reshape(inputs.views.shape[0], *size).to(torch.int64)
