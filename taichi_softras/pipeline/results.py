"""What forward leaves, what the adjoint is asked for, and what it leaves."""

from typing import NamedTuple

from taichi_softras.pipeline.binning import Tiles
from taichi_softras.pipeline.leases import Lease
from taichi_softras.pipeline.plan import Array
from taichi_softras.pipeline.workspace import Workspace
from taichi_softras.skipped import SkippedFaces


class Leftovers(NamedTuple):
    """What forward leaves of each pixel for the adjoint."""

    image: Array  # P * C numbers, see `Memory.pictures`
    depth: Array  # P numbers, or one without colour
    state: Array  # see `Plan.state_numbers`
    winner: Array  # [P] with hard colour, else [1]


class Rendered(NamedTuple):
    """What forward leaves beside alpha."""

    left: Leftovers
    lists: Tiles | Workspace
    """Faces by tile: tiles on GPUs, a workspace on CPUs, where `state` and `winner` are its."""
    skipped: SkippedFaces = SkippedFaces()
    """Faces that were left out; not counted again where a rendering is restored."""
    lease: Lease | None = None
    """On the workspace."""


class Needs(NamedTuple):
    """Which gradients the adjoint is asked for."""

    points: bool
    attributes: bool
    background: bool
    softness: bool
    texels: bool = False


class Gradients(NamedTuple):
    """What the adjoint leaves; None where nothing was asked for."""

    points: Array | None  # [Q, 3]
    attributes: Array | None  # [M, 3, C + texture coordinates]
    background: Array | None  # [P, C]
    softness: Array | None  # [2] times Plan.softness_scales
    texels: Array | None  # [X, textured channels]
