"""Vertices to their projections under torch's autograd: one launch each way, on the CPU.

`Projection` says the same in torch's operations, a dozen each way, which take longer than the
rasterizer where many views are small.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.fast_launch import Launch
from taichi_softras.kernels.phases import counters
from taichi_softras.kernels.project import (
    CAMERA_ROW,
    CHUNKS,
    projection_kernels,
)
from taichi_softras.projection import Projection
from taichi_softras.torch_bridge.derivatives import first_only
from taichi_softras.torch_bridge.memory import dtype_name

LARGE = 1e30
"""A finite depth beyond all others."""

PARALLEL = 2**14
"""Points of all views from which on it pays to wake Taichi's threads."""


def can_project(points: Tensor, camera: Projection) -> bool:
    """Whether `project_points` works here, and its results will be differentiated.

    Starts Taichi, if it is not running, where that depends on the backend.
    """
    if torch.compiler.is_compiling() or points.device.type != "cpu":
        return False
    learning = points.requires_grad or any(
        value.requires_grad for value in (camera.view_from_world, camera.focal, camera.center)
    )
    if not learning or not torch.is_grad_enabled() or camera.distortion is not None:
        return False
    runtime.init(tensors_on="cpu")
    return runtime.backend() == "cpu"


def project_points(
    points: Tensor, camera: Projection, size: tuple[int, int], near: float = -math.inf
) -> Tensor | None:
    """Project vertices; ask `can_project` before.

    Args:
        points: World coordinates, shared by all views or a set for each. [V, 3] or [B or 1, V, 3]
        camera: B cameras or one, of the points' dtype.
        size: Image height and width in pixels.
        near: View depth of the near plane.

    Returns:
        x right, y up in NDC, view depth; None if a vertex is not finite, or nearer than the near
        plane in some view. [B, V, 3]
    """
    projected, usable = _Project.apply(  # type: ignore[no-untyped-call]
        points, _rows(camera, size), not camera.orthographic, near
    )
    return projected if usable else None


def _rows(camera: Projection, size: tuple[int, int]) -> Tensor:
    """Lay cameras out as the kernels read them; remembered while they stay. [C, CAMERA_ROW]."""
    tensors = (camera.view_from_world, camera.focal, camera.center)
    # Tensors of inference mode do not count their changes.
    if (
        any(t.requires_grad or t.is_inference() for t in tensors)
        or torch.is_inference_mode_enabled()
    ):
        return _lay_out(camera, size)
    state = (size, [t._version for t in tensors])
    found = _remembered.get(camera)
    if found is None or found[0] != state:
        found = _remembered[camera] = (state, _lay_out(camera, size))
    return found[1]


_remembered: WeakKeyDictionary[Projection, tuple[Any, Tensor]] = WeakKeyDictionary()
"""Rows of cameras, with the size and the tensors' versions that they were made for."""


def _lay_out(camera: Projection, size: tuple[int, int]) -> Tensor:
    scale = size[0] / min(size)
    pose = camera.view_from_world
    parts = [
        pose[:, :3, :3].flatten(1),
        pose[:, :3, 3],
        camera.focal * scale,
        camera.center * scale,
    ]
    return torch.cat(parts, dim=1)


class _Sizes(NamedTuple):
    """Arguments of both kernels, in their order."""

    n_views: int
    n_sets: int
    n_cameras: int
    n_vertices: int


class _Project(torch.autograd.Function):
    """Forward and its adjoint; the adjoint has no derivative of its own."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, cameras: Tensor, perspective: bool, near: float
    ) -> tuple[Tensor, bool]:
        n_sets = points.shape[0] if points.ndim == 3 else 1
        n_views = max(n_sets, cameras.shape[0])
        ctx.sizes = _Sizes(n_views, n_sets, cameras.shape[0], points.shape[-2])
        ctx.perspective = perspective
        ctx.save_for_backward(points, cameras)
        projected = points.new_empty(n_views, points.shape[-2], 3)
        if 0 in ctx.sizes:
            return projected, True
        projector = _projector(points, ctx.sizes, perspective)
        # Compilers may assume that there are no infinite numbers.
        near = max(near, -LARGE)
        with runtime.launching():
            projector.found.zero_()
            projector.project.start(points, cameras, ctx.sizes, projected=projected, near=near)
            return projected, not any(projector.found.tolist())

    @staticmethod
    def backward(ctx: Any, d_projected: Tensor, _: None) -> tuple[Tensor | None, ...]:
        cameras_too = ctx.needs_input_grad[1]
        pull_back = partial(_pull_back, ctx.saved_tensors, ctx.sizes, ctx.perspective, cameras_too)
        return (*first_only(pull_back, d_projected), None, None)


def _pull_back(
    tensors: tuple[Tensor, Tensor],
    sizes: _Sizes,
    perspective: bool,
    cameras_too: bool,
    d_projected: Tensor,
) -> tuple[Tensor, Tensor | None]:
    points, cameras = tensors
    d_points = torch.empty_like(points, memory_format=torch.contiguous_format)
    shape = (sizes.n_views, CHUNKS, CAMERA_ROW) if cameras_too else (1, 1, 1)
    parts = points.new_empty(shape, dtype=torch.float64)
    if 0 in sizes:
        d_points.zero_()
        parts.zero_()
    else:
        projector = _projector(points, sizes, perspective, cameras_too)
        with runtime.launching():
            projector.pull_back.start(
                points, cameras, sizes,
                d_projected=d_projected.contiguous(), d_points=d_points, d_cameras=parts,
            )  # fmt: skip
    if not cameras_too:
        return d_points, None
    d_cameras = parts.sum(1)
    if sizes.n_cameras == 1:
        d_cameras = d_cameras.sum(0, keepdim=True)
    return d_points, d_cameras.to(cameras.dtype)


class _Prepared:
    """A kernel and what stays from launch to launch; hold `runtime.launch_lock` to use it."""

    def __init__(self, kernel: Callable[..., None], n_workers: int, **kept: Tensor) -> None:
        self._progress = torch.zeros(counters(1, n_workers), dtype=torch.int32)
        self._launch = Launch(kernel, n_workers=n_workers, progress=self._progress, **kept)

    def start(self, points: Tensor, cameras: Tensor, sizes: _Sizes, **given: Any) -> None:
        """Launch it."""
        self._progress.zero_()
        given |= sizes._asdict()
        self._launch(points=points.contiguous(), cameras=cameras.contiguous(), **given)


class _Projector(NamedTuple):
    """The prepared kernels of one kind of projection."""

    project: _Prepared
    pull_back: _Prepared
    found: Tensor
    """[2] zeros before, and after it what `project` found, see `kernels.project`."""


def _projector(
    points: Tensor, sizes: _Sizes, perspective: bool, cameras_too: bool = False
) -> _Projector:
    parallel = sizes.n_views * sizes.n_vertices > PARALLEL
    n_workers = runtime.thread_count() if parallel else 1
    return _kept_projector(points.dtype, n_workers, perspective, parallel, cameras_too)


@cache
def _kept_projector(
    dtype: torch.dtype, n_workers: int, perspective: bool, parallel: bool, cameras_too: bool
) -> _Projector:
    name = runtime.taichi_dtype(dtype_name(dtype))
    kernels = projection_kernels(name, perspective, parallel, cameras_too)
    # Tensors of inference mode could not be written later.
    with torch.inference_mode(False):
        found = torch.zeros(2, dtype=torch.int32)
        project = _Prepared(kernels.project, n_workers, found=found)
        return _Projector(project, _Prepared(kernels.pull_back, n_workers), found)
