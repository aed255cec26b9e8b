"""Where the R² texels of a face lie on it: the face is cut into R² equal triangles.

With w0 and w1 the barycentric coordinates at the first two corners, cell (a, b) is where int(w0 R)
is a and int(w1 R) is b. Its half towards the third corner is texel b R + a; the other half, if it
lies on the face, is texel (R - 1 - b) R + (R - 1 - a).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def centres(side: int) -> Floats:
    """Barycentric coordinates of the texels' centroids. [R²] texels -> [R², 3]"""
    b, a = np.divmod(np.arange(side * side), side)
    lower = a + b < side  # the other texels are counted from the far corner of the square
    w0 = np.where(lower, a + 1 / 3, side - 1 - a + 2 / 3) / side
    w1 = np.where(lower, b + 1 / 3, side - 1 - b + 2 / 3) / side
    return np.stack([w0, w1, 1.0 - w0 - w1], axis=-1)


def texel_at(w0: Floats, w1: Floats, side: int) -> NDArray[np.int64]:
    """Number of the texel at barycentric coordinates in [0, 1]."""
    a = np.clip((w0 * side).astype(np.int64), 0, side - 1)
    b = np.clip((w1 * side).astype(np.int64), 0, side - 1)
    # No face lies beyond its cells on the diagonal, whatever rounding says.
    lower = ((w0 + w1) * side - a - b <= 1.0) | (a + b >= side - 1)
    return np.where(lower, b * side + a, (side - 1 - b) * side + (side - 1 - a))


def reversed_order(side: int) -> NDArray[np.int64]:
    """Texels of a face whose corners are named in reverse, as numbers of the original's."""
    there = centres(side)  # corner 0 there is corner 2 here
    return texel_at(there[:, 2], there[:, 1], side)
