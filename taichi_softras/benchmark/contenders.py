"""Who is timed: this package, and peers that pip brings, on the same task.

Each does one pass, forward and back to the vertices, and returns dL/d(vertices) as it has it.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from taichi_softras.benchmark.cases import Case
from taichi_softras.errors import ArgumentError
from taichi_softras.settings import RasterSettings
from taichi_softras.torch_bridge import rasterize

Pass = Callable[[], Any]

DENSE_LIMIT = 4e8
"""Pairs of pixels and faces beyond which the dense version would need too long, or too much."""


class Contender(NamedTuple):
    """One that takes part in a case, or the reason why not."""

    name: str
    step: Pass | None
    reason: str = ""


def contenders(case: Case, names: Sequence[str]) -> list[Contender]:
    """Return this package and the peers of these names.

    Raises:
        ArgumentError: There is no such peer.
    """
    unknown = set(names) - PEERS.keys()
    if unknown:
        raise ArgumentError(f"`peers` must be among {sorted(PEERS)}, got {sorted(unknown)}.")
    return [Contender("taichi_softras", ours(case)), *(PEERS[name](case) for name in names)]


def ours(case: Case) -> Pass:
    """Rasterize, and pull gradients back to the vertices, as `render` does."""
    vertices = case.vertices_ndc.clone().requires_grad_()
    colors, settings, mesh = case.colors, case.settings, case.mesh
    upstream = [case.upstream]
    if colors is not None:  # as dense as a loss's gradient
        upstream.append(case.upstream[..., None].repeat(1, 1, 1, colors.shape[-1]))

    def step() -> Tensor:
        out = rasterize(vertices, colors, size=case.size, settings=settings, faces=mesh.faces)
        outputs = [out.alpha] if out.image is None else [out.alpha, out.image]
        return torch.autograd.grad(outputs, [vertices], upstream)[0]

    return step


def dense(case: Case) -> Contender:
    """Soft silhouettes in plain torch: every face at every pixel, gradients by autograd."""
    name = "dense torch"
    if case.color != "none":
        return Contender(name, None, "silhouettes only")
    if case.views * case.size**2 * case.faces > DENSE_LIMIT:
        return Contender(name, None, f"more than {DENSE_LIMIT:.0e} pairs")
    vertices = case.vertices_ndc[..., :2].clone().requires_grad_()
    side = (2.0 * torch.arange(case.size) + 1.0 - case.size) / case.size
    pixels = torch.stack(torch.meshgrid(-side, side, indexing="ij")[::-1], -1).reshape(-1, 1, 2)

    def step() -> Tensor:
        gradient = torch.zeros_like(vertices)
        for b in range(case.views):
            # A few rows at a time, as one would to fit in memory.
            for part in torch.split(torch.arange(len(pixels)), max(1, 2**22 // case.faces)):
                alpha = _dense_alpha(vertices[b, case.mesh.faces], pixels[part], case.settings)
                upstream = case.upstream[b].reshape(-1)[part]
                gradient += torch.autograd.grad(alpha, vertices, upstream)[0]
        return gradient

    return Contender(name, step)


def _dense_alpha(face: Tensor, pixels: Tensor, settings: RasterSettings) -> Tensor:
    """Union of the coverages of faces [F, 3, 2] at pixels [P, 1, 2]: [P]."""
    distance2, crosses = [], []
    for k in range(3):
        a, e = face[:, k], face[:, (k + 1) % 3] - face[:, k]
        v = pixels - a
        t = ((v * e).sum(-1) / (e * e).sum(-1)).clamp(0.0, 1.0)
        distance2.append((v - t[..., None] * e).square().sum(-1))
        crosses.append(e[:, 0] * v[..., 1] - e[:, 1] * v[..., 0])
    cross = torch.stack(crosses)
    inside = (cross >= 0.0).all(0) | (cross <= 0.0).all(0)
    nearest = torch.stack(distance2).amin(0)
    x = torch.where(inside, nearest, -nearest) / float(settings.sigma)
    coverage = torch.sigmoid(x)
    coverage = torch.where(coverage >= settings.dist_eps, coverage, torch.zeros_like(coverage))
    return 1.0 - torch.prod(1.0 - coverage, dim=1)


def deodr(case: Case) -> Contender:
    """DEODR: hard coverage with antialiased edges, float64, one thread, one view at a time."""
    name = "DEODR"
    if find_spec("deodr") is None:
        return Contender(name, None, "not installed: `pip install taichi-softras[bench]`")
    if case.color != "none":
        return Contender(name, None, "silhouettes only here")
    views = range(case.views)
    scenes = [_deodr_scene(case, b) for b in views]
    upstream = [case.upstream[b].double().numpy()[..., None].copy() for b in views]

    def step() -> list[np.ndarray]:
        for scene, d_image in zip(scenes, upstream, strict=True):
            scene.clear_gradients()
            scene.render(1.0)
            scene.render_backward(d_image)
        return [scene.ij_b for scene in scenes]

    return Contender(name, step)


def _deodr_scene(case: Case, b: int) -> Any:
    from deodr.differentiable_renderer import Scene2D

    points = case.vertices_ndc[b].double().numpy()
    faces = case.mesh.faces.numpy().astype(np.uint32)
    scale = 0.5 * case.size
    places = np.stack([(points[:, 0] + 1.0) * scale, (1.0 - points[:, 1]) * scale], -1)
    n_vertices, n_faces = len(points), len(faces)
    # It draws faces that run clockwise on the screen; ours run counter-clockwise seen from outside.
    return Scene2D(
        faces=faces,
        faces_uv=faces,
        ij=places,
        depths=points[:, 2].copy(),
        textured=np.zeros(n_faces, dtype=bool),
        uv=np.zeros((n_vertices, 2)),
        shade=np.zeros(n_vertices),
        colors=np.ones((n_vertices, 1)),
        shaded=np.zeros(n_faces, dtype=bool),
        edgeflags=np.ones((n_faces, 3), dtype=bool),
        height=case.size,
        width=case.size,
        nb_colors=1,
        texture=np.zeros((2, 2, 1)),
        background_color=np.zeros(1),
        clockwise=False,
        backface_culling=True,
        integer_pixel_centers=False,
    )


PEERS: dict[str, Callable[[Case], Contender]] = {"deodr": deodr, "dense": dense}
"""Peers by the name that `--peers` takes."""
