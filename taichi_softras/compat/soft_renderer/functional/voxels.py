"""Solid voxels of closed surfaces."""

import torch
from torch import Tensor

from taichi_softras.errors import check_shape
from taichi_softras.mesh import Mesh
from taichi_softras.voxels import bounding_cube, voxelize


def voxelization(faces: Tensor, size: int = 32, normalize: bool = False) -> Tensor:
    """Tell which voxel centres lie inside a closed surface, without a gradient.

    Args:
        faces: Corners of the faces, in the unit cube [0, 1]³. [B, F, 3, 3]
        size: Number N of voxels along each axis.
        normalize: Fit the unit cube to each mesh first, by its longest side.

    Returns:
        1 inside and 0 outside, along x, y and z, int32. [B, N, N, N]
    """
    axes = check_shape("faces", faces.shape, "B F 3 3")
    index = torch.arange(3 * axes["F"], device=faces.device).reshape(-1, 3)
    soup = Mesh(vertices=faces.detach().reshape(axes["B"], -1, 3), faces=index)
    unit = torch.tensor([[0.0] * 3, [1.0] * 3], dtype=torch.float64)
    solid = voxelize(soup, size, bounding_cube(soup) if normalize else unit)
    return solid.permute(0, 3, 2, 1).to(torch.int32)
