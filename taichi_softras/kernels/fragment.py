"""One face at one pixel: the mathematics that every driver shares.

`fragment_functions` closes the choices that change code over the scalar functions of `triangle`,
`coverage` and `blending`. Drivers only loop. Symbols are those of docs/gradients.md.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels import blending, coverage, triangle
from taichi_softras.kernels.fused import fma
from taichi_softras.kernels.types import STATE, both, either, exp_negative, greater, lesser


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Everything that changes the compiled code of a rasterizer; the cache key of its kernels."""

    dtype: Any
    channels: int
    distance: str
    alpha: str
    color: str
    clip: str
    perspective: bool
    linear_depth: bool
    shows: str = ""
    """What colour leaves out but alpha counts: nothing, or "front", "back" or "both" sides of faces
    and then fragments between near and far only."""
    lookup: str = ""
    """How a texture is read, see `texture`; "" is none."""
    textured: int = 0
    """Channels that the texture multiplies, the first ones."""
    outlines: bool = False
    """Silhouettes of faces in an image with colour."""

    @property
    def position_dtype(self) -> Any:
        """Precision of pixel centres and edge functions.

        Barycentric coverage is exp(-w^2 / sigma) with w near 0 and sigma as small as 1e-6:
        float32's rounding of w, some 1e-7 over the triangle's height, would show in the image.
        """
        return ti.f64 if self.distance == "barycentric" else self.dtype

    @property
    def clamps(self) -> bool:
        """Whether attributes are read at clamped barycentric coordinates."""
        return self.clip == "clamp" and self.distance != "hard"

    @property
    def outline(self) -> "Variant":
        """For faces that only alpha feels: what they share with this one has the same bits."""
        colored = self.color != "none"
        return replace(self, color="none", channels=0, lookup="", textured=0, outlines=colored)

    @cached_property
    def slot_width(self) -> int:
        """Numbers in one gradient slot: x, y of three corners, then depths, then attributes."""
        return 6 if self.color == "none" else 9 + 3 * self.attributes

    @cached_property
    def attributes(self) -> int:
        """Numbers at a corner: the channels, then texture coordinates."""
        coordinates = {"": 0, "mipmap": 3}.get(self.lookup, 2)
        return self.channels + coordinates


def setup_choices(variant: Variant, cull: str) -> tuple[Any, ...]:
    """Return what of a variant matters to `setup.setup_functions`: its arguments."""
    return variant.dtype, variant.distance, cull, variant.shows != "", variant.attributes > 0


def state_planes(color: str) -> int:
    """Return how many numbers a pixel keeps for the adjoint, see `types.STATE`."""
    return STATE if color == "softmax" else 1


class FragmentFunctions(NamedTuple):
    """The functions of one variant; `place` and `blend` are the halves of `blend_in`."""

    locate: Any
    cover: Any
    read_at: Any
    shown: Any
    share: Any
    place: Any
    blend: Any
    blend_in: Any
    weigh: Any


@ti.func
def numbers_of(inverse_sigma, reach2, tau, inverse_tau, near, far):
    """What is the same in all pixels: see the kernels' parameters of these names."""
    return ti.Struct(
        inverse_sigma=inverse_sigma, reach2=reach2, tau=tau, inverse_tau=inverse_tau,
        near=near, far=far,
    )  # fmt: skip


@ti.func
def pixel_center(row, column, height, width, shorter):
    """NDC of a pixel; see docs/conventions.md."""
    x = (2 * column + 1 - width) / shorter
    y = (height - 1 - 2 * row) / shorter
    return x, y


@cache
def fragment_functions(variant: Variant) -> FragmentFunctions:
    """Return the fragment functions of `variant`."""
    exp_neg = exp_negative(variant.dtype)
    dtype, distance = variant.dtype, variant.distance
    alpha, color = variant.alpha, variant.color
    perspective, linear, shows = variant.perspective, variant.linear_depth, variant.shows
    # Eight roundings of the precision; only attributes feel which point is the nearest.
    rounding = 2.0**-20 if dtype == ti.f32 else 2.0**-49
    handicap = rounding if color != "none" or variant.outlines else 0.0
    # Who owns a pixel on an edge.
    jumps = "hard" in (distance, alpha, color)
    place_in = triangle.barycentric_watertight if jumps else triangle.barycentric

    @ti.func
    def locate(p_exact, face):
        """Place a pixel, whose centre comes in `variant.position_dtype`, relative to the face.

        Returns its spot:
            w0, w1, w2: barycentric coordinates; inside: all of them >= 0.
            edge, t, n_x, n_y: nearest boundary point and the vector from it to p.
            measure: squared distance in the variant's metric.
        """
        exact = variant.position_dtype
        v0, v1, v2 = place_in(
            p_exact,
            ti.cast(face.p0, exact),
            ti.cast(face.p1, exact),
            ti.cast(face.p2, exact),
            face.inverse_area2,
        )
        w0, w1, w2 = ti.cast(v0, dtype), ti.cast(v1, dtype), ti.cast(v2, dtype)
        p = ti.cast(p_exact, dtype)
        d = coverage.smallest_weight(w0, w1, w2)
        edge, t, n_x, n_y, measure = triangle.nearest_on_boundary(
            p, face.p0, face.p1, face.p2, face.inverse_length2, handicap
        )
        if ti.static(distance == "barycentric"):
            measure = d * d
        return ti.Struct(
            w0=w0, w1=w1, w2=w2, inside=d >= 0.0, edge=edge, t=t, n_x=n_x, n_y=n_y, measure=measure
        )

    @ti.func
    def cover(inside, measure, soft):
        """Whether the face counts here, x with D = sigmoid(x), D, 1 - D and D / exp(min(x, 0))."""
        zero, one = ti.cast(0.0, dtype), ti.cast(1.0, dtype)
        kept = inside
        x, full, gap, scale = zero, one, zero, one
        if ti.static(distance != "hard"):
            kept = either(inside, measure < soft.reach2)
            y = measure * soft.inverse_sigma
            x = ti.select(inside, y, -y)
            full, gap, scale = coverage.logistic(inside, exp_neg(y))
        return kept, x, full, gap, scale

    @ti.func
    def read_at(spot):
        """Barycentric coordinates where attributes are read, and 1 / sum of the clamped ones."""
        a0, a1, a2 = triangle.boundary_weights(spot.edge, spot.t)
        inverse_sum = spot.t
        if ti.static(variant.clamps):
            a0, a1, a2, inverse_sum = triangle.clamp_weights(spot.w0, spot.w1, spot.w2)
        else:
            a0 = ti.select(spot.inside, spot.w0, a0)
            a1 = ti.select(spot.inside, spot.w1, a1)
            a2 = ti.select(spot.inside, spot.w2, a2)
        return a0, a1, a2, inverse_sum

    @ti.func
    def shown(kept, face, depth, soft):
        """Whether colour and depth count the face, and a depth that is a number if they do not."""
        counts = kept
        if ti.static(shows != ""):
            counts = both(counts, both(depth >= soft.near, depth <= soft.far))
            if ti.static(shows != "both"):
                side = face.inverse_area2 > 0.0
                counts = both(counts, side if ti.static(shows == "front") else not side)
        return counts, ti.select(counts, depth, soft.far) if ti.static(shows != "") else depth

    @ti.func
    def share(shows_here, x, scale, depth, pixel, soft):
        """Return the face's weight in the pixel, from what the pixel was in the end."""
        weight = ti.cast(0.0, dtype)
        if ti.static(color == "softmax"):
            depth_soft = fma(-soft.tau, lesser(x, 0.0), depth)
            behind = greater((depth_soft - pixel.reference) * soft.inverse_tau, 0.0)
            share_of = scale * exp_neg(behind) * pixel.inverse_total
            weight = ti.select(shows_here, share_of, 0.0)
        else:
            weight = ti.select(both(shows_here, pixel.chosen), 1.0, 0.0)
        return weight

    @ti.func
    def place(p, face):
        """Find what a face is at a pixel.

        Returns:
            inside, measure: as of `locate`.
            depth, u0, u1, u2: its depth, and the weights of its corners' attributes.
        """
        zero = ti.cast(0.0, dtype)
        spot = locate(p, face)
        depth, u0, u1, u2 = zero, zero, zero, zero
        if ti.static(color != "none"):
            a0, a1, a2, _s = read_at(spot)
            depth, u0, u1, u2 = blending.interpolate(
                a0, a1, a2, face.z, face.r, perspective, linear
            )
        return spot.inside, spot.measure, depth, u0, u1, u2

    @ti.func
    def blend(inside, measure, fragment_depth, face, silhouette, reference, soft):
        """Add a face to a pixel's running sums; the first three are of `place`.

        Returns:
            silhouette, reference: the new ones. `reference` is the depth that softmax weights are
                relative to; with hard colour that of the nearest face so far.
            old, new: factors of the sums so far and of this face in them; front: whether this
                face is the nearest one so far; its depth.
        """
        zero, one = ti.cast(0.0, dtype), ti.cast(1.0, dtype)
        kept, x, full, gap, scale = cover(inside, measure, soft)
        covered = silhouette
        if ti.static(alpha == "prod"):
            covered = silhouette * ti.select(kept, gap, 1.0)
            # Flushed before it turns denormal, which is slow.
            covered = ti.select(covered > 1e-30, covered, 0.0)
        elif ti.static(alpha == "sum"):
            covered = silhouette + ti.select(kept, full, 0.0)
        else:
            covered = ti.select(both(kept, full > 0.5), 1.0, silhouette)
        nearer, old, new, front, depth = reference, one, zero, inside, fragment_depth
        if ti.static(color == "softmax"):
            counts, shown_depth = shown(kept, face, fragment_depth, soft)
            depth = shown_depth
            depth_soft = fma(-soft.tau, lesser(x, 0.0), depth)
            ahead = (reference - depth_soft) * soft.inverse_tau
            fade = exp_neg(ti.abs(ahead))
            front = both(counts, ahead > 0.0)
            old = ti.select(front, fade, 1.0)
            new = ti.select(counts, ti.select(front, scale, scale * fade), 0.0)
            nearer = ti.select(front, depth_soft, reference)
        elif ti.static(color == "hard"):
            counts, shown_depth = shown(inside, face, fragment_depth, soft)
            depth = shown_depth
            front = both(counts, depth < reference)
            old = ti.select(front, zero, one)
            new = ti.select(front, one, zero)
            nearer = ti.select(front, depth, reference)
        return covered, nearer, old, new, front, depth

    @ti.func
    def blend_in(p, face, silhouette, reference, soft):
        """Do both; returns what `blend` does, then u0, u1, u2."""
        inside, measure, fragment_depth, u0, u1, u2 = place(p, face)
        covered, nearer, old, new, front, depth = blend(
            inside, measure, fragment_depth, face, silhouette, reference, soft
        )
        return covered, nearer, old, new, front, depth, u0, u1, u2

    @ti.func
    def weigh(p, face, pixel, soft):
        """Return the face's weight in a pixel and the weights of its corners' attributes.

        Of the pixel as `fragment_adjoint.pull`; for what must be read before gradients are known.
        """
        spot = locate(p, face)
        kept, x, _full, _gap, scale = cover(spot.inside, spot.measure, soft)
        a0, a1, a2, _s = read_at(spot)
        depth, u0, u1, u2 = blending.interpolate(a0, a1, a2, face.z, face.r, perspective, linear)
        drawn = kept if ti.static(color == "softmax") else spot.inside
        counts, depth = shown(drawn, face, depth, soft)
        return share(counts, x, scale, depth, pixel, soft), u0, u1, u2

    return FragmentFunctions(locate, cover, read_at, shown, share, place, blend, blend_in, weigh)
