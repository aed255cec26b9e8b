"""Built-in meshes: closed ones are outward counter-clockwise, with no vertex twice."""

import math

import torch
from torch import Tensor

from taichi_softras import topology
from taichi_softras.errors import ArgumentError
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import normalize, rotation_from_axis_angle

_GOLDEN = 0.5 * (1.0 + math.sqrt(5.0))


def icosphere(level: int = 3, radius: float = 1.0) -> Mesh:
    """Build a sphere from an icosahedron, each level splitting every face into four.

    Args:
        level: Number of splits; 10 * 4**level + 2 vertices and 20 * 4**level faces.
        radius: World units.
    """
    _check_count("level", level, 0)
    _check_length("radius", radius)
    g = _GOLDEN
    corners = [
        *((-1.0, g, 0.0), (1.0, g, 0.0), (-1.0, -g, 0.0), (1.0, -g, 0.0)),
        *((0.0, -1.0, g), (0.0, 1.0, g), (0.0, -1.0, -g), (0.0, 1.0, -g)),
        *((g, 0.0, -1.0), (g, 0.0, 1.0), (-g, 0.0, -1.0), (-g, 0.0, 1.0)),
    ]
    triangles = [
        *((0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11)),
        *((1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)),
        *((3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9)),
        *((4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)),
    ]
    points = normalize(torch.tensor(corners, dtype=torch.float64))
    faces = torch.tensor(triangles)
    for _ in range(level):
        faces, edges = topology.subdivide(faces, len(points))
        points = normalize(torch.cat([points, points[edges].sum(dim=1)]))
    return Mesh(vertices=(radius * points).float(), faces=faces)


def cube(side: float = 2.0) -> Mesh:
    """Build an axis-aligned cube round the origin, of 8 vertices and 12 faces.

    Args:
        side: World units.
    """
    _check_length("side", side)
    # vertex 4 x + 2 y + z
    axis = torch.tensor([-0.5, 0.5]) * side
    quads = [
        *((0, 1, 3, 2), (4, 6, 7, 5)),
        *((0, 4, 5, 1), (2, 3, 7, 6)),
        *((0, 2, 6, 4), (1, 5, 7, 3)),
    ]
    return Mesh(
        vertices=torch.cartesian_prod(axis, axis, axis), faces=_triangulate(torch.tensor(quads))
    )


def torus(radius: float = 0.7, tube: float = 0.3, n_around: int = 48, n_tube: int = 24) -> Mesh:
    """Build a torus about the y axis.

    Args:
        radius: From the centre to the middle of the tube, in world units.
        tube: Radius of the tube, in world units, smaller than `radius`.
        n_around: Number of vertices round the hole.
        n_tube: Number of vertices round the tube.
    """
    _check_count("n_around", n_around, 3)
    _check_count("n_tube", n_tube, 3)
    _check_length("tube", tube)
    if not tube < radius < math.inf:
        raise ArgumentError(f"`radius` must be larger than `tube` ({tube}), got {radius}.")
    around = (torch.arange(n_around, dtype=torch.float64) * (2.0 * math.pi / n_around))[:, None]
    turn = (torch.arange(n_tube, dtype=torch.float64) * (2.0 * math.pi / n_tube))[None]
    reach = radius + tube * turn.cos()
    height = (tube * turn.sin()).expand(n_around, n_tube)
    points = [around.sin() * reach, height, around.cos() * reach]
    i, j = torch.meshgrid(torch.arange(n_around), torch.arange(n_tube), indexing="ij")
    right, above = (i + 1) % n_around, (j + 1) % n_tube
    quads = [i * n_tube + j, right * n_tube + j, right * n_tube + above, i * n_tube + above]
    return Mesh(
        vertices=torch.stack(points, dim=-1).flatten(0, 1).float(),
        faces=_triangulate(torch.stack(quads, dim=-1).reshape(-1, 4)),
    )


def plane(side: float = 2.0, cells: int = 1) -> Mesh:
    """Build an open square in the xy plane round the origin, that faces +z.

    Args:
        side: World units.
        cells: Number of squares along each side, two faces each.
    """
    _check_count("cells", cells, 1)
    _check_length("side", side)
    ticks = torch.linspace(-0.5 * side, 0.5 * side, cells + 1)
    x, y = torch.meshgrid(ticks, ticks, indexing="xy")
    row, column = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    low = row * (cells + 1) + column
    quads = torch.stack([low, low + 1, low + cells + 2, low + cells + 1], dim=-1)
    return Mesh(
        vertices=torch.stack([x, y, torch.zeros_like(x)], dim=-1).flatten(0, 1),
        faces=_triangulate(quads.reshape(-1, 4)),
    )


# Ellipsoids in the duck's own units: centre, radii, degrees by which +z is lifted towards +y.
_BODY = ((0.0, -0.28, -0.06), (0.50, 0.37, 0.64), -8.0)
_TAIL = ((0.0, -0.09, -0.64), (0.19, 0.14, 0.30), -36.0)
_HEAD = ((0.0, 0.42, 0.26), (0.35, 0.34, 0.35), 0.0)
_NECK = ((0.0, 0.05, 0.20), (0.28, 0.30, 0.28), 0.0)
_WINGS = tuple(((side * 0.42, -0.22, -0.14), (0.12, 0.19, 0.34), -16.0) for side in (-1.0, 1.0))
_BEAK = ((0.0, 0.34, 0.62), (0.17, 0.075, 0.19), 12.0)
_EYES = tuple((side * 0.155, 0.50, 0.56) for side in (-1.0, 1.0))

_YELLOW, _LIGHT, _AMBER = (1.0, 0.80, 0.10), (1.0, 0.90, 0.45), (0.98, 0.58, 0.03)
_ORANGE, _DARK, _WHITE = (0.96, 0.38, 0.06), (0.06, 0.05, 0.08), (1.0, 1.0, 1.0)


def duck(level: int = 5) -> Mesh:
    """Build a rubber duck with vertex colours that faces +z, up +y, inside the unit sphere.

    It is star-shaped: an icosphere whose vertices slide along rays from the duck's neck to the
    surface of a smooth union of ellipsoids. So it is closed, of genus 0, and never folds over.

    Args:
        level: Splits of the icosphere; 10 * 4**level + 2 vertices. Eyes need 4 or more.
    """
    sphere = icosphere(level)
    centre = torch.tensor([0.0, -0.06, 0.05], dtype=torch.float64)
    focus = torch.tensor([0.0, 0.22, 0.16], dtype=torch.float64)
    rays = _crowd(sphere.vertices.double(), focus)
    reach = _first_hit(centre, rays)
    # where one part hides another from the centre, the skin is a cliff: give it a slope
    laplacian = topology.uniform_laplacian(sphere.faces, len(rays), torch.float64)
    for _ in range(6):
        reach = reach - 0.5 * (laplacian @ reach)
    points = centre + reach[:, None] * rays
    mesh = Mesh(vertices=points.float(), faces=sphere.faces, vertex_colors=_duck_colors(points))
    return mesh.normalized()


def _crowd(directions: Tensor, focus: Tensor) -> Tensor:
    """Crowd unit directions towards `focus` by a Möbius map, which keeps angles. [V, 3]."""
    moved = directions + focus
    shrink = (1.0 - focus.square().sum()) / moved.square().sum(dim=-1, keepdim=True)
    return normalize(focus + shrink * moved)


def _first_hit(centre: Tensor, rays: Tensor, reach: float = 1.6, steps: int = 64) -> Tensor:
    """Walk in from `reach` along rays [V, 3] to the duck's skin; return the distances [V]."""
    ticks = torch.linspace(reach, 0.0, steps, dtype=rays.dtype)
    inside = torch.stack([_duck_distance(centre + t * rays) < 0.0 for t in ticks])
    first = inside.int().argmax(dim=0)  # of equal values, the first
    low, high = ticks[first], ticks[first - 1]
    for _ in range(24):
        middle = 0.5 * (low + high)
        hit = _duck_distance(centre + middle[:, None] * rays) < 0.0
        low, high = torch.where(hit, middle, low), torch.where(hit, high, middle)
    return 0.5 * (low + high)


def _duck_distance(points: Tensor) -> Tensor:
    """Approximate signed distance to the duck, negative inside. [V, 3] -> [V]."""
    flesh = _blend(0.05, *(_ellipsoid(points, part) for part in (_BODY, _TAIL, _HEAD, _NECK)))
    wings = [_ellipsoid(points, wing) for wing in _WINGS]
    return _blend(0.012, _blend(0.045, flesh, *wings), _ellipsoid(points, _BEAK))


def _ellipsoid(points: Tensor, part: tuple[tuple[float, ...], tuple[float, ...], float]) -> Tensor:
    """Approximate signed distance to an ellipsoid, exact at its surface. [V, 3] -> [V]."""
    centre, radii, lift = part
    turn = rotation_from_axis_angle((1.0, 0.0, 0.0), lift).to(points)
    local = (points - points.new_tensor(centre)) @ turn.mT
    scaled = local / points.new_tensor(radii)
    size = scaled.norm(dim=-1)
    slope = (scaled / points.new_tensor(radii)).norm(dim=-1).clamp_min(1e-9)
    distance: Tensor = size * (size - 1.0) / slope
    return distance


def _blend(width: float, *distances: Tensor) -> Tensor:
    """Smooth minimum: seams are rounded over about `width`. [V], ... -> [V]."""
    return -width * torch.logsumexp(torch.stack(distances) / -width, dim=0)


def _duck_colors(points: Tensor) -> Tensor:
    """Paint the duck by its parts. [V, 3] -> [V, 3]."""
    wing = torch.stack([_ellipsoid(points, part) for part in _WINGS]).amin(dim=0)
    eye = torch.stack([(points - points.new_tensor(e)).norm(dim=-1) for e in _EYES]).amin(dim=0)
    glints = [points.new_tensor((x * 1.0 + 0.02, y + 0.03, z)) for x, y, z in _EYES]
    glint = torch.stack([(points - g).norm(dim=-1) for g in glints]).amin(dim=0)
    beak = _ellipsoid(points, _BEAK)
    layers = [
        (_LIGHT, -0.40 - points[:, 1], 0.3),
        (_AMBER, 0.012 - wing, 0.02),
        (_ORANGE, 0.02 - beak, 0.012),
        (_DARK, 0.082 - eye, 0.012),
        (_WHITE, 0.028 - glint, 0.012),
    ]
    colors = points.new_tensor(_YELLOW).expand_as(points)
    for paint, depth, width in layers:
        amount = torch.sigmoid(4.0 * depth / width)[:, None]
        colors = colors + amount * (points.new_tensor(paint) - colors)
    return colors.float()


def _triangulate(quads: Tensor) -> Tensor:
    """Cut counter-clockwise quads [Q, 4] into triangles [2 Q, 3]."""
    return quads[:, [[0, 1, 2], [0, 2, 3]]].flatten(0, 1)


def _check_count(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ArgumentError(f"`{name}` must be an integer of at least {least}, got {value!r}.")


def _check_length(name: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ArgumentError(f"`{name}` must be positive and finite, got {value}.")
