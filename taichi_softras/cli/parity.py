"""The same random triangles on every backend: how far results and gradients differ from the CPU's.

`write` runs in a process for each backend (see `backends`), `compare` in the one that asked.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from taichi_softras.cli import backends
from taichi_softras.errors import BackendError
from taichi_softras.inputs import Rendering
from taichi_softras.settings import RasterSettings
from taichi_softras.texture_maps import FaceTexture
from taichi_softras.torch_bridge import rasterize

PICTURE_LIMIT = 1e-4
"""Absolute, for image and alpha in [0, 1] and for depth divided by `far`."""

GRADIENT_LIMIT = 1e-3
"""Relative to the gradient's norm."""

PICTURES = ("image", "alpha", "depth")
GRADIENTS = ("corners", "attributes", "background", "sigma", "gamma", "texels")

_SIZE = (33, 50)
_FAR = 10.0

# The default, and every other choice on its own.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "barycentric": {"distance": "barycentric"},
    "distance hard": {"distance": "hard"},
    "alpha sum": {"alpha": "sum"},
    "alpha hard": {"alpha": "hard"},
    "color hard": {"color": "hard"},
    "color none": {"color": "none"},
    "clip clamp": {"clip": "clamp"},
    "affine": {"perspective_correct": False},
    "orthographic": {"orthographic": True},
    "cull back": {"cull": "back"},
    "cull front": {"cull": "front"},
    "dist_eps 0": {"dist_eps": 0.0},
    "sigma 0.1": {"sigma": 0.1},
    "sigma 1e-5": {"sigma": 1e-5},
    "gamma 1": {"gamma": 1.0},
    "unseen alpha": {"cull": "back", "unseen": "alpha"},
    "bilinear": {"lookup": "bilinear"},
    "mipmap": {"lookup": "mipmap"},
}


class Difference(NamedTuple):
    """One quantity of one variant on one backend, against the CPU."""

    backend: str
    variant: str
    quantity: str
    worst: float
    """Largest difference of a pixel; for gradients the relative difference of the norms."""
    median: float
    """Median difference of a pixel, or of a gradient's entry relative to the largest entry."""
    limit: float

    @property
    def passed(self) -> bool:
        """Is the worst difference within the limit?"""
        return self.worst <= self.limit


def write(path: Path, device: str) -> None:
    """Render every variant and store results and gradients as float64 arrays."""
    arrays = {
        f"{variant}/{quantity}": value
        for variant, options in VARIANTS.items()
        for quantity, value in _results(options, device)
    }
    np.savez(path, **arrays)


def compare(names: tuple[str, ...]) -> tuple[list[Difference], dict[str, str]]:
    """Compare backends with the CPU.

    Returns:
        All differences; and for each backend that gave none, why.

    Raises:
        BackendError: The CPU itself does not render.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted, trouble = _collect("cpu", Path(folder))
        if wanted is None:
            raise BackendError(f"the CPU backend does not render here: {trouble}.")
        differences, missing = [], {}
        for name in names:
            found, trouble = _collect(name, Path(folder))
            if found is None:
                missing[name] = trouble
            else:
                differences += [_difference(name, key, found[key], wanted[key]) for key in wanted]
    return differences, missing


def _collect(name: str, folder: Path) -> tuple[dict[str, Any] | None, str]:
    path = folder / f"{name}.npz"
    answer = backends.ask(name, "parity", str(path))
    if answer:
        return None, answer.get("missing") or answer["failed"]
    with np.load(path) as arrays:
        return dict(arrays), ""


def _difference(backend: str, key: str, found: Any, wanted: Any) -> Difference:
    variant, quantity = key.split("/")
    error = np.abs(found - wanted)
    if quantity in PICTURES:
        scale = _FAR if quantity == "depth" else 1.0
        worst, median, limit = error.max() / scale, np.median(error) / scale, PICTURE_LIMIT
    else:
        worst = np.linalg.norm(error) / np.linalg.norm(wanted)
        median = np.median(error) / np.abs(wanted).max()
        limit = GRADIENT_LIMIT
    return Difference(backend, variant, quantity, float(worst), float(median), limit)


def _results(options: dict[str, Any], device: str) -> Iterator[tuple[str, Any]]:
    """Yield results and gradients of one variant by name."""
    options = {"sigma": 1e-3, "gamma": 1e-3, "near": 1.0, "far": _FAR, **options}
    orthographic = options.pop("orthographic", False)
    sigma, gamma = (
        torch.tensor(options.pop(name), requires_grad=True) for name in ("sigma", "gamma")
    )
    texture = _texture(options.pop("lookup", ""), device)
    triangles = _triangles(texture.coordinates if texture else 0)
    corners, attributes = (t.to(device).requires_grad_() for t in triangles)
    background = torch.tensor([0.2, 0.4, 0.6], device=device, requires_grad=True)
    out = rasterize(
        corners,
        attributes,
        size=_SIZE,
        settings=RasterSettings(sigma=sigma, gamma=gamma, **options),
        background=background,
        orthographic=orthographic,
        texture=texture,
    )
    for name in PICTURES:
        if (value := getattr(out, name)) is not None:
            yield name, value.detach().cpu().double().numpy()
    leaves = [corners, attributes, background, sigma, gamma]
    leaves += [] if texture is None else [texture.texels]
    gradients = torch.autograd.grad(_loss(out), leaves, allow_unused=True)
    for name, gradient in zip(GRADIENTS, gradients, strict=False):
        if gradient is not None and bool(gradient.any()):
            yield name, gradient.cpu().double().numpy()


def _triangles(coordinates: int) -> tuple[torch.Tensor, torch.Tensor]:
    """60 triangles of either orientation over and beyond the image, in each of two views."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(2, 60, *shape, generator=generator)

    center, offset, depth = 2.4 * uniform(1, 2) - 1.2, uniform(3, 2) - 0.5, 4.0 * uniform(3, 1)
    return torch.cat([center + offset, 1.5 + depth], -1), uniform(3, 3 + coordinates)


def _texture(lookup: str, device: str) -> FaceTexture | None:
    """Two maps, of 8 by 8 and 4 by 4 texels, the second also the first's next level."""
    if not lookup:
        return None
    generator = torch.Generator().manual_seed(2)
    return FaceTexture(
        texels=torch.rand(80, 3, generator=generator).to(device).requires_grad_(),
        maps=torch.tensor([[0, 8, 8, 0, 2], [64, 4, 4, 2, 1]], device=device),
        face_maps=torch.arange(60, device=device) % 2,
        lookup="mipmap" if lookup == "mipmap" else "bilinear",
    )


def _loss(out: Rendering) -> torch.Tensor:
    """Weigh every pixel differently."""
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    for name in PICTURES:
        value = getattr(out, name)
        if value is not None:
            total = total + (value.cpu() * torch.randn(value.shape, generator=generator)).sum()
    return total
