"""Cameras round a sphere: spread over all of it, or walking once round."""

import math

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import Size, check_size

# How much of the shorter image side a mesh's bounding sphere fills.
_FILL = 0.92
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
# Whoever holds views out takes every eighth, as is usual: each eighth is spread by itself.
_HOLD_OUT = 8
# The first view: from the front, a little to the right and above. Elevation, azimuth in degrees.
_FIRST_VIEW = (20.0, 30.0)


def framing_distance(fov: float, radius: float = 1.0, image_size: Size = 1) -> float:
    """Return how far to stand from a sphere's centre so that it just fits the image, with a margin.

    Args:
        fov: Full vertical field of view, in degrees.
        radius: World units.
        image_size: (height, width) or one side of a square; only its aspect counts.
    """
    if not 0.0 < fov < 180.0:
        raise ArgumentError(f"`fov` must lie between 0 and 180 degrees, got {fov}.")
    height, width = check_size("image_size", image_size)
    half_side = math.tan(math.radians(0.5 * fov)) * min(1.0, width / height)
    return radius / math.sin(math.atan(_FILL * half_side))


def sphere_cameras(
    views: int,
    *,
    fov: float = 45.0,
    radius: float = 1.0,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    distance: float | None = None,
    image_size: Size,
) -> Camera:
    """Spread cameras evenly over a whole sphere, below included, all looking at its centre.

    The directions are a golden spiral's, the same every time. Their order makes any every-eighth
    hold-out well spread: each view is the unused one farthest from those 8, 16 ... before it.

    Args:
        views: Number N of cameras.
        fov: Full vertical field of view, in degrees.
        radius: Of the sphere that the images show whole, in world units.
        at: Its centre, in world coordinates.
        distance: World units from the centre; by default such that the sphere just fits.
        image_size: (height, width) in pixels, or the side of a square.
    """
    if views < 1:
        raise ArgumentError(f"`views` must be at least 1, got {views}.")
    x, y, z = _spread_directions(views).unbind(dim=-1)
    if distance is None:
        distance = framing_distance(fov, radius, image_size)
    return Camera.orbit(
        distance,
        y.asin().rad2deg().float(),
        torch.atan2(x, z).rad2deg().float(),
        fov,
        at=at,
        image_size=image_size,
    )


def turntable_cameras(
    frames: int,
    *,
    elevation: float = _FIRST_VIEW[0],
    azimuth: float = _FIRST_VIEW[1],
    fov: float = 45.0,
    radius: float = 1.0,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    distance: float | None = None,
    image_size: Size,
) -> Camera:
    """Walk once round a sphere, in equal steps that close the loop.

    Args:
        frames: Number N of cameras; 1 is a single view.
        elevation: Degrees above the horizon.
        azimuth: Degrees about the y axis where the walk begins; 0 looks from +z, 90 from +x.
        fov: Full vertical field of view, in degrees.
        radius: Of the sphere that the images show whole, in world units.
        at: Its centre, in world coordinates.
        distance: World units from the centre; by default such that the sphere just fits.
        image_size: (height, width) in pixels, or the side of a square.
    """
    if frames < 1:
        raise ArgumentError(f"`frames` must be at least 1, got {frames}.")
    if distance is None:
        distance = framing_distance(fov, radius, image_size)
    azimuths = azimuth + torch.arange(frames) * (360.0 / frames)
    return Camera.orbit(distance, elevation, azimuths, fov, at=at, image_size=image_size)


def _spread_directions(count: int) -> Tensor:
    """Return unit vectors, evenly spread, in the order that `sphere_cameras` tells. [N, 3]."""
    i = torch.arange(count, dtype=torch.float64)
    height, turn = 1.0 - (2.0 * i + 1.0) / count, i * _GOLDEN_ANGLE
    reach = (1.0 - height.square()).sqrt()
    points = torch.stack([reach * turn.sin(), height, reach * turn.cos()], dim=-1)
    e, a = (math.radians(angle) for angle in _FIRST_VIEW)
    first = points.new_tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    # Distance of each point to the chosen ones of each eighth, as 1 - cosine.
    gaps = points.new_full((_HOLD_OUT, count), 4.0)
    order: list[int] = []
    for k in range(count):
        score = gaps.amin(dim=0) if k < _HOLD_OUT else gaps[k % _HOLD_OUT].clone()
        score = points @ first if k == 0 else score
        score[order] = -4.0
        order.append(int(score.argmax()))
        gaps[k % _HOLD_OUT] = gaps[k % _HOLD_OUT].minimum(1.0 - points @ points[order[-1]])
    return points[order]
