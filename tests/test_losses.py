import math

import pytest
import torch

from taichi_softras import shapes, topology
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.losses import (
    edge_length,
    flatten,
    laplacian,
    normal_consistency,
    photometric,
    silhouette_iou,
)
from taichi_softras.mesh import Mesh

REGULARISERS = [laplacian, flatten, edge_length, normal_consistency]


def hinge(degrees, flip=False):
    """Two faces that meet at the edge 0-1 under a dihedral angle; 180 is flat."""
    angle = math.radians(degrees)
    wing = (math.cos(angle), math.sin(angle), 0.0)
    vertices = torch.tensor([(0, 0, -1), (0, 0, 1), (1, 0, 0), wing], dtype=torch.float64)
    return Mesh(vertices=vertices, faces=[[0, 1, 2], [0, 1, 3] if flip else [1, 0, 3]])


def bumpy(level=1, seed=0):
    mesh = shapes.icosphere(level).to(torch.float64)
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(seed))
    return mesh.replace(vertices=mesh.vertices + 0.1 * noise)


def test_iou_counts_pixels_of_hard_masks():
    left, right = torch.zeros(4, 4), torch.zeros(4, 4)
    left[:, :3], right[:, 1:] = 1.0, 1.0  # 8 shared of 16
    assert silhouette_iou(left, right) == pytest.approx(0.5)
    assert silhouette_iou(left, left) == pytest.approx(0.0)
    assert silhouette_iou(left, 1.0 - left) == pytest.approx(1.0)


def test_iou_of_soft_masks_follows_the_paper_and_averages_views():
    p, t = torch.tensor([[[0.5, 0.25]], [[1.0, 0.0]]]), torch.tensor([[[1.0, 0.5]], [[1.0, 0.0]]])
    first = 1 - (0.5 + 0.125) / (1.0 + 0.625)
    assert silhouette_iou(p, t) == pytest.approx((first + 0.0) / 2)


def test_two_empty_silhouettes_are_the_same_and_have_a_gradient():
    alpha = torch.zeros(2, 3, 3, requires_grad=True)
    loss = silhouette_iou(alpha, torch.zeros(2, 3, 3))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(alpha.grad).all()
    assert silhouette_iou(torch.zeros(0, 3, 3), torch.zeros(0, 3, 3)) == 0


def test_iou_gradient_matches_finite_differences():
    generator = torch.Generator().manual_seed(0)
    alpha, target = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda a: silhouette_iou(a, target), alpha.requires_grad_())


def test_iou_refuses_other_shapes():
    with pytest.raises(ShapeError, match="`alpha` and `target`"):
        silhouette_iou(torch.zeros(2, 4, 4), torch.zeros(4, 4))


def test_photometric_averages_differences():
    image, target = torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3)
    target[0, 0, 0] = torch.tensor([3.0, 0.0, -6.0])
    assert photometric(image, target) == pytest.approx(9 / 12)
    assert photometric(image, target, norm="l2") == pytest.approx(45 / 12)
    mask = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert photometric(image, target, mask) == pytest.approx(3 / 2)
    assert photometric(image, target, mask.bool()) == pytest.approx(3 / 2)
    assert photometric(image, target[0], 0.5 * mask) == pytest.approx(3 / 2)


def test_masked_pixels_may_be_nan():
    image = torch.zeros(1, 1, 2, 3, requires_grad=True)
    target = torch.tensor([math.nan, 1.0])[None, None, :, None].expand(1, 1, 2, 3)
    loss = photometric(image, target, torch.tensor([[[0.0, 1.0]]]))
    loss.backward()
    assert loss == 1
    assert torch.isfinite(image.grad).all()
    assert photometric(image, target, torch.zeros(1, 1, 2)) == 0


def test_photometric_refuses_other_shapes_and_norms():
    image = torch.zeros(2, 4, 4, 3)
    with pytest.raises(ShapeError, match="`target`"):
        photometric(image, torch.zeros(2, 4, 4, 4))
    with pytest.raises(ShapeError, match="`target`"):
        photometric(image[0], image)
    with pytest.raises(ShapeError, match="`mask`"):
        photometric(image, image, torch.zeros(2, 4, 4, 3))
    with pytest.raises(ArgumentError, match="`norm`"):
        photometric(image, image, norm="l3")


def test_laplacian_matches_a_loop_over_neighbours():
    mesh = bumpy()
    neighbours = {v: set() for v in range(mesh.n_vertices)}
    for a, b, c in mesh.faces.tolist():
        neighbours[a] |= {b, c}
        neighbours[b] |= {a, c}
        neighbours[c] |= {a, b}
    x = mesh.vertices
    expected = sum((x[v] - x[list(n)].mean(0)).square().sum() for v, n in neighbours.items())
    torch.testing.assert_close(laplacian(mesh), expected)


def test_isolated_vertices_add_nothing_to_the_laplacian():
    mesh = bumpy()
    more = mesh.replace(vertices=torch.cat([mesh.vertices, mesh.vertices[:1] + 5]))
    torch.testing.assert_close(laplacian(more), laplacian(mesh))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [180.0, 150.0, 90.0, 30.0])
def test_flatten_and_consistency_see_the_dihedral_angle_whatever_the_orientation(degrees, flip):
    mesh = hinge(degrees, flip)
    cosine = math.cos(math.radians(degrees))
    assert float(flatten(mesh)) == pytest.approx((cosine + 1) ** 2, abs=1e-12)
    assert float(normal_consistency(mesh)) == pytest.approx(1 + cosine, abs=1e-12)


def test_flatten_of_a_cube_counts_its_twelve_sharp_edges():
    cube = shapes.cube()
    assert float(flatten(cube)) == pytest.approx(12.0, abs=1e-5)
    assert float(normal_consistency(cube)) == pytest.approx(12 / 18, abs=1e-6)


def test_flat_open_surfaces_cost_nothing():
    mesh = shapes.plane(cells=3)
    assert float(flatten(mesh)) == pytest.approx(0.0, abs=1e-9)
    assert float(normal_consistency(mesh)) == pytest.approx(0.0, abs=1e-6)


def test_three_faces_at_one_edge_make_three_angles():
    mesh = hinge(180.0)
    vertices = torch.cat([mesh.vertices, torch.tensor([[0.0, 1.0, 0.0]]).double()])
    fan = Mesh(vertices=vertices, faces=[[0, 1, 2], [1, 0, 3], [0, 1, 4]])  # 180, 90 and 90
    assert float(flatten(fan)) == pytest.approx(2.0, abs=1e-12)
    assert float(normal_consistency(fan)) == pytest.approx(2 / 3, abs=1e-12)


def test_edge_length_is_the_mean_square_of_each_edge_once():
    mesh = Mesh(vertices=[[0.0, 0, 0], [3, 0, 0], [0, 4, 0]], faces=[[0, 1, 2], [0, 2, 1]])
    assert float(edge_length(mesh)) == pytest.approx((9 + 16 + 25) / 3)
    assert float(edge_length(mesh, 4.0)) == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize("loss", REGULARISERS)
def test_a_batch_of_three_is_the_mean_of_three_meshes(loss):
    meshes = [bumpy(seed=i) for i in range(3)]
    batch = meshes[0].replace(vertices=torch.stack([m.vertices for m in meshes]))
    torch.testing.assert_close(loss(batch), sum(loss(m) for m in meshes) / 3)


@pytest.mark.parametrize("loss", REGULARISERS)
def test_gradients_match_finite_differences_on_an_open_non_manifold_mesh(loss):
    mesh = bumpy(0)
    faces = torch.cat([mesh.faces[2:], torch.tensor([[4, 9, 0], [9, 5, 2]])])
    vertices = mesh.vertices.expand(3, -1, -1).clone()
    vertices[1] *= 2.0
    assert torch.autograd.gradcheck(
        lambda v: loss(Mesh(vertices=v, faces=faces)), vertices.requires_grad_()
    )


@pytest.mark.parametrize("loss", [*REGULARISERS, lambda mesh: edge_length(mesh, 0.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_faces_give_finite_values_and_gradients(loss, dtype):
    line = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1e-9, 0]]
    faces = [[0, 1, 2], [1, 0, 3], [3, 4, 0], [3, 3, 5], [1, 1, 1], [0, 1, 6], [0, 5, 1]]
    vertices = torch.tensor(line, dtype=dtype, requires_grad=True)
    value = loss(Mesh(vertices=vertices, faces=faces))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(vertices.grad).all()


@pytest.mark.parametrize("loss", [flatten, normal_consistency])
def test_faces_with_non_finite_corners_are_skipped(loss):
    mesh = hinge(90.0)
    bad = torch.tensor([[math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0]]).double()
    vertices = torch.cat([mesh.vertices, bad]).requires_grad_()
    value = loss(Mesh(vertices=vertices, faces=[*mesh.faces.tolist(), [0, 2, 4], [1, 3, 5]]))
    value.backward()
    torch.testing.assert_close(value.detach(), loss(mesh))
    assert torch.isfinite(vertices.grad).all()


@pytest.mark.parametrize("loss", REGULARISERS)
def test_size_does_not_matter_to_angles_and_nothing_breaks_when_tiny(loss):
    mesh = shapes.icosphere(1)
    tiny = mesh.replace(vertices=(mesh.vertices * 1e-10).requires_grad_())
    value = loss(tiny)
    value.backward()
    assert torch.isfinite(tiny.vertices.grad).all()
    if loss in (flatten, normal_consistency):
        torch.testing.assert_close(value.detach(), loss(mesh))


@pytest.mark.parametrize("loss", REGULARISERS)
def test_empty_meshes_cost_nothing(loss):
    assert loss(Mesh(vertices=torch.zeros(0, 3), faces=[])) == 0
    assert loss(Mesh(vertices=torch.ones(2, 4, 3), faces=[])) == 0
    assert loss(Mesh(vertices=torch.zeros(3, 3), faces=[[0, 1, 1]])) == 0


@pytest.mark.parametrize("loss", REGULARISERS)
def test_a_fitting_loop_sorts_the_edges_once(loss, monkeypatch):
    mesh = bumpy()
    loss(mesh)
    monkeypatch.setattr(topology, "_half_edge_keys", None)  # any further sorting would fail
    loss(mesh.replace(vertices=mesh.vertices * 2.0))
