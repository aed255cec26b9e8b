"""Meshes in float64 with colours, cameras, and settings to render them exactly or softly."""

import torch

from taichi_softras import Camera, Mesh, RasterSettings

# The z-buffer: exact values at every pixel.
HARD = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.1, far=20.0)
SOFT = RasterSettings(sigma=1e-2, gamma=0.1, near=0.5, far=10.0, dist_eps=1e-13)

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def colored(mesh, seed=0):
    """The mesh in float64, with random colours."""
    rng = torch.Generator().manual_seed(seed)
    colors = torch.rand(mesh.n_vertices, 3, dtype=torch.float64, generator=rng)
    return Mesh(vertices=mesh.vertices.double(), faces=mesh.faces, vertex_colors=colors)


def double(camera):
    return camera.to(torch.float64)


def speck(point, color):
    """A small triangle that is seen along every axis, as a mesh."""
    offsets = 0.2 * tensor([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])
    return Mesh(
        vertices=tensor(point) + offsets,
        faces=torch.tensor([[0, 1, 2]]),
        face_colors=tensor([color]),
    )


def joined(*meshes):
    """One mesh of several with face colours."""
    counts = torch.tensor([0, *(m.n_vertices for m in meshes)]).cumsum(0)
    return Mesh(
        vertices=torch.cat([m.vertices for m in meshes]),
        faces=torch.cat([m.faces + n for m, n in zip(meshes, counts, strict=False)]),
        face_colors=torch.cat([m.face_colors for m in meshes]),
    )


def eye_camera(fov=80.0):
    return double(Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), fov=fov))


CAMERAS = double(Camera.orbit(3.0, 20.0, torch.tensor([0.0, 70.0, 200.0])))
