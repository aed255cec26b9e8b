"""The renderer as dense float64 torch, written to be read: specification and oracle of the kernels.

Every pixel meets every face, so time and memory are O(pixels x faces). Symbols and section
numbers are those of docs/gradients.md; `i` is a pixel, `j` a face, `k` a corner.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from taichi_softras.inputs import Rendering, pack_inputs
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces
from taichi_softras.texture_lookup import shade_fragments
from taichi_softras.texture_maps import FaceTexture


def rasterize(
    corners_ndc: Tensor,
    corner_attributes: Tensor | None = None,
    *,
    size: int | Sequence[int],
    settings: RasterSettings | None = None,
    background: float | Sequence[float] | Tensor | None = None,
    face_counts: Sequence[int] | None = None,
    faces: Tensor | None = None,
    orthographic: bool = False,
    texture: FaceTexture | None = None,
) -> Rendering:
    """Blend soft triangles into images; arguments and errors as `taichi_softras.rasterize`.

    Everything is computed and returned in float64, differentiable by torch's own autograd, as
    often as wanted.
    """
    settings = settings or RasterSettings()
    inputs = pack_inputs(
        corners_ndc,
        corner_attributes,
        size=size,
        settings=settings,
        background=background,
        face_counts=face_counts,
        faces=faces,
        texture=texture,
    )
    height, width = inputs.size
    pixels = pixel_centers(height, width).to(corners_ndc.device)
    n_views = inputs.views.shape[0]
    backgrounds = inputs.background.double().expand(-1, inputs.channels)
    backgrounds = (
        backgrounds.expand(n_views, height * width, -1)
        if inputs.background.shape[0] == 1
        else backgrounds.reshape(n_views, height * width, -1)
    )
    all_corners = inputs.corners
    images, alphas, depths, skipped = [], [], [], SkippedFaces()
    for (first, attribute_first, count), view_background in zip(
        inputs.views.tolist(), backgrounds, strict=True
    ):
        corners = all_corners[first : first + count]
        attributes = inputs.attributes[attribute_first : attribute_first + count]
        usable, view_skipped = usable_faces(corners, attributes, settings)
        skipped = SkippedFaces(*(a + b for a, b in zip(skipped, view_skipped, strict=True)))
        view_texture = inputs.texture
        if view_texture is not None:
            rows = view_texture.face_maps[attribute_first : attribute_first + count][usable]
            view_texture = replace(
                view_texture, texels=view_texture.texels.double(), face_maps=rows
            )
        image, alpha, depth = _rasterize_view(
            corners[usable].double(),
            attributes[usable].double(),
            pixels,
            view_background,
            settings,
            orthographic,
            view_texture,
        )
        images.append(image.reshape(height, width, -1))
        alphas.append(alpha.reshape(height, width))
        depths.append(depth.reshape(height, width))
    if settings.color == "none":
        return Rendering(None, torch.stack(alphas), None, skipped)
    return Rendering(torch.stack(images), torch.stack(alphas), torch.stack(depths), skipped)


def pixel_centers(height: int, width: int) -> Tensor:
    """NDC of the pixel centres, row by row from the top left. [H * W, 2]"""
    shorter = min(height, width)
    x = (2.0 * torch.arange(width, dtype=torch.float64) + 1.0 - width) / shorter
    y = (height - 1.0 - 2.0 * torch.arange(height, dtype=torch.float64)) / shorter
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).reshape(
        -1, 2
    )


def usable_faces(
    corners: Tensor, attributes: Tensor, settings: RasterSettings
) -> tuple[Tensor, SkippedFaces]:
    """Which faces can be rendered [F] bool, and how many cannot, by reason."""
    edges = corners.roll(-1, 1)[..., :2] - corners[..., :2]
    area2 = _cross(edges[:, 0], -edges[:, 2])
    longest2 = edges.square().sum(-1).amax(-1)
    finite = corners.isfinite().all(-1).all(-1) & attributes.isfinite().flatten(1).all(-1)
    # Squares of larger corners overflow in their precision.
    finite = finite & area2.isfinite() & longest2.isfinite()
    depth = corners[..., 2]
    behind = finite & ((depth == 0.0) if settings.unseen == "alpha" else (depth <= 0.0)).any(-1)
    # Below this the sign of the area is rounding noise.
    flat = area2.abs() <= 4.0 * torch.finfo(corners.dtype).eps * longest2
    degenerate = finite & ~behind & flat
    usable = finite & ~behind & ~degenerate
    if settings.cull != "none" and settings.unseen == "drop":
        usable = usable & ((area2 > 0.0) if settings.cull == "back" else (area2 < 0.0))
    counts = (int(mask.sum()) for mask in (~finite, behind, degenerate))
    return usable, SkippedFaces(*counts)


def _rasterize_view(
    corners: Tensor,  # [F, 3, 3]
    attributes: Tensor,  # [F, 3, C]
    pixels: Tensor,  # [P, 2]
    background: Tensor,  # [P, C]
    settings: RasterSettings,
    orthographic: bool,
    texture: FaceTexture | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One view: image [P, C], alpha [P], depth [P]."""
    inside, barycentric, nearest, distance2 = _geometry(corners[..., :2], pixels)
    x, kept = _softness(inside, barycentric, distance2, settings)
    alpha = _silhouette(x, kept, settings)
    weights_at_corner = _clip(inside, barycentric, nearest, settings)
    depth, color = _interpolate(
        weights_at_corner, corners[..., 2], attributes, settings, orthographic
    )
    if texture is not None:
        color = shade_fragments(texture, color)
    if settings.unseen == "alpha":
        shown = _shown(corners, depth, settings)
        kept, inside = kept & shown, inside & shown
        depth = torch.where(shown, depth, settings.far)
    blend = _blend_weights(x, kept, inside, depth, settings)  # [P, F + 1], background last
    image = torch.einsum("pf,pfc->pc", blend[:, :-1], color) + blend[:, -1:] * background
    soft_depth = (blend[:, :-1] * depth).sum(1) + blend[:, -1] * settings.far
    return image, alpha, soft_depth


def _geometry(corners: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where pixel i lies relative to face j.

    Returns:
        inside [P, F] bool, edges included; barycentric coordinates [P, F, 3]; barycentric
        coordinates of the nearest boundary point [P, F, 3]; squared distance to it [P, F].
    """
    edge = corners.roll(-1, 1) - corners  # e_k = P_{k+1} - P_k, [F, 3, 2]
    from_corner = pixels[:, None, None] - corners  # [P, F, 3, 2]
    area2 = _cross(edge[:, 0], -edge[:, 2])  # [F]
    # The sub-triangle at edge k is opposite to corner k + 2.
    barycentric = (_cross(edge, from_corner) / area2[:, None]).roll(-1, -1)
    inside = (barycentric >= 0.0).all(-1)
    along = (from_corner * edge).sum(-1) / edge.square().sum(-1)  # [P, F, 3]
    t = along.clamp(0.0, 1.0)
    to_edge = from_corner - t[..., None] * edge
    distance2, which = to_edge.square().sum(-1).min(-1)
    on_edge = torch.eye(3, dtype=corners.dtype, device=corners.device)
    t = t.gather(-1, which[..., None])
    nearest = (1.0 - t) * on_edge[which] + t * on_edge[(which + 1) % 3]
    return inside, barycentric, nearest, distance2


def _softness(
    inside: Tensor, barycentric: Tensor, distance2: Tensor, settings: RasterSettings
) -> tuple[Tensor, Tensor]:
    """Return x with D = sigmoid(x), and where D >= dist_eps. Both [P, F]; MATH section 2."""
    if settings.distance == "hard":
        return torch.zeros_like(distance2), inside
    if settings.distance == "barycentric":
        distance2 = barycentric.amin(-1).square()
    threshold = torch.logit(torch.tensor(1.0 - settings.dist_eps, dtype=torch.float64))
    sigma = settings.sigma
    kept = inside | (distance2.detach() < threshold * float(torch.as_tensor(sigma).detach()))
    return torch.where(inside, distance2, -distance2) / sigma, kept


def _silhouette(x: Tensor, kept: Tensor, settings: RasterSettings) -> Tensor:
    """Alpha [P]; MATH section 3."""
    zero = x.new_zeros(())
    if settings.distance == "hard":
        covered = kept.double().sum(1)
        return covered if settings.alpha == "sum" else covered.clamp(max=1.0)
    if settings.alpha == "hard":
        return (kept & (x > 0.0)).any(1).double()
    if settings.alpha == "sum":
        return torch.where(kept, torch.sigmoid(x), zero).sum(1)
    return -torch.expm1(torch.where(kept, logsigmoid(-x), zero).sum(1))


def _clip(inside: Tensor, barycentric: Tensor, nearest: Tensor, settings: RasterSettings) -> Tensor:
    """Barycentric coordinates at which attributes are read. [P, F, 3]"""
    if settings.clip == "nearest":
        return torch.where(inside[..., None], barycentric, nearest)
    clamped = barycentric.clamp(0.0, 1.0)
    return clamped / clamped.sum(-1, keepdim=True)


def _interpolate(
    at: Tensor, corner_depth: Tensor, attributes: Tensor, settings: RasterSettings, linear: bool
) -> tuple[Tensor, Tensor]:
    """Depth [P, F] and attributes [P, F, C] at barycentric coordinates `at`."""
    if linear:  # orthographic views: depth varies linearly over the screen
        return (at * corner_depth).sum(-1), torch.einsum("pfk,fkc->pfc", at, attributes)
    depth = 1.0 / (at / corner_depth).sum(-1)
    if settings.perspective_correct:
        at = at * depth[..., None] / corner_depth
    return depth, torch.einsum("pfk,fkc->pfc", at, attributes)


def _shown(corners: Tensor, depth: Tensor, settings: RasterSettings) -> Tensor:
    """What colour and depth count where alpha counts everything. [P, F]"""
    edges = corners.roll(-1, 1)[..., :2] - corners[..., :2]
    area2 = _cross(edges[:, 0], -edges[:, 2])
    shown = (depth >= settings.near) & (depth <= settings.far)
    if settings.cull == "none":
        return shown
    return shown & ((area2 > 0.0) if settings.cull == "back" else (area2 < 0.0))


def _blend_weights(
    x: Tensor, kept: Tensor, inside: Tensor, depth: Tensor, settings: RasterSettings
) -> Tensor:
    """Weights of the faces and, last, of the background. [P, F + 1]; MATH section 4."""
    n_pixels = x.shape[0]
    if settings.color == "hard":
        infinity = depth.new_tensor(float("inf"))
        behind_all = infinity.expand(n_pixels, 1)
        hidden = torch.cat([torch.where(inside, depth, infinity), behind_all], 1)
        first = hidden.detach().argmin(1)
        first = torch.where(inside.any(1), first, x.shape[1])
        return torch.nn.functional.one_hot(first, x.shape[1] + 1).to(x.dtype)
    log_coverage = torch.zeros_like(x) if settings.distance == "hard" else logsigmoid(x)
    # zn_j / gamma - eps / gamma, as one difference of depths.
    range_ = settings.far - settings.near
    background_depth = settings.far - settings.eps * range_
    logit = log_coverage + (background_depth - depth) / (range_ * settings.gamma)
    logit = torch.where(kept, logit, -torch.inf)
    return torch.softmax(torch.cat([logit, x.new_zeros((n_pixels, 1))], 1), 1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """z of the cross product of 2-d vectors. [..., 2] -> [...]"""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
