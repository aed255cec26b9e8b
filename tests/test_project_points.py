"""The CPU's kernel from vertices to their projections does what torch's operations do."""

import math
from dataclasses import replace

import pytest
import torch

from taichi_softras import Camera, DerivativeError, Mesh, RasterSettings, render, runtime, triangles
from taichi_softras.torch_bridge import projection

pytestmark = [pytest.mark.xdist_group("renderer"), pytest.mark.usefixtures("on_cpu")]

SIZE = (48, 64)
NAMES = ("view_from_world", "focal", "center")


@pytest.fixture
def on_cpu(arch):
    if arch != "cpu":
        pytest.skip("other backends use torch's operations")


def soup(dtype, sets=0, vertices=40, faces=90, seed=0):
    """Random faces over random vertices: degenerate and doubled ones, vertices without a face."""
    rng = torch.Generator().manual_seed(seed)
    shape = (sets, vertices, 3) if sets else (vertices, 3)
    return Mesh(
        vertices=torch.rand(shape, dtype=dtype, generator=rng) - 0.5,
        faces=torch.randint(0, vertices - 3, (faces, 3), generator=rng),
    )


def cameras(dtype, count, **options):
    around = torch.linspace(10.0, 300.0, count, dtype=dtype)
    camera = Camera.orbit(3.0 + around / 300.0, 20.0, around, **options).to(dtype)
    return replace(camera, center=0.1 * torch.arange(2 * count, dtype=dtype).reshape(count, 2))


def with_gradients(mesh, camera, near=1.0):
    """Corners, and gradients of vertices and of the camera's tensors."""
    vertices = mesh.vertices.clone().requires_grad_()
    leaves = {name: getattr(camera, name).clone().requires_grad_() for name in NAMES}
    camera = replace(camera, **leaves)
    corners = triangles.project(mesh.replace(vertices=vertices), camera, SIZE, near).corners_ndc
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(corners.shape, dtype=corners.dtype, generator=rng)
    gradients = torch.autograd.grad(corners, [vertices, *leaves.values()], weights)
    return corners.detach(), *gradients


def compare(mesh, camera, monkeypatch, near=1.0, rtol=1e-12):
    """The kernel's results, once they are torch's as well."""
    assert projection.can_project(mesh.vertices.clone().requires_grad_(), camera)
    got = with_gradients(mesh, camera, near)
    with monkeypatch.context() as patch:
        patch.setattr(triangles, "can_project", lambda *_: False)
        wanted = with_gradients(mesh, camera, near)
    tolerance = rtol if mesh.vertices.dtype == torch.float64 else 2e-5
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))
    return got


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"orthographic_height": 2.0}], ids=["eye", "parallel"])
@pytest.mark.parametrize(("sets", "views"), [(0, 1), (0, 3), (1, 3), (3, 1), (3, 3)])
def test_corners_and_gradients_are_torchs(dtype, options, sets, views, monkeypatch):
    compare(soup(dtype, sets), cameras(dtype, views, **options), monkeypatch)


def test_threads_change_no_bit(monkeypatch):
    mesh, camera = soup(torch.float32, vertices=9000, faces=6000), cameras(torch.float32, 2)
    assert 2 * mesh.n_vertices > projection.PARALLEL
    shared = compare(mesh, camera, monkeypatch)
    monkeypatch.setattr(projection, "PARALLEL", 10**9)
    for a, b in zip(shared, with_gradients(mesh, camera), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_those_of_differences():
    mesh, camera = soup(torch.float64, vertices=9, faces=5), cameras(torch.float64, 2)

    def project(vertices, *values):
        moved = replace(camera, **dict(zip(NAMES, values, strict=True)))
        return projection.project_points(vertices, moved, SIZE)

    inputs = [mesh.vertices, *(getattr(camera, name) for name in NAMES)]
    assert torch.autograd.gradcheck(project, [t.clone().requires_grad_() for t in inputs])


def test_vertices_alone_get_the_same_gradient():
    mesh, camera = soup(torch.float32), cameras(torch.float32, 2)
    corners, d_vertices, *_ = with_gradients(mesh, camera)
    vertices = mesh.vertices.clone().requires_grad_()
    alone = mesh.at_corners(projection.project_points(vertices, camera, SIZE))
    weights = torch.randn(corners.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(alone, corners)
    # Another kernel, in which products and sums may be fused elsewhere.
    (got,) = torch.autograd.grad(alone, vertices, weights)
    torch.testing.assert_close(
        got, d_vertices, rtol=1e-6, atol=1e-6 * float(d_vertices.abs().max())
    )


def test_strided_vertices_are_read_right():
    mesh = soup(torch.float32)
    strided = mesh.vertices.T.contiguous().T
    assert not strided.is_contiguous()
    whole = with_gradients(mesh, cameras(torch.float32, 2))
    got = with_gradients(mesh.replace(vertices=strided), cameras(torch.float32, 2))
    for a, b in zip(whole, got, strict=True):
        assert torch.equal(a, b)


def test_a_vertex_in_the_eyes_plane_moves_nothing_with_its_depth(monkeypatch):
    mesh, camera = soup(torch.float64, vertices=9, faces=5), cameras(torch.float64, 1)
    vertices = mesh.vertices.clone()
    vertices[0] = camera.eye[0]
    # Its divisor is a float32 literal in the kernel.
    got = compare(mesh.replace(vertices=vertices), camera, monkeypatch, near=-math.inf, rtol=1e-7)
    assert all(value.isfinite().all() for value in got)


def test_a_vertex_that_is_not_finite_or_too_near_is_left_to_torch():
    vertices, camera = soup(torch.float32).vertices.requires_grad_(), cameras(torch.float32, 2)
    depths = projection.project_points(vertices, camera, SIZE)[..., 2]
    nearest = float(depths.detach().min())
    assert projection.project_points(vertices, camera, SIZE, nearest) is not None
    assert projection.project_points(vertices, camera, SIZE, nearest + 1e-3) is None
    for bad in (math.nan, math.inf, -math.inf):
        broken = vertices.detach().clone()
        broken[7, 1] = bad
        assert projection.project_points(broken.requires_grad_(), camera, SIZE) is None


def test_cameras_that_stay_are_laid_out_once_and_changed_ones_again():
    vertices = soup(torch.float32).vertices.requires_grad_()
    camera = replace(cameras(torch.float32, 2), focal=torch.ones(2, 2))
    first = projection._rows(camera, SIZE)
    assert projection._rows(camera, SIZE) is first
    assert not torch.equal(projection._rows(camera, SIZE[::-1]), first)
    before = projection.project_points(vertices, camera, SIZE)
    camera.focal.mul_(2.0)
    after = projection.project_points(vertices, camera, SIZE)
    centers = camera.center[:, None] * SIZE[0] / min(SIZE)
    torch.testing.assert_close(after[..., :2] - centers, 2.0 * (before[..., :2] - centers))
    learned = replace(camera, focal=torch.ones(2, 2, requires_grad=True))
    assert projection._rows(learned, SIZE) is not projection._rows(learned, SIZE)


def test_faces_without_vertices_and_meshes_without_faces():
    empty = Mesh(vertices=torch.rand(4, 3), faces=[])
    corners, d_vertices, *_ = with_gradients(empty, cameras(torch.float32, 2))
    assert corners.shape == (2, 0, 3, 3)
    assert not d_vertices.any()


def test_differentiating_twice_is_refused():
    vertices = soup(torch.float64).vertices.requires_grad_()
    points = projection.project_points(vertices, cameras(torch.float64, 1), SIZE)
    (first,) = torch.autograd.grad(points.square().sum(), vertices, create_graph=True)
    with pytest.raises(DerivativeError, match="first derivatives only"):
        first.sum().backward()


def test_render_takes_the_kernel_only_where_gradients_are_wanted(monkeypatch):
    calls = []
    real = triangles.project_points
    monkeypatch.setattr(triangles, "project_points", lambda *a: calls.append(a) or real(*a))
    mesh, camera = soup(torch.float32), cameras(torch.float32, 2)
    settings = RasterSettings(color="none", sigma=1e-3)
    plain = render(mesh, camera, 16, settings=settings).alpha
    assert not calls
    mesh.vertices.requires_grad_()
    with torch.no_grad():
        render(mesh, camera, 16, settings=settings)
    assert not calls
    learned = render(mesh, camera, 16, settings=settings).alpha
    assert len(calls) == 1
    torch.testing.assert_close(learned, plain, rtol=1e-4, atol=1e-4)


def test_distorted_cameras_and_compiled_graphs_keep_torchs_operations(monkeypatch):
    points = torch.rand(4, 3, requires_grad=True)
    camera = cameras(torch.float32, 1)
    assert projection.can_project(points, camera)
    bent = replace(camera, distortion=torch.zeros(1, 8))
    assert not projection.can_project(points, bent)
    monkeypatch.setattr(runtime, "backend", lambda: "vulkan")
    assert not projection.can_project(points, camera)
    monkeypatch.undo()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not projection.can_project(points, camera)
