"""What the fit view can fit: a coloured mesh to pictures, a shape to silhouettes, a pose."""

import math
from typing import Protocol

import torch
from torch import Tensor

from taichi_softras import losses, scenes, shapes
from taichi_softras.camera import Camera
from taichi_softras.fitting import FitSettings, Fitter
from taichi_softras.fitting.optimizer import UniformAdam
from taichi_softras.fitting.preconditioner import Preconditioner
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings
from taichi_softras.transforms import rotation_from_axis_angle
from taichi_softras.viewer.picture import displayable

Softness = tuple[float, float]
"""Sigma and gamma."""


class FitProblem(Protocol):
    """Something that is optimised step by step, with any sigma and gamma at each."""

    lit: bool
    """Whether the light shines on `mesh`, or its colours have the light in them."""
    steps: int
    """Length of the schedule; steps beyond it keep its last softness."""

    def schedule(self, step: int) -> Softness:
        """Softness at a step, where the sliders do not set it."""
        ...

    def step(self, softness: Softness) -> float:
        """Move once and return the loss before."""
        ...

    def mesh(self) -> Mesh:
        """What is optimised, as it is now, in world coordinates and without gradients."""
        ...

    def goal(self) -> Mesh:
        """What it should become."""
        ...


class _LiveFitter(Fitter):
    """The fitter of `softras fit`, with a softness from outside."""

    live: Softness | None = None

    @property
    def raster_settings(self) -> RasterSettings:
        """Softness of the next step."""
        own = super().raster_settings
        if self.live is None:
            return own
        sigma, gamma = self.live
        return RasterSettings(sigma=sigma, gamma=gamma, near=own.near, far=own.far)


class PicturesFit:
    """`softras fit`: shape and vertex colours from pictures all round, 128 pixels a side."""

    lit = False

    def __init__(self, goal: Mesh, views: int = 16, size: int = 128, steps: int = 300) -> None:
        self._goal = goal
        self.steps = steps
        cameras = scenes.sphere_cameras(views, image_size=size)
        posed = scenes.render_posed(displayable(goal), cameras, supersample=2)
        self._fitter = _LiveFitter(posed, FitSettings(steps=steps, level=3, shrink=(2, 1)))

    def schedule(self, step: int) -> Softness:
        """Follow the fitter, whose softness is in pixels of its growing images."""
        del step
        own = Fitter.raster_settings.fget(self._fitter)  # type: ignore[attr-defined]
        return float(own.sigma), float(own.gamma)

    def step(self, softness: Softness) -> float:
        """Move once and return the loss before."""
        self._fitter.live = softness
        return self._fitter.step().loss

    def mesh(self) -> Mesh:
        """The fitted mesh."""
        return self._fitter.mesh

    def goal(self) -> Mesh:
        """The mesh that the pictures show."""
        return self._goal


class ShapeFit:
    """A grey sphere becomes a shape, from its silhouettes alone."""

    lit = True
    steps = 200

    def __init__(self, goal: Mesh, views: int = 6, size: int = 48) -> None:
        self._goal = goal
        self._cameras = scenes.sphere_cameras(views, image_size=size)
        # a sphere of the same size in the middle: its own bounding sphere is the unit one
        start = shapes.icosphere(3, radius=0.7)
        self._faces = start.faces
        self._smoother = Preconditioner(start.faces, start.n_vertices, 6.0)
        self._u = self._smoother.roughen(start.vertices).requires_grad_()
        self._optimizer = UniformAdam([self._u], lr=0.03, betas=(0.9, 0.99))
        self._targets = scenes.render_posed(displayable(goal), self._cameras).alpha

    def schedule(self, step: int) -> Softness:
        """Anneal sigma from an edge 1.5 pixels wide to a quarter of one."""
        return _annealed(step, self.steps, 4e-3, 1e-4), 1e-2

    def step(self, softness: Softness) -> float:
        """Move once and return the loss before."""
        mesh = Mesh(vertices=self._smoother.smooth(self._u), faces=self._faces)
        # faces that cover less than a hundredth cost time and hardly pull
        settings = RasterSettings(sigma=softness[0], gamma=softness[1], color="none", dist_eps=1e-2)
        alpha = render(mesh, self._cameras, settings=settings).alpha
        loss = losses.silhouette_iou(alpha, self._targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def mesh(self) -> Mesh:
        """The deformed sphere."""
        with torch.no_grad():
            return Mesh(vertices=self._smoother.smooth(self._u), faces=self._faces)

    def goal(self) -> Mesh:
        """The shape whose silhouettes are fitted."""
        return self._goal


class PoseFit:
    """A cube with six colours turns until it looks like one picture of itself."""

    lit = False
    steps = 150

    def __init__(self, size: int = 96, degrees: float = 70.0, seed: int = 0) -> None:
        self._cube = coloured_cube()
        self._camera = Camera.orbit(3.0, 20.0, 35.0, 45.0, image_size=size)
        generator = torch.Generator().manual_seed(seed)
        axis = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        self._goal_rotation = torch.eye(3)
        self._turn = (axis * math.radians(degrees)).requires_grad_()
        self._optimizer = torch.optim.Adam([self._turn], lr=0.05)
        self._target = self._look(self._goal_rotation, _close(1e-6, 1e-3))

    def schedule(self, step: int) -> Softness:
        """Anneal sigma from a tenth of the picture to a fraction of a pixel."""
        return _annealed(step, self.steps, 3e-2, 1e-5), _annealed(step, self.steps, 1e-1, 1e-3)

    def step(self, softness: Softness) -> float:
        """Move once and return the loss before."""
        settings = _close(*softness)
        pixels = self._look(self._rotation(), settings)
        loss = losses.photometric(pixels, self._target, norm="l2")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def mesh(self) -> Mesh:
        """The cube as it is turned now."""
        with torch.no_grad():
            return self._cube.replace(vertices=self._cube.vertices @ self._rotation().mT)

    def goal(self) -> Mesh:
        """The cube as it should be turned."""
        return self._cube.replace(vertices=self._cube.vertices @ self._goal_rotation.mT)

    @property
    def degrees_off(self) -> float:
        """Angle between the two rotations."""
        with torch.no_grad():
            trace = float((self._rotation() @ self._goal_rotation.mT).trace())
        return math.degrees(math.acos(min(max(0.5 * (trace - 1.0), -1.0), 1.0)))

    def _rotation(self) -> Tensor:
        length = self._turn.norm()
        return rotation_from_axis_angle(self._turn, length * (180.0 / math.pi))

    def _look(self, rotation: Tensor, settings: RasterSettings) -> Tensor:
        mesh = self._cube.replace(vertices=self._cube.vertices @ rotation.mT)
        out = render(mesh, self._camera, settings=settings)
        assert out.image is not None
        return out.image * out.alpha[..., None]


def coloured_cube() -> Mesh:
    """Build a cube in the unit sphere with a colour on each side."""
    colors = torch.tensor([
        [0.86, 0.2, 0.18], [0.98, 0.6, 0.1], [0.95, 0.9, 0.85],
        [0.97, 0.86, 0.15], [0.15, 0.6, 0.3], [0.15, 0.35, 0.8],
    ])  # fmt: skip
    return shapes.cube(2.0 / math.sqrt(3.0)).replace(face_colors=colors.repeat_interleave(2, 0))


def _close(sigma: float, gamma: float) -> RasterSettings:
    """Near and far enclose the unit sphere at a distance of 3."""
    return RasterSettings(sigma=sigma, gamma=gamma, near=1.9, far=4.1)


def _annealed(step: int, steps: int, first: float, last: float) -> float:
    """Go from one value to another by equal factors, and stay there."""
    return float(first * (last / first) ** min(step / max(steps - 1, 1), 1.0))
