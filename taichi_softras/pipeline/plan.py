"""What a launch needs: numbers, and arrays from whoever owns the memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Protocol

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
from taichi_softras.kernels.fragment import Variant, setup_choices, state_planes
from taichi_softras.kernels.types import CPU_TILE, GPU_TILE, MOST_ACROSS, MOST_FACES, MOST_NUMBERS
from taichi_softras.settings import RasterSettings

Array = Any
"""A torch tensor or a `ti.ndarray`; the first axis may be longer than what is used of it, and an
empty array is replaced by any other of its rank: kernels take their counts as numbers."""

UNBOUNDED = 1e15
"""Reach of a face when dist_eps is 0: beyond any NDC coordinate, and finite when squared."""


NUMBERS = (
    "height", "width", "shorter", "inverse_sigma", "reach2", "tau", "inverse_tau", "near", "far",
)  # fmt: skip
"""Scalars that the forward and the adjoint driver share, in their order."""

Rows = tuple[int, int]
"""First and last + 1 of some rows of tiles, in all views."""


class Window(Protocol):
    """What the caller of kernels itself does with an int32 array."""

    def clear(self) -> None:
        """Fill it with zeros."""

    def read(self) -> list[int]:
        """Return its first numbers, once everything that writes them has run."""


class Memory(Protocol):
    """Where the arrays of one rendering come from; unless it says more, they live as long as it.

    No axis of what it returns is 0: backends differ on empty arrays.
    """

    def reals(self, *shape: int) -> Array:
        """Return an uninitialised array of the rendering's dtype."""

    def integers(self, *shape: int) -> Array:
        """Return an uninitialised int32 array."""

    def zeros(self, n: int) -> Array:
        """Return n int32 zeros."""

    def results(self, *shape: int) -> Array:
        """Return an uninitialised array of reals that may outlive the rendering."""

    def gradients(self, points: Array) -> Array:
        """Return an uninitialised array of reals like the points, which may outlive the pass."""

    def pictures(self, *shape: int) -> Array:
        """Do so for what kernels take as one long row."""

    def nothing(self, ndim: int, *, integers: bool = False) -> Array:
        """Return an array of reals, or of int32, that kernels take and do not touch."""

    def scratch(self) -> "Memory":
        """Return memory for part of the work: its arrays may be written again once it is gone."""

    def lasting(self) -> "Memory":
        """Return memory whose arrays live as long as itself, for later renderings."""

    def read_integer(self, array: Array, index: int) -> int:
        """Return one number of an int32 array, once everything that writes it has run."""

    def window(self, array: Array, first: int) -> "Window":
        """Return quick access to an int32 array, of which so many numbers will be read."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a launch needs beside arrays."""

    backend: str
    """Name of the backend that it is for, as of `runtime.backend`."""
    variant: Variant
    cull: str
    size: tuple[int, int]
    sigma: float
    gamma: float
    eps: float
    dist_eps: float
    near: float
    far: float
    n_views: int
    n_faces: int
    """Corner records of all views."""
    n_attributes: int
    """Attribute records; fewer than faces where views share them."""
    background_rows: int
    """1, or one a pixel."""
    n_vertices: int = 0
    """Vertices of each view; 0 where the points are the records' corners."""
    n_texels: int = 0
    """Texels of all maps."""

    @classmethod
    def of(cls, settings: RasterSettings, **shape: Any) -> "Plan":
        """Plan a rendering on the running backend; arguments as of `make`.

        In a loop it is the plan of the last time.
        """
        changing = hasattr(settings.sigma, "detach") or hasattr(settings.gamma, "detach")
        return (cls.make if changing else _kept)(settings, runtime.backend(), **shape)

    @classmethod
    def make(
        cls,
        settings: RasterSettings,
        backend: str,
        *,
        dtype: str,
        channels: int,
        size: tuple[int, int],
        n_views: int,
        n_faces: int,
        n_attributes: int,
        background_rows: int,
        n_vertices: int = 0,
        orthographic: bool = False,
        lookup: str = "",
        textured: int = 0,
        n_texels: int = 0,
    ) -> "Plan":
        """Plan a rendering; `dtype` is "float32" or "float64".

        `channels` counts what is drawn; with a `lookup` the texture multiplies the first `textured`
        ones, and the attributes have texture coordinates besides.
        """
        variant = Variant(
            dtype=runtime.taichi_dtype(dtype),
            channels=channels,
            distance=settings.distance,
            alpha=settings.alpha,
            color=settings.color,
            clip=settings.clip,
            perspective=settings.perspective_correct and not orthographic,
            linear_depth=orthographic,
            shows=_SIDES[settings.cull] if settings.unseen == "alpha" else "",
            lookup=lookup,
            textured=textured,
        )
        _check_numbers(n_views, n_faces, size, max(channels, state_planes(settings.color)))
        return cls(
            backend=backend,
            variant=variant,
            cull="none" if settings.unseen == "alpha" else settings.cull,
            size=size,
            sigma=_number(settings.sigma),
            gamma=_number(settings.gamma),
            eps=settings.eps,
            dist_eps=settings.dist_eps,
            near=settings.near,
            far=settings.far,
            n_views=n_views,
            n_faces=n_faces,
            n_vertices=n_vertices,
            n_attributes=n_attributes,
            background_rows=background_rows,
            n_texels=n_texels,
        )

    @cached_property
    def code(self) -> int:
        """A number for each choice of kernels."""
        return _codes.setdefault((self.variant, self.cull), len(_codes))

    @cached_property
    def kind(self) -> tuple[Any, ...]:
        """What decides which kernels run and how long their working arrays are, but the lists."""
        counts = (self.n_faces, self.n_attributes, self.n_vertices, self.n_views)
        return (*counts, self.size, self.background_rows, self.code)

    @cached_property
    def setup_choices(self) -> tuple[Any, ...]:
        """What changes the code that sets up faces; arguments of `kernels.setup`'s factories."""
        return setup_choices(self.variant, self.cull)

    @cached_property
    def reach(self) -> float:
        """Distance, in the metric's unit, beyond which D < dist_eps."""
        if self.variant.distance == "hard":
            return 0.0
        if self.dist_eps == 0.0:
            return UNBOUNDED
        return min(math.sqrt(self.sigma * math.log(1.0 / self.dist_eps - 1.0)), UNBOUNDED)

    @cached_property
    def n_points(self) -> int:
        """Points of all views."""
        return self.n_views * self.n_vertices or 3 * self.n_faces

    @cached_property
    def tau(self) -> float:
        """Depth difference that changes a softmax weight by e."""
        return self.gamma * (self.far - self.near)

    @cached_property
    def background_depth(self) -> float:
        """Depth whose normalised value is eps."""
        return self.far - self.eps * (self.far - self.near)

    @cached_property
    def batch(self) -> tuple[int, int, int]:
        """Views, image height and width."""
        return self.n_views, *self.size

    @cached_property
    def pixels(self) -> int:
        """Pixels of all views."""
        return self.n_views * self.size[0] * self.size[1]

    @cached_property
    def state_numbers(self) -> int:
        """Numbers that pixels keep for the adjoint, see `kernels.types.STATE`."""
        return state_numbers(self.n_views, self.size, self.variant.color)

    @cached_property
    def lines(self) -> tuple[int, int, int]:
        """As kernels want it that run through pixels whose state lies in tiles on CPUs.

        Rows of pixels of all views, pixels of a row, and rows of a view; on GPUs each pixel is a
        row of its own.
        """
        height, width = self.size
        on_cpu = self.backend == "cpu"
        return (self.n_views * height, width, height) if on_cpu else (self.pixels, 1, 1)

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles in a view."""
        side = CPU_TILE if self.backend == "cpu" else GPU_TILE
        return -(-self.size[0] // side), -(-self.size[1] // side)

    @cached_property
    def n_tiles(self) -> int:
        """Tiles of all views."""
        return self.n_views * self.tiles[0] * self.tiles[1]

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Height and width, as kernels take them that compute with both."""
        return float(self.size[0]), float(self.size[1])

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """See `NUMBERS`."""
        return (
            *self.size,
            float(min(self.size)),
            1.0 / self.sigma,
            self.reach**2,
            self.tau,
            1.0 / self.tau,
            self.near,
            self.far,
        )

    @cached_property
    def numbers_by_name(self) -> dict[str, float]:
        """See `NUMBERS`."""
        return dict(zip(NUMBERS, self.numbers, strict=True))

    @property
    def softness_scales(self) -> tuple[float, float]:
        """What the sums of `softness_kernel` are multiplied by to be dL/dsigma and dL/dgamma."""
        return -1.0 / self.sigma, 1.0 / (self.tau * self.gamma)


def state_numbers(n_views: int, size: Sequence[int], color: str) -> int:
    """Return the length of a state: whole tiles of CPUs, so that it is the same everywhere."""
    return _on_tiles(n_views, size) * state_planes(color)


def _on_tiles(n_views: int, size: Sequence[int]) -> int:
    return n_views * math.prod(-(-n // CPU_TILE) * CPU_TILE for n in size)


def _check_numbers(n_views: int, n_faces: int, size: tuple[int, int], planes: int) -> None:
    if max(size) > MOST_ACROSS:
        raise ArgumentError(
            f"`size` can be at most 2**24 pixels a side, got {size[0]} x {size[1]}."
        )
    if n_faces > MOST_FACES:
        raise ArgumentError(
            f"there are {n_faces} faces in all views, and 2**25 are the most; render fewer views "
            "at once."
        )
    numbers = _on_tiles(n_views, size) * planes
    if numbers > MOST_NUMBERS:
        raise ArgumentError(
            f"`size` {size[0]} x {size[1]} with {n_views} views takes {numbers} numbers, and 2**30 "
            "are the most; render fewer views at once, or fewer pixels."
        )


@lru_cache(maxsize=64)
def _kept(settings: RasterSettings, backend: str, **shape: Any) -> Plan:
    return Plan.make(settings, backend, **shape)


_codes: dict[tuple[Variant, str], int] = {}

_SIDES = {"none": "both", "back": "front", "front": "back"}
"""Sides of faces that are left, by what is culled."""


def _number(value: Any) -> float:
    return float(value.detach()) if hasattr(value, "detach") else float(value)


class CornerLists(NamedTuple):
    """Which corners 3 f + k of the faces each vertex is."""

    start: Array  # [V + 1] int32, where each vertex's list begins
    corners: Array  # [3 F] int32


class Scene(NamedTuple):
    """Arrays that a rendering reads, in the layout of `inputs.RasterInputs`."""

    points: Array  # [Q, 3] vertices of all views, or corners of all records
    faces: Array  # [F, 3] int32, the vertices of each view's faces; not read with n_vertices 0
    attributes: Array  # [M, 3, C + texture coordinates]
    views: Array  # [B, 3] int32
    background: Array  # [1, C] or [B * H * W, C]
    texels: Array  # [X, textured channels]
    maps: Array  # [M + 5 L] int32: where the map of each attribute record begins here; maps
