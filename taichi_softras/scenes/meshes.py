"""Meshes to look at, and where they are."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from taichi_softras import shapes
from taichi_softras.errors import ArgumentError, check_shape
from taichi_softras.io import load_mesh
from taichi_softras.io.files import AnyPath
from taichi_softras.io.meshes import Textures
from taichi_softras.mesh import Mesh

SHAPES: dict[str, Callable[[], Mesh]] = {
    "cube": shapes.cube,
    "duck": shapes.duck,
    "icosphere": lambda: shapes.icosphere(4),
    "plane": shapes.plane,
    "torus": shapes.torus,
}
"""Built-in meshes by name."""

GREY = 0.7
"""What a mesh without colours looks like."""

_ANGULAR = ("cube", "plane")


class Sphere(NamedTuple):
    """A sphere that holds a mesh."""

    center: tuple[float, float, float]
    """World coordinates."""
    radius: float
    """World units."""


def open_mesh(name: AnyPath, *, textures: Textures = "vertices") -> Mesh:
    """Read a mesh file, or build the shape of `SHAPES` that is called so.

    Args:
        name: Path of the file, or name of the shape.
        textures: As in `load_mesh`; by default textures become vertex colours.

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
    return load_mesh(name, textures=textures)


def faceted(mesh: Mesh) -> Mesh:
    """Colour each face by its corners' mean, so that light shows the facets."""
    if mesh.face_colors is not None:
        return mesh
    if mesh.vertex_colors is None:
        plain = mesh.vertices.new_full((mesh.n_faces, 3), GREY)
        if mesh.texture is not None:  # which multiplies
            plain = mesh.vertices.new_ones((mesh.n_faces, mesh.texture.channels))
        return mesh.replace(face_colors=plain)
    colors = mesh.at_corners(mesh.vertex_colors).mean(dim=-2)
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
