"""The original's formulas in NumPy and float64, written from the paper and its description alone.

Every pixel meets every face; one mesh and one view at a time. `Picture.sure` leaves out pixels
where a rounding error decides: at cut-offs, at texel borders, at the near and far planes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Options:
    """The rasterizer's arguments and defaults."""

    size: int = 24
    background: tuple = (0.0, 0.0, 0.0)
    near: float = 1.0
    far: float = 100.0
    fill_back: bool = True
    eps: float = 1e-3
    sigma: float = 1e-5
    dist_func: str = "euclidean"
    dist_eps: float = 1e-4
    gamma: float = 1e-4
    rgb: str = "softmax"
    alpha: str = "prod"
    texture_type: str = "surface"


class Picture(NamedTuple):
    """What one view shows."""

    rgba: np.ndarray  # [4, S, S]
    sure: np.ndarray  # [S, S] bool


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def eye_from_angles(distance, elevation, azimuth):
    e, a = np.radians(elevation), np.radians(azimuth)
    return distance * np.array([np.cos(e) * np.sin(a), np.sin(e), -np.cos(e) * np.cos(a)])


def look(vertices, eye, direction, up=(0.0, 1.0, 0.0)):
    z = unit(np.asarray(direction, float))
    x = unit(np.cross(up, z))
    y = unit(np.cross(z, x))
    return (vertices - eye) @ np.stack([x, y, z]).T


def look_at(vertices, eye, at=(0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0)):
    return look(vertices, eye, np.asarray(at, float) - eye, up)


def perspective(vertices, half_angle):
    x, y, z = vertices.T
    width = np.tan(np.radians(half_angle))
    return np.stack([x / (z * width), y / (z * width), z], axis=-1)


def orthogonal(vertices, scale):
    return vertices * [scale, scale, 1.0]


def normals(vertices, faces):
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return unit(np.cross(b - a, c - a))


def vertex_normals(vertices, faces):
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], np.cross(b - a, c - a))
    return unit(total)


def light(at_normals, ambient=0.5, ambient_color=(1, 1, 1), lamps=((0.5, (1, 1, 1), (0, 1, 0)),)):
    """What falls on surfaces of these normals. [N, 3]"""
    total = np.tile(ambient * np.asarray(ambient_color, float), (len(at_normals), 1))
    for intensity, color, direction in lamps:
        cosine = np.maximum(at_normals @ np.asarray(direction, float), 0.0)
        total += intensity * np.asarray(color, float) * cosine[:, None]
    return total


def pixels(size):
    """NDC of the pixel centres, row 0 on top. [S * S, 2]"""
    centers = (2.0 * np.arange(size) + 1.0 - size) / size
    x, y = np.meshgrid(centers, -centers)
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def render(corners, textures, options, margin=1e-9):
    """Rasterize corners [F, 3, 3] (NDC and depth) with textures [F, R², 3] or [F, 3, 3]."""
    o, points = options, pixels(options.size)
    w, inside, d2 = geometry(corners[..., :2], points)
    sure = np.ones(len(points), bool)
    if o.dist_func == "barycentric":
        d2 = w.min(-1) ** 2
    if o.dist_func == "hard":
        kept, d = inside, inside.astype(float)
    else:
        limit = np.log(1.0 / o.dist_eps - 1.0) * o.sigma
        kept = inside | (d2 < limit)
        with np.errstate(over="ignore"):
            d = 1.0 / (1.0 + np.exp(-np.where(inside, d2, -d2) / o.sigma))
        sure &= ~(~inside & (np.abs(d2 - limit) < margin * limit)).any(1)
    d = np.where(kept, d, 0.0)
    sure &= ~(kept & (np.abs(w.min(-1)) < margin)).any(1)
    alpha = {
        "prod": 1.0 - (1.0 - d).prod(1),
        "sum": d.sum(1) / len(corners),
        "hard": (d > 0.5).any(1).astype(float),
    }[o.alpha]

    clipped = np.clip(w, 0.0, 1.0)
    clipped /= clipped.sum(-1, keepdims=True)
    z = 1.0 / (clipped / corners[:, :, 2]).sum(-1)
    seen = kept & (z >= o.near) & (z <= o.far)
    if not o.fill_back:
        a, b, c = np.moveaxis(corners[..., :2], 1, 0)
        seen &= cross(b - a, c - a) < 0.0  # clockwise
    near_plane = np.minimum(np.abs(z - o.near), np.abs(z - o.far)) < margin
    sure &= ~(kept & near_plane).any(1)
    color, certain = colors(clipped, textures, o.texture_type, margin)
    sure &= (certain | ~seen).all(1)
    rgb = blend(np.where(seen, d, 0.0), z, seen & inside, color, o)
    image = np.concatenate([rgb, alpha[:, None]], 1).T
    return Picture(image.reshape(4, o.size, o.size), sure.reshape(o.size, o.size))


def cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def geometry(corners, points):
    """Barycentric coordinates [P, F, 3], inside [P, F], squared distance to the edges [P, F]."""
    a, b, c = (corners[None, :, k] for k in range(3))
    p = points[:, None]
    area = cross(b - a, c - a)
    w = np.stack([cross(c - b, p - b), cross(a - c, p - c), cross(b - a, p - a)], -1)
    w = w / area[..., None]
    d2 = np.full(w.shape[:2], np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        side = end - start
        t = np.clip(((p - start) * side).sum(-1) / (side**2).sum(-1), 0.0, 1.0)
        d2 = np.minimum(d2, ((p - start - t[..., None] * side) ** 2).sum(-1))
    return w, (w >= 0.0).all(-1), d2


def colors(at, textures, texture_type, margin):
    """Read textures at barycentric coordinates. [P, F, 3], and where it is sure [P, F]."""
    if texture_type == "vertex":
        return np.einsum("pfk,fkc->pfc", at, textures), np.ones(at.shape[:2], bool)
    side = round(textures.shape[1] ** 0.5)
    u, v = at[..., 0] * side, at[..., 1] * side
    a, b = np.minimum(u.astype(int), side - 1), np.minimum(v.astype(int), side - 1)
    # u + v is at most R, so that a cell on the diagonal has no other half.
    lower = (u + v - a - b <= 1.0) | (a + b >= side - 1)
    texel = np.where(lower, b * side + a, (side - 1 - b) * side + side - 1 - a)
    # Borders between texels; those of the face itself, where clipping leads, are none.
    sums = np.stack([u, v, u + v], -1)
    nearest = np.round(sums)
    inner = (nearest > 0) & (nearest < side)
    border = ((np.abs(sums - nearest) < margin) & inner).any(-1)
    return textures[np.arange(len(textures)), texel], ~border


def blend(d, z, solid, color, o):
    """Aggregate colours over the background. [P, 3]"""
    if o.rgb == "hard":
        depth = np.where(solid, z, np.inf)
        first = depth.argmin(1)
        chosen = np.take_along_axis(color, first[:, None, None], 1)[:, 0]
        return np.where(solid.any(1)[:, None], chosen, np.asarray(o.background, float))
    zn = (o.far - z) / (o.far - o.near)
    most = np.maximum(np.where(d > 0.0, zn, -np.inf).max(1), 2.0 * o.eps)
    with np.errstate(under="ignore", over="ignore"):
        weight = d * np.exp(np.where(d > 0.0, zn - most[:, None], 0.0) / o.gamma)
        behind = np.exp((2.0 * o.eps - most) / o.gamma)
    total = weight.sum(1) + behind
    mixed = np.einsum("pf,pfc->pc", weight, color) + behind[:, None] * np.asarray(o.background)
    return mixed / total[:, None]
