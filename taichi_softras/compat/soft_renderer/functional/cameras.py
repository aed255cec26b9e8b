"""Cameras as functions of vertices: into the eye's frame, and on to the screen.

The frames are the original's: the eye looks along z, y is up and x is to the *left* of who stands
upright and looks along z in a right-handed world. So `look_at` and `look` mirror the world, and a
face that runs counter-clockwise in front of the eye runs clockwise on the screen.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, check_shape
from taichi_softras.transforms import check_finite, normalize, promote


def get_points_from_angles(
    distance: Any, elevation: Any, azimuth: Any, degrees: bool = True
) -> Any:
    """Place eyes round the origin: azimuth 0 at -z, elevation 90 at +y.

    Args:
        distance: From the origin, in world units; a number or a tensor. [] or [B]
        elevation: Above the horizon, in degrees. [] or [B]
        azimuth: Round y, in degrees. [] or [B]
        degrees: False if the angles are in radians.

    Returns:
        Three numbers if numbers came, else a tensor. [B, 3]
    """
    if not any(isinstance(value, Tensor | Sequence) for value in (distance, elevation, azimuth)):
        unit = math.pi / 180.0 if degrees else 1.0
        e, a = float(elevation) * unit, float(azimuth) * unit
        ground = float(distance) * math.cos(e)
        return ground * math.sin(a), float(distance) * math.sin(e), -ground * math.cos(a)
    far, up, round_ = promote(distance=distance, elevation=elevation, azimuth=azimuth)
    if degrees:
        up, round_ = torch.deg2rad(up), torch.deg2rad(round_)
    x, y, z = far * up.cos() * round_.sin(), far * up.sin(), -far * up.cos() * round_.cos()
    return torch.stack([x, y.expand_as(x), z], dim=-1)


def look_at(
    vertices: Tensor, eye: Any, at: Any = (0.0, 0.0, 0.0), up: Any = (0.0, 1.0, 0.0)
) -> Tensor:
    """Move vertices into the frame of an eye that looks at a point.

    Args:
        vertices: World coordinates. [B, V, 3], or [1, V, 3] for many eyes
        eye: World coordinates. [3] or [B, 3]
        at: World coordinates. [3] or [B, 3]
        up: Direction that points up in the picture. [3] or [B, 3]

    Returns:
        x mirrored, y up, z depth, in world units. [B, V, 3]
    """
    eyes, targets, ups = _rows(vertices, eye=eye, at=at, up=up)
    return _view(vertices, eyes, targets - eyes, ups)


def look(vertices: Tensor, eye: Any, direction: Any = (0.0, 1.0, 0.0), up: Any = None) -> Tensor:
    """Move vertices into the frame of an eye that looks in a direction.

    Arguments and result are those of `look_at`, with `direction` [3] or [B, 3] of any length;
    `up` is (0, 1, 0) by default, and must not be parallel to it.
    """
    ups = (0.0, 1.0, 0.0) if up is None else up
    return _view(vertices, *_rows(vertices, eye=eye, direction=direction, up=ups))


def perspective(vertices: Tensor, angle: float = 30.0) -> Tensor:
    """Project by x / (z tan(angle)), keeping z.

    Args:
        vertices: In the eye's frame. [B, V, 3]
        angle: *Half* the field of view, in degrees.

    Returns:
        x and y in NDC, and depth; infinite at depth 0. [B, V, 3]
    """
    check_shape("vertices", vertices.shape, "B V 3")
    scale = 1.0 / math.tan(math.radians(angle))
    z = vertices[..., 2:]
    return torch.cat([_divided(vertices[..., :2], z) * scale, z], dim=-1)


def orthogonal(vertices: Tensor, scale: float) -> Tensor:
    """Scale x and y [B, V, 3] to NDC, keeping z."""
    check_shape("vertices", vertices.shape, "B V 3")
    return vertices * vertices.new_tensor([scale, scale, 1.0])


def projection(vertices: Tensor, P: Any, dist_coeffs: Any = None, orig_size: float = 512) -> Tensor:
    """Project with OpenCV's matrices P = K [R | t] and lens distortion.

    Pixel (u, v) of a square photograph becomes x = 2 u / orig_size - 1, y = 1 - 2 v / orig_size:
    the picture lies over the photograph. (The original's stood on its head, and distorted pixels
    where OpenCV distorts directions.)

    Args:
        vertices: World coordinates. [B, V, 3], or [1, V, 3] for many cameras
        P: From homogeneous world coordinates to pixels from the top left corner, times depth.
            [3, 4] or [B, 3, 4]
        dist_coeffs: k1, k2, p1, p2, k3 as OpenCV's; none by default. [5] or [B, 5]
        orig_size: Side of the photograph in pixels.

    Returns:
        x and y in NDC, and depth: what the last row of P gives. [B, V, 3]
    """
    check_shape("vertices", vertices.shape, "B V 3")
    distortion = (0.0,) * 5 if dist_coeffs is None else dist_coeffs
    _, matrix, lens = promote(vertices=vertices, P=P, dist_coeffs=distortion)
    check_shape("P", matrix.shape, "3 4" if matrix.ndim == 2 else "B 3 4")
    check_shape("dist_coeffs", lens.shape, "5" if lens.ndim == 1 else "B 5")
    check_finite("P", matrix)
    check_finite("dist_coeffs", lens)
    matrix, lens = matrix.to(vertices).reshape(-1, 3, 4), lens.to(vertices).reshape(-1, 5)
    seen = vertices @ matrix[..., :3].mT + matrix[:, None, :, 3]
    depth = seen[..., 2:]
    if bool((lens.detach() == 0.0).all()):
        pixels = _divided(seen[..., :2], depth)
    else:
        inner = _inner(matrix)
        rays = torch.linalg.solve_triangular(inner, seen.mT, upper=True).mT
        bent = _distorted(_divided(rays[..., :2], rays[..., 2:]), lens)
        pixels = (bent @ inner[:, :2, :2].mT + inner[:, None, :2, 2]) / inner[:, None, 2:, 2]
    half = 0.5 * orig_size
    x, y = pixels[..., :1] / half - 1.0, 1.0 - pixels[..., 1:] / half
    return torch.cat([x, y, depth.expand_as(x)], dim=-1)


def _inner(matrix: Tensor) -> Tensor:
    """Upper triangular K, of positive diagonal, of P = K [R | t]. [B, 3, 4] -> [B, 3, 3]."""
    # With the rows and columns turned round, RQ is the transpose of QR.
    triangle = torch.linalg.qr(matrix[..., :3].flip(-2).mT)[1].mT.flip(-1, -2)
    signs = triangle.detach().diagonal(dim1=-2, dim2=-1).sign()
    if bool((signs == 0.0).any()):
        raise ArgumentError("`P` must be K [R | t] with an invertible K, got a singular P[:, :3].")
    inner: Tensor = triangle * signs[:, None]
    return inner


def _distorted(points: Tensor, lens: Tensor) -> Tensor:
    """OpenCV's model: radial k1, k2, k3 and tangential p1, p2. [B, V, 2], [B, 5] -> [B, V, 2]."""
    x, y = points.unbind(dim=-1)
    k1, k2, p1, p2, k3 = lens[:, None].unbind(dim=-1)
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + 2.0 * p2 * x * y + p1 * (r2 + 2.0 * y * y),
        ],
        dim=-1,
    )


def _view(vertices: Tensor, eye: Tensor, forward: Tensor, up: Tensor) -> Tensor:
    """Measure vertices from the eye: z is forward, x cross(up, z), y cross(z, x). [B, V, 3]."""
    z = normalize(forward)
    x = normalize(torch.linalg.cross(*_alike(up, z), dim=-1))
    y = normalize(torch.linalg.cross(z, x, dim=-1))
    axes = torch.stack([x, y, z], dim=-1)  # the columns are the axes
    return (vertices - eye[:, None]) @ axes


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Give both the longer batch. [1 or B, 3] each."""
    return a.expand(max(len(a), len(b)), 3), b.expand(max(len(a), len(b)), 3)


def _rows(vertices: Tensor, **values: Any) -> list[Tensor]:
    """Turn points and directions into [1 or B, 3] of the vertices' dtype and device."""
    check_shape("vertices", vertices.shape, "B V 3")
    _, *tensors = promote(vertices=vertices, **values)
    for name, tensor in zip(values, tensors, strict=True):
        check_shape(name, tensor.shape, "3" if tensor.ndim == 1 else "B 3")
        check_finite(name, tensor)
    return [tensor.to(vertices).reshape(-1, 3) for tensor in tensors]


def _divided(values: Tensor, depth: Tensor) -> Tensor:
    """Divide by depth; infinite at depth 0, where the gradient is 0 instead of NaN."""
    flat = depth == 0.0
    return torch.where(flat, torch.inf, values / torch.where(flat, 1.0, depth))
