"""Vertex gradients as arrows on the screen: the strongest, and not too many."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taichi_softras.mesh import Mesh
from taichi_softras.viewer.state import ViewState

_LONGEST = 0.16
_CELLS = 18


def arrows(
    mesh: Mesh, d_vertices: Tensor, state: ViewState, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Choose the strongest vertex gradients and show where they lead on the screen.

    Args:
        mesh: V vertices.
        d_vertices: dL/dvertex. [V, 3]
        state: Its camera.
        size: Height and width in pixels; only their ratio matters.

    Returns:
        Starts and ends as shares of width and height, at most one arrow a cell of a grid, the
        longest a sixth of the picture's height. Two of [N, 2]
    """
    strength = d_vertices.norm(dim=-1)
    strongest = float(strength.max()) if len(strength) else 0.0
    if not strongest > 0.0:
        nothing = np.zeros((0, 2), np.float32)
        return nothing, nothing
    height, width = size
    order = strength.argsort(descending=True)[:4000]
    order = order[strength[order] > 0.02 * strongest]
    scale = torch.tensor([width, height], dtype=torch.float32)
    # a small step, so that perspective does not bend the arrows
    step = 1e-3 / strongest
    vertices = mesh.vertices[order]
    starts = state.camera.pixels_from_points(vertices, size)[0] / scale
    ends = state.camera.pixels_from_points(vertices - step * d_vertices[order], size)[0] / scale
    cells = (starts * _CELLS).floor().long()
    seen: dict[tuple[int, int], int] = {}
    for i, (x, y) in enumerate(cells.tolist()):
        seen.setdefault((x, y), i)
    kept = torch.tensor(list(seen.values()))
    starts, ways = starts[kept], (ends - starts)[kept]
    longest = float((ways * scale).norm(dim=-1).max()) / height
    ways = ways * (_LONGEST / longest) if longest > 0.0 else ways
    return starts.numpy(), (starts + ways).numpy()
