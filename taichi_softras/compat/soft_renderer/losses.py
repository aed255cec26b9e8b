"""Regularisers of a mesh as modules, made once for its faces."""

from typing import Any

import torch
from torch import Tensor, nn

from taichi_softras import losses, topology
from taichi_softras.errors import check_shape
from taichi_softras.mesh import Mesh


class _Regulariser(nn.Module):
    """Makes its tables from the faces: checkpoints have none, and those of old ones are left."""

    old_tables: tuple[str, ...] = ()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.old_tables:
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class LaplacianLoss(_Regulariser):
    """Sum |x_v - mean of its neighbours|² over the vertices of each mesh.

    Args:
        vertex: Any vertices of such a mesh: their number counts. [V, 3]
        faces: Vertex indices. [F, 3]
        average: Return the mean over the meshes.
    """

    old_tables = ("laplacian",)

    def __init__(self, vertex: Tensor, faces: Tensor, average: bool = False) -> None:
        super().__init__()
        check_shape("vertex", vertex.shape, "V 3")
        check_shape("faces", faces.shape, "F 3")
        self.nv, self.nf, self.average = len(vertex), len(faces), average
        self.laplacian: Tensor
        matrix = topology.uniform_laplacian(faces.long(), self.nv, vertex.dtype)
        self.register_buffer("laplacian", matrix, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Measure vertices [B, V, 3]. [B], or a scalar with average=True"""
        check_shape("x", x.shape, f"B {self.nv} 3")
        columns = x.permute(1, 0, 2).flatten(1)  # [V, B 3]: one sparse product for the batch
        bent = torch.sparse.mm(self.laplacian.to(x.dtype), columns).reshape(x.shape[1], -1, 3)
        total: Tensor = bent.square().sum(dim=(0, 2))
        return total.sum() / max(len(x), 1) if self.average else total


class FlattenLoss(_Regulariser):
    """Sum (cos θ + 1)² over the edges of each mesh, θ being the dihedral angle there.

    Boundary edges and degenerate faces add nothing.

    Args:
        faces: Vertex indices. [F, 3]
        average: Return the mean over the meshes.
    """

    old_tables = ("v0s", "v1s", "v2s", "v3s")

    def __init__(self, faces: Tensor, average: bool = False) -> None:
        super().__init__()
        check_shape("faces", faces.shape, "F 3")
        self.nf, self.average = len(faces), average
        self.faces: Tensor
        self.register_buffer("faces", faces.long(), persistent=False)

    def forward(self, vertices: Tensor, eps: float = 1e-6) -> Tensor:
        """Measure vertices [B, V, 3]; `eps` is not needed here. [B], or a scalar with average."""
        check_shape("vertices", vertices.shape, "B V 3")
        mesh = Mesh(vertices=vertices, faces=self.faces)
        cosines, valid = losses.dihedral_cosines(mesh)
        bend = torch.where(valid, cosines + 1.0, torch.zeros_like(cosines))
        total = bend.square().sum(dim=-1)
        return total.sum() / max(len(total), 1) if self.average else total
