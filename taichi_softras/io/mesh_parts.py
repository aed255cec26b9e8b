"""The arrays of a mesh while a file is read."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Triangles with one kind of colour, or none."""

    vertices: Floats  # [V, 3]
    faces: Ints  # [F, 3]
    vertex_colors: Floats | None = None  # [V, 3]
    face_colors: Floats | None = None  # [F, 3]

    def welded(self) -> "Part":
        """Merge vertices that are equal in position and colour; the first of them stays."""
        blocks = [b for b in (self.vertices, self.vertex_colors) if b is not None]
        rows = np.ascontiguousarray(np.hstack(blocks) + 0.0)  # -0.0 becomes 0.0
        # Compared as bytes, so that NaN equals NaN.
        keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        keep = first[order]
        return replace(
            self,
            vertices=self.vertices[keep],
            faces=rank[inverse.ravel()][self.faces],
            vertex_colors=None if self.vertex_colors is None else self.vertex_colors[keep],
        )


def unit(colors: NDArray[Any]) -> Floats:
    """Bring colours of any stored type to 0..1 and drop alpha. [N, 3 or 4] -> [N, 3]."""
    scale = np.iinfo(colors.dtype).max if np.issubdtype(colors.dtype, np.integer) else 1.0
    result: Floats = colors[:, :3].astype(np.float64) / scale
    return result
