"""Small meshes and texts that become files."""

import torch

from taichi_softras.mesh import Mesh

SUFFIXES = [".obj", ".ply", ".glb", ".stl", ".off"]
TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def tetrahedron(scale=1.0, **colors):
    rng = torch.Generator().manual_seed(3)
    return Mesh(vertices=scale * torch.randn(4, 3, generator=rng), faces=TETRAHEDRON, **colors)


def write_text(path, text):
    path.write_text(text)
    return path


def colors_at(mesh):
    return {
        tuple(v): [round(x, 2) for x in c]
        for v, c in zip(mesh.vertices.tolist(), mesh.vertex_colors.tolist(), strict=True)
    }
