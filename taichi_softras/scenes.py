"""Scenes to fit: meshes to look at, cameras round them, and pictures without jagged edges."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from taichi_softras import shapes
from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, check_shape
from taichi_softras.intrinsics import Size, check_size
from taichi_softras.io import PosedImages, load_mesh
from taichi_softras.io.files import AnyPath
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Light

SHAPES: dict[str, Callable[[], Mesh]] = {
    "cube": shapes.cube,
    "duck": shapes.duck,
    "icosphere": lambda: shapes.icosphere(4),
    "plane": shapes.plane,
    "torus": shapes.torus,
}
"""Built-in meshes by name."""

_ANGULAR = ("cube", "plane")
_GREY = 0.7
# How much of the shorter image side a mesh's bounding sphere fills.
_FILL = 0.92
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
# Whoever holds views out takes every eighth, as is usual: each eighth is spread by itself.
_HOLD_OUT = 8
# The first view: from the front, a little to the right and above. Elevation, azimuth in degrees.
_FIRST_VIEW = (20.0, 30.0)
_CRISP = RasterSettings(distance="hard", alpha="hard", color="hard")
_DAYLIGHT = Light()


class Sphere(NamedTuple):
    """A sphere that holds a mesh."""

    center: tuple[float, float, float]
    """World coordinates."""
    radius: float
    """World units."""


def open_mesh(name: AnyPath) -> Mesh:
    """Read a mesh file, or build the shape of `SHAPES` that is called so.

    Raises:
        ArgumentError: It is neither.
        FileError: The file is there but cannot be read.
    """
    text = str(name)
    if text in SHAPES and not Path(text).is_file():
        mesh = SHAPES[text]()
        return faceted(mesh) if text in _ANGULAR else mesh
    if not Path(text).exists() and not Path(text).suffix:
        raise ArgumentError(
            f"`{text}` is neither a mesh file nor a built-in shape ({', '.join(SHAPES)})."
        )
    return load_mesh(name)


def faceted(mesh: Mesh) -> Mesh:
    """Colour each face by its corners' mean, so that light shows the facets."""
    if mesh.face_colors is not None:
        return mesh
    if mesh.vertex_colors is None:
        return mesh.replace(face_colors=mesh.vertices.new_full((mesh.n_faces, 3), _GREY))
    colors = mesh.vertex_colors[..., mesh.faces, :].mean(dim=-2)
    return mesh.replace(vertex_colors=None, face_colors=colors)


def bounding_sphere(mesh: Mesh) -> Sphere:
    """Return the sphere about the centre of the bounding box that holds all finite vertices.

    `mesh.normalized()` has the unit sphere. Where all vertices coincide the radius is 1.

    Raises:
        ArgumentError: `mesh` has no finite vertex.
        ShapeError: `mesh` is a batch.
    """
    check_shape("mesh.vertices", mesh.vertices.shape, "V 3")
    vertices = mesh.vertices.detach().double()
    vertices = vertices[vertices.isfinite().all(dim=-1)]
    if len(vertices) == 0:
        raise ArgumentError("`mesh` has no finite vertex, so there is nothing to look at.")
    center = 0.5 * (vertices.amin(dim=0) + vertices.amax(dim=0))
    x, y, z = center.tolist()
    return Sphere((x, y, z), float((vertices - center).norm(dim=-1).max()) or 1.0)


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


def render_rgba(
    mesh: Mesh,
    camera: Camera,
    size: Size | None = None,
    *,
    light: Light | None = _DAYLIGHT,
    supersample: int = 4,
    settings: RasterSettings | None = None,
) -> Tensor:
    """Render straight RGBA: colours are those of the mesh alone, whatever will be behind.

    Not differentiable.

    Args:
        mesh: With grey, RGB or RGBA colours, or none (grey; its own alpha is not used).
        camera: B views.
        size: (height, width) in pixels, or the side of a square; by default the camera's.
        light: Fixed in the world; None shows colours as they are.
        supersample: Samples along each pixel's side; they are averaged.
        settings: Soft edges and depths; by default hard ones.

    Returns:
        Values in 0..1. [B, H, W, 4]
    """
    size = camera.image_size if size is None else size
    height, width = check_size("size", size)
    if supersample < 1:
        raise ArgumentError(f"`supersample` must be at least 1, got {supersample}.")
    radius = bounding_sphere(mesh).radius
    settings = settings or replace(_CRISP, near=1e-3 * radius, far=1e4 * radius)
    with torch.no_grad():
        fine = (height * supersample, width * supersample)
        out = render(_opaque(mesh), camera, fine, settings=settings, light=light)
        assert out.image is not None
        # The fourth attribute is 1 on every face: its image is what is not background.
        layers = torch.cat([out.image, out.alpha[..., None]], dim=-1).clamp(0.0, 1.0)
        layers = avg_pool2d(layers.movedim(-1, 1), supersample).movedim(1, -1)
        weight = layers[..., 3:4]
        color = torch.where(weight > 0.0, layers[..., :3] / weight.clamp_min(1e-12), 0.0)
        return torch.cat([color.clamp(0.0, 1.0), layers[..., 4:]], dim=-1)


def render_posed(
    mesh: Mesh,
    cameras: Camera,
    size: Size | None = None,
    *,
    light: Light | None = _DAYLIGHT,
    supersample: int = 4,
    settings: RasterSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PosedImages:
    """Render pictures with poses, one view at a time so that memory stays that of one.

    Args:
        mesh: See `render_rgba`, as for the arguments not named here.
        cameras: N perspective views.
        size: (height, width) in pixels, or the side of a square; by default the cameras'.
        light: Fixed in the world; None shows colours as they are.
        supersample: Samples along each pixel's side; they are averaged.
        settings: Soft edges and depths; by default hard ones.
        progress: Called after each view with the number done and N.
    """
    size = check_size("size", cameras.image_size if size is None else size)
    images = []
    for i, camera in enumerate(cameras):
        images.append(
            render_rgba(mesh, camera, size, light=light, supersample=supersample, settings=settings)
        )
        if progress is not None:
            progress(i + 1, len(cameras))
    names = tuple(f"images/view_{i:03d}.png" for i in range(len(cameras)))
    return PosedImages(
        images=torch.cat(images), cameras=replace(cameras, image_size=size), names=names
    )


def _opaque(mesh: Mesh) -> Mesh:
    """Give a mesh RGB colours and a fourth channel of ones."""
    name = "vertex_colors" if mesh.face_colors is None else "face_colors"
    colors = mesh.vertex_colors if mesh.face_colors is None else mesh.face_colors
    if colors is None:
        colors = torch.full_like(mesh.vertices, _GREY)
    if colors.shape[-1] not in (1, 3, 4):
        raise ArgumentError(
            f"`mesh.{name}` must have 1, 3 or 4 channels to make a picture, got {colors.shape[-1]}."
        )
    rgb = colors[..., :3].expand(*colors.shape[:-1], 3)
    return mesh.replace(**{name: torch.cat([rgb, torch.ones_like(rgb[..., :1])], dim=-1)})


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
