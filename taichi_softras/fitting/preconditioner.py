"""Smooth steps: optimise u with vertices = (I + smoothness L)^-1 u.

A step along dL/du spreads every gradient over the surface, so silhouette gradients, which live on
few vertices, move whole parts and leave no spikes. The idea and the choice of L are those of
Nicolet, Jacobson and Jakob, "Large Steps in Inverse Rendering of Geometry" (SIGGRAPH Asia 2021).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from taichi_softras import topology


class Preconditioner:
    """The sparse factorisation of I + smoothness L for one topology, L the graph Laplacian."""

    def __init__(self, faces: Tensor, n_vertices: int, smoothness: float) -> None:
        from scipy.sparse import coo_matrix, eye
        from scipy.sparse.linalg import splu

        edges = topology.unique_edges(faces).numpy()
        rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
        shape = (n_vertices, n_vertices)
        adjacency = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
        degree = np.asarray(adjacency.sum(axis=1))[:, 0]
        laplacian = -adjacency
        laplacian.setdiag(degree)
        self._matrix = (eye(n_vertices) + smoothness * laplacian).tocsc()
        self._factors: Any = splu(self._matrix)

    def smooth(self, u: Tensor) -> Tensor:
        """Solve for the vertices, differentiably. [V, 3] -> [V, 3]."""
        result: Tensor = _Solve.apply(u, self)  # type: ignore[no-untyped-call]
        return result

    def roughen(self, vertices: Tensor) -> Tensor:
        """Return the u whose smoothed vertices are these. [V, 3] -> [V, 3]."""
        product = self._matrix @ vertices.detach().numpy().astype(np.float64)
        return torch.from_numpy(product).to(vertices.dtype)

    def solve(self, right: Tensor) -> Tensor:
        """Apply (I + smoothness L)^-1, which is symmetric. [V, 3] -> [V, 3]."""
        solution = self._factors.solve(right.detach().numpy().astype(np.float64))
        return torch.from_numpy(solution).to(right.dtype)


class _Solve(torch.autograd.Function):
    """The matrix is symmetric, so its adjoint is itself."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, preconditioner: Preconditioner) -> Tensor:
        ctx.preconditioner = preconditioner
        return preconditioner.solve(u)

    @staticmethod
    def backward(ctx: Any, d_vertices: Tensor) -> tuple[Tensor, None]:
        return ctx.preconditioner.solve(d_vertices), None
