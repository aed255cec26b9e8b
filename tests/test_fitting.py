import math
from dataclasses import replace

import pytest
import torch

import taichi_softras as tsr
from taichi_softras import scenes
from taichi_softras.fitting import FitSettings, Fitter, metrics
from taichi_softras.fitting.framing import frame_object
from taichi_softras.fitting.optimizer import UniformAdam
from taichi_softras.fitting.preconditioner import Preconditioner

QUICK = FitSettings(steps=60, level=2, shrink=(2, 1), patience=60)


def ellipsoid(center=(0.0, 0.0, 0.0), scale=1.0):
    sphere = tsr.shapes.icosphere(3)
    red_top = 0.5 + 0.4 * sphere.vertices[:, 1:2]
    return tsr.Mesh(
        vertices=sphere.vertices * torch.tensor([1.0, 0.6, 0.8]) * scale + torch.tensor(center),
        faces=sphere.faces,
        vertex_colors=torch.cat([red_top, torch.full_like(red_top, 0.3), 1.0 - red_top], 1),
    )


def posed_ellipsoid(size=48, views=8, center=(0.0, 0.0, 0.0), scale=1.0):
    mesh = ellipsoid(center, scale)
    cameras = scenes.sphere_cameras(views, radius=scale, at=center, image_size=size)
    return mesh, scenes.render_posed(mesh, cameras, light=None, supersample=2)


@pytest.fixture(scope="module")
def posed(arch):
    return posed_ellipsoid()[1]


def test_fit_recovers_an_ellipsoid_and_its_colours(arch):
    truth, posed = posed_ellipsoid(size=64, views=12)
    fitter = Fitter(posed.subset(range(10)), FitSettings(steps=150, level=3, shrink=(2, 1)))
    while not fitter.done:
        fitter.step()
    scores = metrics.score_views(fitter.mesh, posed.subset([10, 11]))
    # Half a pixel along the whole outline of these 64-pixel views costs 3 % of IoU.
    assert min(scores.hard_iou) > 0.96
    assert min(scores.psnr) > 24.0
    # Samples of one surface are 0.009 apart.
    assert metrics.chamfer_distance(fitter.mesh, truth) < 0.025


def test_fit_does_not_depend_on_where_the_object_is_or_how_large(arch):
    meshes = []
    for center, scale in (((0.0, 0.0, 0.0), 1.0), ((30.0, -5.0, 2.0), 10.0)):
        _, posed = posed_ellipsoid(center=center, scale=scale)
        fitter = Fitter(posed, QUICK)
        for _ in range(20):
            fitter.step()
        meshes.append((fitter.mesh.vertices - torch.tensor(center)) / scale)
    # Positions at 30 are rounded to 4e-6, and twenty steps amplify that.
    assert (meshes[0] - meshes[1]).abs().max() < 5e-2


def test_same_seed_gives_the_same_bits(posed):
    first, second = (Fitter(posed, QUICK) for _ in range(2))
    for _ in range(5):
        first.step()
        second.step()
    assert torch.equal(first.mesh.vertices, second.mesh.vertices)


def test_a_restored_fit_continues_bit_for_bit(posed, tmp_path):
    whole = Fitter(posed, QUICK)
    for _ in range(40):
        whole.step()
        if whole.step_count == 35:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
    resumed = Fitter(posed, QUICK)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.step_count == 35
    for _ in range(5):
        resumed.step()
    assert torch.equal(whole.mesh.vertices, resumed.mesh.vertices)
    assert resumed.history == whole.history


def test_a_checkpoint_of_other_settings_is_refused(posed):
    state = Fitter(posed, QUICK).state_dict()
    with pytest.raises(tsr.ArgumentError, match="smoothness"):
        Fitter(posed, replace(QUICK, smoothness=1.0)).load_state_dict(state)


def test_softness_is_annealed_and_images_grow(posed):
    fitter = Fitter(posed, QUICK)
    reports = [fitter.step() for _ in range(60)]
    assert reports[0].size == (24, 24)
    assert reports[-1].size == (48, 48)
    pixel = 2.0 / 24.0
    assert reports[0].sigma == pytest.approx((0.7 * pixel) ** 2)
    assert reports[-1].gamma < reports[0].gamma
    assert fitter.done


def test_fit_stops_when_the_loss_no_longer_falls(posed):
    fitter = Fitter(posed, replace(QUICK, steps=400, patience=10, learning_rate=1e-9))
    while not fitter.done:
        fitter.step()
    assert fitter.step_count < 400


def test_template_keeps_its_topology_and_moves(posed):
    template = tsr.shapes.cube(side=1.0)
    fitter = Fitter(posed, QUICK, template)
    assert torch.allclose(fitter.mesh.vertices, template.vertices, atol=1e-5)
    for _ in range(40):
        fitter.step()
    assert torch.equal(fitter.mesh.faces, template.faces)
    assert not torch.allclose(fitter.mesh.vertices, template.vertices, atol=1e-2)


def test_frame_finds_the_object(arch):
    _, posed = posed_ellipsoid(size=96, center=(3.0, -1.0, 2.0), scale=2.0)
    frame = frame_object(posed)
    assert torch.allclose(frame.center, torch.tensor([3.0, -1.0, 2.0]), atol=0.03)
    # Half axes 2, 1.2 and 1.6: a silhouette's mean radius lies between them.
    assert 1.2 < frame.radius < 2.0
    depth = posed.cameras.view_from_points(ellipsoid((3.0, -1.0, 2.0), 2.0).vertices)[..., 2]
    assert frame.near < depth.min()
    assert frame.far > depth.max()


def test_empty_silhouettes_are_refused(posed):
    empty = replace(posed, images=torch.zeros_like(posed.images))
    with pytest.raises(tsr.ArgumentError, match="every silhouette is empty"):
        Fitter(empty, QUICK)


def test_cameras_that_look_away_are_refused(posed):
    turned = posed.cameras.world_from_camera_opengl @ torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    cameras = tsr.Camera.from_opengl(
        turned, K=posed.cameras.to_matrices()[0], image_size=posed.size
    )
    with pytest.raises(tsr.ArgumentError, match="look away"):
        Fitter(replace(posed, cameras=cameras), QUICK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("views_per_step", 0),
        ("level", 9),
        ("shrink", ()),
        ("learning_rate", 0.0),
        ("sigma_end", float("nan")),
        ("smoothness", -1.0),
    ],
)
def test_settings_that_cannot_work_are_refused(name, value):
    with pytest.raises(tsr.ArgumentError, match=f"`{name}`"):
        FitSettings(**{name: value})


def test_preconditioner_solves_what_it_says():
    mesh = tsr.shapes.icosphere(1)
    laplacian = torch.zeros(mesh.n_vertices, mesh.n_vertices, dtype=torch.float64)
    for a, b in mesh.edges.tolist():
        laplacian[a, b] = laplacian[b, a] = -1.0
    laplacian -= torch.diag(laplacian.sum(1))
    matrix = torch.eye(mesh.n_vertices, dtype=torch.float64) + 5.0 * laplacian
    preconditioner = Preconditioner(mesh.faces, mesh.n_vertices, 5.0)
    u = torch.randn(mesh.n_vertices, 3, dtype=torch.float64, requires_grad=True)
    smooth = preconditioner.smooth(u)
    torch.testing.assert_close(matrix @ smooth, u)
    torch.testing.assert_close(preconditioner.roughen(smooth), u.detach())
    assert torch.autograd.gradcheck(preconditioner.smooth, u)


def test_uniform_adam_keeps_the_direction_of_the_first_gradient():
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = UniformAdam([parameter], lr=0.5)
    parameter.grad = torch.tensor([4.0, -2.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.5, 0.25, 0.0]))


def test_scores_of_the_truth_are_perfect_up_to_sampling(arch):
    mesh, posed = posed_ellipsoid(size=64, views=2)
    scores = metrics.score_views(mesh, posed, supersample=2)
    # Pixels on the outline whose centre and whose four samples disagree: 2 % of so small a disc.
    assert min(scores.hard_iou) > 0.98
    assert min(scores.psnr) > 60.0


def test_chamfer_distance_of_parallel_planes_is_their_distance():
    plane = tsr.shapes.plane(side=2.0, cells=4)
    above = plane.replace(vertices=plane.vertices + torch.tensor([0.0, 0.0, 0.5]))
    distance = metrics.chamfer_distance(plane, above)
    # The nearest of 20,000 samples on 4 square units lies some 0.007 to the side.
    assert distance == pytest.approx(math.hypot(0.5, 0.007), abs=1e-3)
