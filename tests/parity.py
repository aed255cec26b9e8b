"""Kernels against the dense reference: what may differ, by how much, and why."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from soups import Options, Size, Soup
from torch import Tensor
from torch.nn.functional import logsigmoid

from taichi_softras import RasterSettings, Rendering, rasterize, reference

# Tolerances of issue 2. float64: a thousand roundings of numbers near 1e1, far below anything
# that a wrong formula could hide in. float32: the sum of 300 faces, each rounded to 6e-8.
FORWARD_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5}
GRADIENT_TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3}

# What rounding the arguments costs, in unit roundoffs; see `allowed_forward` and `gradient_noise`.
# The worst that was measured beyond the tolerances, over 1,400 random soups and 1,500 tries of
# nearly coplanar ones: 1.3 for colours (0.06 if no faces share a plane) and 0.8 for gradients;
# barycentric coverage used 0.4 of what it is allowed.
COLOR_ROUNDINGS = 2.0
GRADIENT_ROUNDINGS = 4.0
METRIC_ROUNDINGS = 8.0

# exp(-y) of the float32 kernels ends in 0 at y = 80.
UNDERFLOW = 1e-30


class Case(NamedTuple):
    """Everything that a rasterizer is given."""

    soup: Soup
    size: Size
    options: Options
    sigma: float
    gamma: float
    background: float | Tensor = 0.25
    dist_eps: float = 1e-4

    @property
    def dtype(self) -> torch.dtype:
        """Precision under test."""
        return self.soup.corners.dtype

    @property
    def unit(self) -> float:
        """Unit roundoff: half the distance from 1 to the next number."""
        return torch.finfo(self.dtype).eps / 2

    @property
    def depth_noise(self) -> float:
        """Unit roundoff of the largest depth, in units of tau = gamma (far - near)."""
        s = self.settings()
        return (
            self.unit
            * float(self.soup.corners.detach()[..., 2].max())
            / (self.gamma * (s.far - s.near))
        )

    def settings(self, **numbers: Any) -> RasterSettings:
        """Settings with this case's numbers."""
        given = {"sigma": self.sigma, "gamma": self.gamma, "dist_eps": self.dist_eps}
        return self.options.settings(**{**given, **numbers})


# Faces, image size, sigma, gamma: sides that straddle a tile, one face to many, sharp to soft.
SHAPES: dict[str, tuple[int, Size, float, float]] = {
    "1-face": (1, 1, 1e-1, 1e-6),
    "below-a-tile": (5, 7, 1e-2, 1e-4),
    "a-tile": (20, 8, 1e-4, 1e-3),
    "above-a-tile": (60, 9, 1e-6, 1.0),
    "many-faces": (300, 17, 1e-3, 1e-2),
    "non-square": (30, (13, 22), 1e-5, 1e-5),
}
SOFTNESS = [(sigma, gamma) for sigma in (1e-6, 1e-4, 1e-1) for gamma in (1e-6, 1e-4, 1e-3, 1.0)]

OUTPUTS = ("image", "alpha", "depth")


class Result(NamedTuple):
    """Outputs by name, and gradients by the name of the argument; all float64."""

    outputs: dict[str, Tensor]
    gradients: dict[str, Tensor]
    rendering: Rendering


def run(rasterizer: Callable[..., Rendering], case: Case, upstream: dict[str, Tensor]) -> Result:
    """Render, and pull `upstream` back to every argument."""
    leaves = {
        "corners": case.soup.corners.clone(),
        "attributes": case.soup.attributes.clone(),
        "background": torch.as_tensor(case.background, dtype=case.dtype).clone(),
        "sigma": torch.tensor(case.sigma, dtype=case.dtype),
        "gamma": torch.tensor(case.gamma, dtype=case.dtype),
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    out = rasterizer(
        leaves["corners"],
        leaves["attributes"],
        size=case.size,
        settings=case.settings(sigma=leaves["sigma"], gamma=leaves["gamma"]),
        background=leaves["background"],
        orthographic=case.options.orthographic,
    )
    outputs = {name: value for name in OUTPUTS if (value := getattr(out, name)) is not None}
    loss = sum((value.double() * upstream[name]).sum() for name, value in outputs.items())
    gradients = {name: torch.zeros_like(leaf).double() for name, leaf in leaves.items()}
    if loss.requires_grad:
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                gradients[name] = gradient.double()
    values = {name: value.detach().double() for name, value in outputs.items()}
    return Result(values, gradients, out)


class Difference(NamedTuple):
    """Largest differences, divided by what is allowed."""

    outputs: dict[str, float]
    gradients: dict[str, float]
    excluded: int  # pixels left out because the formula jumps there
    relative: dict[str, float]  # relative errors, for the curious

    @property
    def ratios(self) -> dict[str, float]:
        """Everything that was compared; below 1 is right."""
        return {**self.outputs, **{f"d_{name}": r for name, r in self.gradients.items()}}


def compare(case: Case, seed: int = 0) -> Difference:
    """Measure the kernels against the reference, forward and adjoint."""
    jumps = jumping_pixels(case)
    upstream = random_upstream(case, seed)
    for value in upstream.values():
        value[jumps] = 0.0
    ours, wanted = run(rasterize, case, upstream), run(reference.rasterize, case, upstream)
    assert ours.outputs.keys() == wanted.outputs.keys()
    assert ours.rendering.skipped == wanted.rendering.skipped
    outputs, gradients, relative = {}, {}, {}
    allowed = allowed_forward(case)
    for name, value in wanted.outputs.items():
        error = (ours.outputs[name] - value)[~jumps].abs()
        assert not error.isnan().any(), name
        outputs[name] = _largest(error / allowed[name][~jumps])
        relative[name] = _largest(error)
    noise = gradient_noise(case, upstream)
    # torch's sigmoid is flat where D rounds to 1; the kernels see its tail.
    tail = 2.0**-53 * 40.0 / case.sigma * float(upstream["alpha"].abs().sum()) + UNDERFLOW
    share = GRADIENT_TOLERANCE[case.dtype] + GRADIENT_ROUNDINGS * case.depth_noise
    for name, value in wanted.gradients.items():
        error = float((ours.gradients[name] - value).norm())
        bound = share * float(value.norm()) + GRADIENT_ROUNDINGS * noise[name] + tail
        gradients[name] = error / bound
        relative["d_" + name] = error / (float(value.norm()) or 1.0)
    return Difference(outputs, gradients, int(jumps.sum()), relative)


def assert_parity(case: Case, most_excluded: float = 0.1) -> None:
    """Assert that outputs and gradients agree, at nearly all pixels."""
    difference = compare(case)
    wrong = {name: ratio for name, ratio in difference.ratios.items() if not ratio < 1.0}
    assert not wrong, f"times the allowed error: {wrong}; errors: {difference.relative}"
    height, width = _sides(case.size)
    assert difference.excluded <= 1 + most_excluded * len(case.soup.corners) * height * width


def _largest(values: Tensor) -> float:
    return float(values.max()) if values.numel() else 0.0


def random_upstream(case: Case, seed: int) -> dict[str, Tensor]:
    """dL/d(output), one random number an output."""
    views, channels = case.soup.attributes.shape[0], case.soup.attributes.shape[-1]
    rng = torch.Generator().manual_seed(seed)
    shape = (views, *_sides(case.size))
    return {
        "image": torch.randn(*shape, channels, dtype=torch.float64, generator=rng),
        "alpha": torch.randn(shape, dtype=torch.float64, generator=rng),
        "depth": torch.randn(shape, dtype=torch.float64, generator=rng),
    }


class _Fragments(NamedTuple):
    """Every usable face of a view at every pixel. P pixels, F faces."""

    inside: Tensor  # [P, F]
    distance: Tensor  # [P, F] in the metric of the coverage
    slack: Tensor  # [P, F] how far rounding may move that distance
    x: Tensor  # [P, F] D = sigmoid(x)
    kept: Tensor  # [P, F]
    depth: Tensor  # [P, F]
    depth_slack: Tensor  # [P, F]
    weight: Tensor  # [P, F]
    log_weight: Tensor  # [P, F] before normalisation; the background's is 0


def _fragments(corners: Tensor, case: Case, settings: RasterSettings) -> _Fragments:
    """Take the reference apart; differentiable in `corners` and in the settings' tensors."""
    options, unit = case.options, case.unit
    height, width = _sides(case.size)
    pixels = reference.pixel_centers(height, width)
    usable, _ = reference.usable_faces(corners.detach(), corners[..., :0], settings)
    face = corners[usable]
    inside, barycentric, nearest, distance2 = reference._geometry(face[..., :2], pixels)
    x, kept = reference._softness(inside, barycentric, distance2, settings)
    at = reference._clip(inside, barycentric, nearest, settings)
    depth, _ = reference._interpolate(
        at, face[..., 2], face[..., :0], settings, options.orthographic
    )
    weight = reference._blend_weights(x, kept, inside, depth, settings)[:, :-1].detach()
    background_depth = settings.far - settings.eps * (settings.far - settings.near)
    log_weight = (background_depth - depth) / (settings.gamma * (settings.far - settings.near))
    if options.distance != "hard":
        log_weight = log_weight + logsigmoid(x)
    face = face.detach()
    edges = face.roll(-1, 1)[..., :2] - face[..., :2]
    # Differences of corners and pixels are right to this, and distances to an edge with them.
    slack = METRIC_ROUNDINGS * unit * (1.0 + face[..., :2].abs().amax((1, 2)) + pixels.abs().max())
    # Barycentric coordinates move by 1 over a height of the triangle.
    steepness = edges.norm(dim=-1).amax(-1) / reference._cross(edges[:, 0], -edges[:, 2]).abs()
    span = face[..., 2].amax(1) - face[..., 2].amin(1)
    depth_slack = 32.0 * unit * face[..., 2].amax(1) + slack * steepness * span
    distance = distance2.detach().sqrt()
    if options.distance == "barycentric":
        distance = barycentric.detach().amin(-1).abs()
        # The kernels take these from float64 edge functions.
        slack = METRIC_ROUNDINGS * unit * distance
    return _Fragments(
        inside,
        distance,
        slack.expand_as(distance),
        x,
        kept,
        depth,
        depth_slack.expand_as(distance),
        weight,
        log_weight,
    )


def _sides(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def allowed_forward(case: Case) -> dict[str, Tensor]:
    """Allowed error of each output at each pixel. [B, H, W]

    alpha: the tolerance. image: the tolerance, times the attributes' range. depth: the tolerance,
    relative to `far`, its largest value. To these come two things that no implementation can avoid
    that is given rounded numbers, u being half a unit in the last place:

    - A depth z is right to a few u z, and the softmax has z / tau in it. Below gamma = 1e-3 in
      float32 that is more than the tolerance: COLOR_ROUNDINGS u z_max / tau. (A softmax
      of two moves by at most a quarter of the change of their difference: an error of e in both
      depths is e / (2 tau) in the colour.)
    - Barycentric coordinates are right to u over the height of the triangle, and D has
      w^2 / sigma in it. With the barycentric metric, slivers and small sigmas feel that.
    """
    tolerance = FORWARD_TOLERANCE[case.dtype]
    values = torch.cat(
        [case.soup.attributes.flatten().double(), torch.as_tensor(case.background).flatten()]
    )
    span = max(float(values.max() - values.min()), 1.0)
    softmax = COLOR_ROUNDINGS * case.depth_noise if case.options.color == "softmax" else 0.0
    in_alpha, in_image = [], []
    for corners in case.soup.corners.double():
        f = _fragments(corners, case, case.settings())
        metric = torch.zeros_like(f.x)
        if case.options.distance == "barycentric":
            metric = f.slack * 2.0 * f.distance / case.sigma
        gap = torch.sigmoid(-f.x)
        in_alpha.append((f.kept * torch.sigmoid(f.x) * gap * metric).sum(1))
        in_image.append((f.kept * f.weight * gap * metric).sum(1))
    shape = (len(in_alpha), *_sides(case.size))
    alpha_noise, image_noise = (torch.stack(n).reshape(shape) for n in (in_alpha, in_image))
    if case.options.color == "hard":
        image_noise = 0.0 * image_noise
    blended = tolerance + softmax + image_noise
    return {
        "image": (blended * span)[..., None],
        "alpha": tolerance + alpha_noise,
        "depth": blended * case.settings().far,
    }


def jumping_pixels(case: Case) -> Tensor:
    """Pixels where the formula itself jumps within the rounding of its arguments. [B, H, W]

    The cut-off (D falls from dist_eps to 0 there), the edge for choices that are hard there, and
    equal depths for color="hard". Everything else is continuous and must agree everywhere.
    """
    settings, options = case.settings(), case.options
    threshold = torch.logit(torch.tensor(1.0 - settings.dist_eps, dtype=torch.float64))
    reach = (threshold * case.sigma).sqrt()
    views = []
    for corners in case.soup.corners.double():
        f = _fragments(corners, case, settings)
        jumps = torch.zeros_like(f.inside)
        at_edge = f.distance < f.slack + (0.0 if options.distance == "barycentric" else 1e-6)
        if options.distance == "hard" or "hard" in (options.color, options.alpha):
            jumps |= at_edge
        if options.alpha == "hard":  # D > 1/2, up to the rounding of D
            jumps |= f.distance**2 < 8.0 * case.unit * case.sigma
        if options.distance != "hard":
            jumps |= ~f.inside & ((f.distance - reach).abs() < f.slack + 1e-5 * reach)
        unsure = jumps.any(1)
        if options.color == "hard" and f.depth.shape[1] > 1:
            order = torch.where(f.inside, f.depth, torch.inf).sort(1)
            slack = f.depth_slack.gather(1, order.indices)
            unsure |= (order.values.diff(dim=1) < slack[:, 1:] + slack[:, :-1]).any(1)
        views.append(unsure)
    return torch.stack(views).reshape(-1, *_sides(case.size))


def gradient_noise(case: Case, upstream: dict[str, Tensor]) -> dict[str, float]:
    """How far one rounding of a pixel's colour moves each gradient.

    The softmax's adjoint holds g . (C_j - image): a difference of colours, right to a rounding s =
    u |g| |C|, although it may vanish. It reaches the geometry times d(log weight), which
    has 1 / tau in it. So the noise is the gradient of sum_i s_i sum_j w_ij log weight_ij, w held.
    """
    noise = dict.fromkeys(("corners", "attributes", "background", "sigma", "gamma"), 0.0)
    if case.options.color != "softmax":
        return noise
    sigma, gamma = (
        torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for value in (case.sigma, case.gamma)
    )
    corners = case.soup.corners.double().requires_grad_()
    settings = case.settings(sigma=sigma, gamma=gamma)
    largest = float(torch.as_tensor(case.background).abs().max())
    if case.soup.attributes.numel():
        largest = max(largest, float(case.soup.attributes.abs().max()))
    rounding = case.unit * (
        upstream["image"].abs().sum(-1) * largest + upstream["depth"].abs() * settings.far
    )
    total = 0.0 * (sigma + gamma + corners.sum())
    for view, scale in zip(corners, rounding.flatten(1), strict=True):
        f = _fragments(view, case, settings)
        total = total + (scale[:, None] * f.weight * f.log_weight).sum()
    found = torch.autograd.grad(total, [corners, sigma, gamma])
    noise["corners"], noise["sigma"], noise["gamma"] = (float(g.norm()) for g in found)
    return noise
