"""What the sum over faces is: nothing is cut off, capped or truncated; and where it tends to."""

import math
from itertools import pairwise

import pytest
import torch
from soups import Options, soup

from taichi_softras import RasterSettings, rasterize, reference
from taichi_softras.errors import ArgumentError

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float64")]


def pixel_triangle(distance, depth=2.0, dtype=torch.float64):
    """A large triangle left of the origin, whose right edge is `distance` away from it."""
    corners = [[-distance, -9.0, depth], [-distance, 9.0, depth], [-9.0, 0.0, depth]]
    return torch.tensor(corners, dtype=dtype)


def test_a_smaller_cutoff_only_comes_nearer_to_the_full_sum():
    triangles = soup(2, 30)
    whole = reference.rasterize(
        *triangles, size=9, settings=Options().settings(sigma=1e-2, gamma=0.1, dist_eps=0.0)
    )
    errors = []
    for dist_eps in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9, 0.0):
        settings = Options().settings(sigma=1e-2, gamma=0.1, dist_eps=dist_eps)
        out = rasterize(*triangles, size=9, settings=settings)
        errors.append(
            torch.stack(
                [
                    (out.alpha - whole.alpha).abs().max(),
                    (out.image - whole.image).abs().max(),
                    (out.depth - whole.depth).abs().max(),
                ]
            )
        )
    for previous, now in pairwise(errors):
        assert (now <= previous).all()
    assert errors[-2].max() < 1e-6  # 30 faces of at most 1e-9, some in front by exp(1 / gamma)
    assert errors[-1].max() < 1e-12  # nothing left out, only rounding


def test_without_cutoff_every_face_reaches_every_pixel():
    triangles = soup(4, 5)
    settings = Options().settings(sigma=0.5, gamma=0.5, dist_eps=0.0)
    attributes = triangles.attributes.requires_grad_()
    rasterize(triangles.corners, attributes, size=20, settings=settings).image[
        0, 0, 0, 0
    ].backward()
    assert (attributes.grad[..., 0].abs().sum(-1) > 0.0).all()


@pytest.mark.parametrize(
    ("dtype", "tolerance", "gradient_tolerance"),
    [(torch.float64, 1e-10, 1e-7), (torch.float32, 2e-5, 1e-3)],
    ids=["float64", "float32"],
)
def test_5000_faces_over_one_pixel_all_count(dtype, tolerance, gradient_tolerance):
    n, sigma, gamma, distance = 5000, 1e-2, 0.1, 0.25
    corners = pixel_triangle(distance, dtype=dtype).expand(1, n, 3, 3)
    rng = torch.Generator().manual_seed(1)
    colors = torch.rand(n, 1, dtype=torch.float64, generator=rng)
    attributes = colors[:, None].expand(n, 3, 1).to(dtype).requires_grad_()
    settings = RasterSettings(sigma=sigma, gamma=gamma, dist_eps=1e-6, near=1.0, far=10.0)
    out = rasterize(corners, attributes, size=1, settings=settings, background=0.25)
    coverage = 1.0 / (1.0 + math.exp(distance**2 / sigma))
    assert abs(out.alpha.item() - (1.0 - (1.0 - coverage) ** n)) < tolerance
    nearness = (10.0 - 2.0) / 9.0
    face = coverage * math.exp((nearness - 1e-3) / gamma)
    expected = (face * float(colors.sum()) + 0.25) / (n * face + 1.0)
    assert abs(out.image.item() - expected) < tolerance
    assert abs(out.depth.item() - (n * face * 2.0 + 10.0) / (n * face + 1.0)) < 10.0 * tolerance
    out.image.sum().backward()
    # Every face's colour has the same weight.
    expected = torch.full((n,), face / (n * face + 1.0), dtype=dtype)
    torch.testing.assert_close(
        attributes.grad.sum((1, 2)), expected, rtol=gradient_tolerance, atol=0.0
    )


@pytest.mark.filterwarnings("error")  # Taichi complains about long unrolled loops
@pytest.mark.parametrize("channels", [1, 8, 9, 32, 37])
def test_channels_do_not_feel_each_other(channels):
    triangles = soup(6, 12, views=2, channels=channels)
    rng = torch.Generator().manual_seed(7)
    background = torch.rand(channels, dtype=torch.float64, generator=rng).requires_grad_()
    upstream = torch.randn(2, 9, 9, channels, dtype=torch.float64, generator=rng)
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    corners, attributes = (t.requires_grad_() for t in triangles)
    given = (corners, attributes, background)

    def gradients(out):
        return torch.autograd.grad((out.image * upstream).sum(), given)

    ours = rasterize(corners, attributes, size=9, settings=settings, background=background)
    whole = reference.rasterize(
        corners, attributes, size=9, settings=settings, background=background
    )
    torch.testing.assert_close(ours.image, whole.image, rtol=0.0, atol=1e-9)
    torch.testing.assert_close(ours.alpha, whole.alpha, rtol=0.0, atol=1e-9)
    for mine, wanted in zip(gradients(ours), gradients(whole), strict=True):
        assert (mine - wanted).norm() < 1e-7 * wanted.norm()
    last = rasterize(
        corners, attributes[..., -1:], size=9, settings=settings, background=background[-1:]
    )
    torch.testing.assert_close(last.image[..., 0], ours.image[..., -1], rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    "attributes",
    [None, torch.zeros(1, 4, 3, 0, dtype=torch.float64)],
    ids=["None", "no channels"],
)
def test_without_attributes_alpha_and_depth_are_rendered(attributes):
    corners = soup(8, 4).corners.requires_grad_()
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    out = rasterize(corners, attributes, size=9, settings=settings)
    colored = rasterize(corners, soup(8, 4).attributes, size=9, settings=settings)
    assert out.image.shape == (1, 9, 9, 0)
    torch.testing.assert_close(out.alpha, colored.alpha)
    torch.testing.assert_close(out.depth, colored.depth)
    (mine,) = torch.autograd.grad(out.depth.sum(), corners)
    (wanted,) = torch.autograd.grad(colored.depth.sum(), corners)
    torch.testing.assert_close(mine, wanted)


def central_difference(loss, corners, step):
    """Fourth-order differences of a scalar in every coordinate."""
    slope = torch.zeros_like(corners)
    for i in range(corners.numel()):
        offset = torch.zeros_like(corners)
        offset.view(-1)[i] = step
        near = loss(corners + offset) - loss(corners - offset)
        far = loss(corners + 2.0 * offset) - loss(corners - 2.0 * offset)
        slope.view(-1)[i] = (8.0 * near - far) / (12.0 * step)
    return slope


FLANK = [[[-3.0, -2.0, 3.0], [3.0, -2.0, 2.5], [0.1, 3.0, 4.0]]]
SHAPES = {
    # A face over all pixels in each scene, so that the others blend with something.
    "ordinary": ([[[-0.6, -0.5, 2.0], [0.7, -0.3, 3.0], [0.05, 0.8, 2.5]]], 1e-4),
    # The pixel at the image's centre lies inside, half a millionth from the long edges.
    "sliver": ([[[-0.7, -5e-7, 2.0], [0.7, -5e-7, 3.0], [0.1, 7e-7, 2.4]]], 3e-10),
    # Seen at an angle of 1e-4: narrow on the screen, long in depth.
    "edge-on": ([[[-0.71, 0.0, 1.5], [0.69, 1e-4, 2.1], [0.02, -1e-4, 8.5]]], 3e-8),
}


@pytest.mark.parametrize("clip", ["nearest", "clamp"])
@pytest.mark.parametrize("shape", SHAPES)
def test_colour_alone_moves_the_geometry_as_it_should(shape, clip):
    faces, step = SHAPES[shape]
    rng = torch.Generator().manual_seed(5)
    corners = torch.tensor([faces + FLANK], dtype=torch.float64)
    attributes = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=rng)
    weight = torch.randn(1, 9, 9, 3, dtype=torch.float64, generator=rng)
    settings = Options(clip=clip).settings(sigma=1e-2, gamma=0.3, dist_eps=1e-13)

    def loss(moved):
        return (rasterize(moved, attributes, size=9, settings=settings).image * weight).sum()

    leaf = corners.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    # The other face's step may be as small: its gradient is compared with its own norm too.
    expected = central_difference(loss, corners, step)
    assert (gradient - expected)[:, :1].norm() < 1e-5 * expected[:, :1].norm()
    assert gradient.isfinite().all()


def away_from_edges(corners, size, margin):
    """Pixels farther than `margin` from every edge, with depths that differ by `margin`."""
    inside, barycentric, _, distance2 = reference._geometry(
        corners[0, :, :, :2], reference.pixel_centers(size, size)
    )
    depth = 1.0 / (barycentric / corners[0, :, :, 2]).sum(-1)
    order = torch.where(inside, depth, torch.inf).sort(1).values
    return ((distance2 > margin**2).all(1) & ~(order.diff(dim=1) < margin).any(1)).reshape(
        1, size, size
    )


def test_small_sigma_and_gamma_tend_to_the_z_buffer():
    triangles = soup(9, 40)
    sure = away_from_edges(triangles.corners, 32, 1e-2)
    assert sure.double().mean() > 0.3
    hard = rasterize(
        *triangles, size=32, settings=Options("hard", "hard", "hard").settings(), background=0.5
    )
    errors = []
    for sharpness in (1e-3, 1e-4, 1e-6):
        settings = Options().settings(sigma=sharpness, gamma=sharpness)
        soft = rasterize(*triangles, size=32, settings=settings, background=0.5)
        errors.append(
            max(
                float((soft.alpha - hard.alpha)[sure].abs().max()),
                float((soft.image - hard.image)[sure].abs().max()),
                float((soft.depth - hard.depth)[sure].abs().max()),
            )
        )
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


def test_a_million_tile_entries_all_count(arch):
    """Large lists: every face in every tile, one pixel a tile to keep the reference small."""
    views, faces = 256, 4096
    triangles = soup(3, faces, views=views, dtype=torch.float32)
    settings = Options(color="none").settings(sigma=0.5, dist_eps=1e-4)
    corners = triangles.corners.requires_grad_()
    out = rasterize(corners, size=1, settings=settings)
    (gradient,) = torch.autograd.grad(out.alpha.sum(), corners)
    assert (out.alpha == 1.0).all()
    assert gradient.isfinite().all()
    softer = Options(color="none", alpha="sum").settings(sigma=0.5, dist_eps=1e-4)
    found = rasterize(corners, size=1, settings=softer).alpha
    (mine,) = torch.autograd.grad(found.sum(), corners)
    wanted = reference.rasterize(corners, size=1, settings=softer).alpha
    (theirs,) = torch.autograd.grad(wanted.sum(), corners)
    assert wanted.min() > 1000.0, "thousands of faces count at every pixel"
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-5, atol=0.0)
    assert (mine - theirs).norm() < 1e-4 * theirs.norm()


def test_tiles_beyond_three_digits_of_the_sort_are_listed_right(arch):
    triangles = soup(3, 12)
    settings = Options(color="none").settings(sigma=1e-5)
    size = (520, 600)  # 4875 tiles
    alpha = rasterize(triangles.corners, size=size, settings=settings).alpha
    wanted = reference.rasterize(triangles.corners, size=size, settings=settings).alpha
    assert (alpha - wanted).abs().max() < 1e-9


def test_no_face_at_all_leaves_the_background(arch):
    corners = torch.zeros(2, 0, 3, 3, requires_grad=True)
    attributes = torch.zeros(2, 0, 3, 2, requires_grad=True)
    background = torch.tensor([0.25, 0.5], requires_grad=True)
    out = rasterize(corners, attributes, size=9, background=background)
    assert (out.image == background).all()
    assert (out.alpha == 0.0).all()
    loss = out.image.sum() + out.alpha.sum() + out.depth.sum()
    gradients = torch.autograd.grad(loss, [corners, attributes, background])
    assert gradients[0].shape == corners.shape
    assert gradients[1].shape == attributes.shape
    assert gradients[2].tolist() == [162.0, 162.0]


@pytest.mark.parametrize("color", ["softmax", "hard", "none"])
@pytest.mark.parametrize("rows", ["one", "image"])
def test_tiles_without_faces_pull_back_what_they_show(arch, color, rows):
    size, views = (40, 57), 2  # whole tiles and parts of some, most of them empty
    rng = torch.Generator().manual_seed(4)
    triangles = soup(8, 5, views=views, spread=0.3)
    corners = triangles.corners * torch.tensor([0.4, 0.4, 1.0], dtype=torch.float64)
    weights = [torch.rand(views, *size, n, dtype=torch.float64, generator=rng) for n in (3, 1, 1)]
    behind = torch.rand(*((views, *size) if rows == "image" else ()), 3, dtype=torch.float64)
    found = []
    for draw in (rasterize, reference.rasterize):
        given = [t.clone().requires_grad_() for t in (corners, triangles.attributes, behind)]
        softness = [torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (1e-3, 0.05)]
        settings = Options(color=color).settings(sigma=softness[0], gamma=softness[1])
        out = draw(*given[:2], size=size, settings=settings, background=given[2])
        assert (out.alpha == 0.0).sum() > 2000
        loss = (out.alpha * weights[1][..., 0]).sum()
        if color != "none":
            loss = loss + (out.image * weights[0]).sum() + (out.depth * weights[2][..., 0]).sum()
        found.append(torch.autograd.grad(loss, (*given, *softness), materialize_grads=True))
    for mine, wanted in zip(*found, strict=True):
        assert (mine - wanted).abs().max() <= 1e-7 * (1.0 + wanted.abs().max())


def test_more_numbers_than_there_are_places_are_refused():
    corners = torch.zeros(1, 1, 3, 3)
    for color, size in (("none", (2**15, 2**15 + 1)), ("softmax", (2**15, 10923))):
        with pytest.raises(ArgumentError, match=f"`size` {size[0]} x {size[1]} with 1 views"):
            rasterize(corners, size=size, settings=RasterSettings(color=color))


@pytest.mark.parametrize("choices", [{"color": "hard"}, {"color": "none", "distance": "hard"}])
def test_no_pixel_falls_between_two_triangles(choices):
    # Corners at centres of pixels, so that common edges run through others.
    size, n = 60, 400
    at = torch.randint(0, size, (4, n, 2), generator=torch.Generator().manual_seed(0))
    a, b, c, d = at
    left, right = ((x - a)[:, 1] * (b - a)[:, 0] - (x - a)[:, 0] * (b - a)[:, 1] for x in (c, d))
    a, b, c, d = at[:, (left > 0) & (right < 0)]
    ndc = [(2.0 * x + 1 - size) / size * torch.tensor([1.0, -1.0]) for x in (a, b, c, d)]
    points = [torch.cat([x, torch.full_like(x[:, :1], 2.0)], dim=1) for x in ndc]
    corners = torch.stack(
        [torch.stack([points[k] for k in f], 1) for f in ((0, 1, 2), (1, 0, 3))], 1
    )
    settings = RasterSettings(**choices)
    colors = None if settings.color == "none" else torch.ones(len(a), 2, 3, 1)
    out = rasterize(corners, colors, size=size, settings=settings)
    shown = out.alpha if colors is None else out.image[..., 0]
    on_edges = 0
    for view, (start, end) in enumerate(zip(a, b, strict=True)):
        steps = math.gcd(*(end - start).tolist())
        for step in range(1, steps):
            column, row = (start + (end - start) * step // steps).tolist()
            on_edges += 1
            assert shown[view, row, column] == 1.0
    assert on_edges > 100
