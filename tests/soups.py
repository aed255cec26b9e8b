"""Random triangles, and the choices of the rasterizer that tests go through."""

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from taichi_softras import RasterSettings, settings

Size = int | tuple[int, int]

NEAR, FAR = 1.0, 10.0


class Soup(NamedTuple):
    """Triangles that share nothing."""

    corners: Tensor  # [B, F, 3, 3]
    attributes: Tensor  # [B, F, 3, C]


def soup(
    seed: int,
    faces: int,
    *,
    views: int = 1,
    channels: int = 3,
    dtype: torch.dtype = torch.float64,
    spread: float = 1.2,
) -> Soup:
    """Triangles over and beyond the image, of either orientation, at depths 1.5 to 5.5."""
    rng = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=dtype, generator=rng)

    center = (2.0 * uniform(views, faces, 1, 2) - 1.0) * spread
    offset = (uniform(views, faces, 3, 2) - 0.5) * 1.2
    depth = 1.5 + 4.0 * uniform(views, faces, 3, 1)
    return Soup(torch.cat([center + offset, depth], -1), uniform(views, faces, 3, channels))


class Options(NamedTuple):
    """One choice for everything that changes the code of a rasterizer."""

    distance: settings.Distance = "euclidean"
    alpha: settings.Alpha = "prod"
    color: settings.Color = "softmax"
    clip: settings.Clip = "nearest"
    projection: str = "perspective"  # or affine, or orthographic
    cull: settings.Cull = "none"

    @property
    def name(self) -> str:
        """Id of the parametrised test."""
        return "-".join(self)

    @property
    def orthographic(self) -> bool:
        """The argument of `rasterize`."""
        return self.projection == "orthographic"

    def settings(self, **numbers: Any) -> RasterSettings:
        """Settings with these choices and the given numbers."""
        choices = self._asdict()
        perspective = choices.pop("projection") == "perspective"
        numbers = {"near": NEAR, "far": FAR, **numbers}
        return RasterSettings(**choices, perspective_correct=perspective, **numbers)


CHOICES = (
    get_args(settings.Distance),
    get_args(settings.Alpha),
    get_args(settings.Color),
    get_args(settings.Clip),
    ("perspective", "affine", "orthographic"),
    get_args(settings.Cull),
)


def every_option() -> list[Options]:
    """The full product, without those that change nothing."""
    return [
        option
        for option in (Options(*choice) for choice in product(*CHOICES))
        if not (option.clip == "clamp" and "hard" in (option.distance, option.color))
        and (option.color != "none" or option[3:5] == ("nearest", "perspective"))
    ]


def pairs(option: Options) -> set[tuple[tuple[int, str], tuple[int, str]]]:
    """Every two choices that meet in an option."""
    return set(combinations(enumerate(option), 2))


def pairwise(options: Iterable[Options]) -> list[Options]:
    """A few of `options` in which every pair of choices that occurs at all meets; greedily."""
    pool = list(options)
    missing = set().union(*map(pairs, pool))
    chosen = []
    while missing:
        chosen.append(max(pool, key=lambda option: len(pairs(option) & missing)))
        missing -= pairs(chosen[-1])
    return chosen


PAIRWISE = pairwise([Options(), *every_option()])

FLOAT32 = (
    Options(),
    Options("barycentric", "sum", "softmax", "clamp", "affine", "back"),
    Options("euclidean", "hard", "softmax", "clamp", "orthographic"),
    Options("hard", "sum", "softmax", "nearest", "perspective", "front"),
    Options("euclidean", "sum", "hard", "nearest", "affine"),
    Options("barycentric", "prod", "none"),
)
