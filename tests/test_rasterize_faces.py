"""Vertices with faces give what their corners give: images to the bit, gradients at vertices."""

import pytest
import torch
from soups import Options

import taichi_softras as tsr
from taichi_softras import ArgumentError, ShapeError, pipeline

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("rasterize")]

SIZE = (21, 37)
OPTIONS = [Options(), Options(color="hard"), Options(color="none"), Options("barycentric")]


def scene(views=2, vertices=30, faces=50, seed=0, channels=3):
    """Faces that share vertices; some name one twice, some vertices have no face."""
    rng = torch.Generator().manual_seed(seed)
    points = 2.4 * torch.rand(views, vertices, 3, generator=rng) - 1.2
    points[..., 2] += 3.0
    indices = torch.randint(0, vertices - 2, (faces, 3), generator=rng)
    return points, indices, torch.rand(faces, 3, channels, generator=rng)


def rendered(points, faces, attributes, options, rasterizer=tsr.rasterize, indexed=True, **more):
    """Outputs, and gradients of points and attributes for random ones of the outputs."""
    points, attributes = (t.clone().requires_grad_() for t in (points, attributes))
    given = (points, {"faces": faces}) if indexed else (points[:, faces], {})
    out = rasterizer(
        given[0], attributes, size=SIZE, settings=options.settings(sigma=3e-3, gamma=1e-2),
        **given[1], **more,
    )  # fmt: skip
    images = [image for image in (out.alpha, out.image, out.depth) if image is not None]
    rng = torch.Generator().manual_seed(5)
    loss = sum((image * torch.rand(image.shape, generator=rng)).sum() for image in images)
    gradients = torch.autograd.grad(loss, [points, attributes], allow_unused=True)
    return images, [g for g in gradients if g is not None], out.skipped


@pytest.mark.parametrize("options", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("views", [1, 3])
def test_as_their_corners(options, views):
    points, faces, attributes = scene(views)
    images, gradients, skipped = rendered(points, faces, attributes, options)
    others = rendered(points, faces, attributes, options, indexed=False)
    assert skipped == others[2]
    for a, b in zip(images, others[0], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(gradients, others[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6 * float(b.abs().max()))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda option: option.name)
def test_as_the_reference(options):
    points, faces, attributes = scene()
    images, gradients, _ = rendered(points, faces, attributes, options)
    wanted = rendered(points, faces, attributes, options, tsr.reference.rasterize)
    for a, b in zip(images + gradients, wanted[0] + wanted[1], strict=True):
        scale = float(b.detach().abs().max())
        torch.testing.assert_close(a.double(), b.double(), rtol=2e-3, atol=2e-4 * scale)


def test_lists_in_bands_change_no_bit(monkeypatch):
    points, faces, attributes = scene()
    whole = rendered(points, faces, attributes, Options())
    monkeypatch.setattr(pipeline.binning, "MOST_ENTRIES", 60)
    monkeypatch.setattr(pipeline.leases, "_waiting", [])
    monkeypatch.setattr(pipeline.workspace, "_rooms", {})
    parts = rendered(points, faces, attributes, Options())
    for a, b in zip(whole[0] + whole[1][:1], parts[0] + parts[1][:1], strict=True):
        assert torch.equal(a, b)


def test_one_broken_vertex_takes_its_faces_alone():
    points, faces, attributes = scene(1)
    points[0, 3] = torch.nan
    _, (d_points, _), skipped = rendered(points, faces, attributes, Options())
    assert skipped.non_finite == int((faces == 3).any(1).sum()) > 0
    assert d_points.isfinite().all()
    assert d_points.any()
    assert not d_points[0, 3].any()


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_faces_of_any_integer(dtype):
    points, faces, attributes = scene()
    wanted = rendered(points, faces, attributes, Options())
    got = rendered(points, faces.to(dtype), attributes, Options())
    for a, b in zip(wanted[0] + wanted[1], got[0] + got[1], strict=True):
        assert torch.equal(a, b)


def test_faces_changed_in_place_are_seen_and_refused_in_between():
    points, faces, _ = scene()
    points.requires_grad_()
    settings = Options(color="none").settings(sigma=3e-3)
    before = tsr.rasterize(points, size=SIZE, settings=settings, faces=faces)
    faces[0] = faces[1]
    after = tsr.rasterize(points, size=SIZE, settings=settings, faces=faces)
    wanted = tsr.rasterize(points[:, faces], size=SIZE, settings=settings)
    assert torch.equal(after.alpha, wanted.alpha)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        before.alpha.sum().backward()


def test_no_faces_and_no_vertices():
    points = torch.rand(2, 4, 3, requires_grad=True)
    none = torch.zeros(0, 3, dtype=torch.int64)
    out = tsr.rasterize(points, size=SIZE, faces=none)
    assert not out.alpha.any()
    out.alpha.sum().backward()
    assert torch.equal(points.grad, torch.zeros_like(points))
    assert not tsr.rasterize(torch.rand(2, 0, 3), size=SIZE, faces=none).alpha.any()


@pytest.mark.parametrize("rasterizer", [tsr.rasterize, tsr.reference.rasterize])
def test_wrong_faces_are_named(rasterizer):
    points, faces, _ = scene()

    def refused(error, wanted, **arguments):
        with pytest.raises(error, match=wanted):
            rasterizer(points, size=SIZE, **{"faces": faces, **arguments})

    one_too_far = torch.tensor([[0, 1, 30]])
    refused(ArgumentError, r"`faces` must name vertices 0 to 29 .*, got 0 to 30", faces=one_too_far)
    refused(ArgumentError, r"got -1 to 2", faces=torch.tensor([[-1, 1, 2]]))
    refused(ArgumentError, r"`faces` must be an integer tensor .*float32", faces=faces.float())
    refused(ArgumentError, r"`faces` must be an integer tensor .*, got list", faces=faces.tolist())
    refused(ArgumentError, r"got torch.uint16 on cpu", faces=faces.to(torch.uint16))
    refused(ShapeError, r"`faces` must have shape \[F, 3\]", faces=faces[:, :2])
    refused(ArgumentError, r"`face_counts` cannot be given too", face_counts=[25, 25])
    with pytest.raises(ShapeError, match=r"`corners_ndc` must have shape \[B, V, 3\]"):
        rasterizer(points[:, faces], size=SIZE, faces=faces)


def test_compiled_graphs_gather_the_corners():
    points, faces, attributes = scene()
    settings = Options().settings(sigma=3e-3)

    def draw(points):
        return tsr.rasterize(points, attributes, size=SIZE, settings=settings, faces=faces).image

    torch.testing.assert_close(torch.compile(draw, backend="eager")(points), draw(points))
