"""Gradients of rendered meshes: of cameras, lights, vertices and settings."""

import math

import pytest
import torch
from colored_meshes import SOFT, colored, double, eye_camera, tensor

import taichi_softras as tsr
from taichi_softras import Camera, Light, Mesh, RasterSettings

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]

SCENE = Mesh(
    vertices=tensor([[-0.8, -0.6, 0.1], [0.7, -0.5, -0.3], [0.1, 0.8, 0.2], [0.5, 0.3, 0.7]]),
    faces=torch.tensor([[0, 1, 2], [1, 3, 2]]),
    vertex_colors=tensor([[1.0, 0.1, 0.2], [0.0, 0.9, 0.4], [0.3, 0.5, 0.8], [0.7, 0.2, 0.6]]),
)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


R0 = [[0.8, 0.0, -0.6], [0.0, -1.0, 0.0], [-0.6, 0.0, -0.8]]
CAMERA_BUILDERS = {
    "orbit": (
        lambda d, e, a, f, at: Camera.orbit(d, e, a, f, at=at),
        lambda: (scalar(2.5), scalar(20.0), scalar(35.0), scalar(50.0), vector(0.1, 0.0, -0.1)),
    ),
    "look_at": (
        Camera.look_at,
        lambda: (vector(0.5, 0.7, 2.4), vector(0.0, 0.1, 0.0), vector(0.1, 1.0, 0.0), scalar(50.0)),
    ),
    "look_at orthographic": (
        lambda eye, at, h: Camera.look_at(eye, at, orthographic_height=h),
        lambda: (vector(0.5, 0.7, 2.4), vector(0.0, 0.1, 0.0), scalar(2.5)),
    ),
    "matrices": (
        lambda fx, fy, c, t: Camera.from_matrices(
            K=torch.stack(
                [
                    torch.stack([fx, 0.0 * fx, c[0]]),
                    torch.stack([0.0 * fx, fy, c[1]]),
                    tensor([0.0, 0.0, 1.0]),
                ]
            ),
            R=tensor(R0),
            t=t,
            image_size=(5, 7),
        ),
        lambda: (scalar(6.0), scalar(5.0), vector(3.7, 2.2), vector(0.1, -0.1, 2.5)),
    ),
    "distortion": (
        lambda bend, t: Camera.from_matrices(
            K=[[6.0, 0.0, 3.7], [0.0, 5.0, 2.2], [0.0, 0.0, 1.0]],
            R=tensor(R0),
            t=t,
            image_size=(5, 7),
            distortion=bend,
        ),
        lambda: (vector(-0.3, 0.1, 2e-3, -1e-3, 0.02), vector(0.1, -0.1, 2.5)),
    ),
    "weak perspective": (
        lambda scale, translation: Camera.weak_perspective(scale, translation, depth=3.0),
        lambda: (scalar(0.7), vector(0.1, -0.2)),
    ),
}


@pytest.mark.parametrize("name", CAMERA_BUILDERS)
def test_gradients_reach_every_parameter_of_the_camera(name):
    build, given = CAMERA_BUILDERS[name]

    def run(*parameters):
        return tsr.render(SCENE, build(*parameters), (5, 7), settings=SOFT)[:3]

    assert torch.autograd.gradcheck(run, given())


def test_gradients_reach_the_camera_s_own_tensors():
    camera = double(Camera.orbit(2.5, 20.0, 35.0))
    given = [camera.view_from_world, camera.focal, camera.center]

    def run(view_from_world, focal, center):
        built = Camera(view_from_world=view_from_world, focal=focal, center=center)
        return tsr.render(SCENE, built, (5, 7), settings=SOFT)[:3]

    assert torch.autograd.gradcheck(run, [t.detach().clone().requires_grad_() for t in given])


def test_gradients_reach_every_field_of_the_light():
    camera = double(Camera.orbit(2.5, 20.0, 35.0))
    names = (
        "ambient_intensity",
        "ambient_color",
        "directional_intensity",
        "directional_color",
        "direction",
    )
    given = (
        scalar(0.4),
        vector(0.9, 0.8, 1.0),
        scalar(0.6),
        vector(1.0, 0.7, 0.5),
        vector(0.2, 0.3, 1.0),
    )

    def run(*fields):
        light = Light(**dict(zip(names, fields, strict=True)))
        return tsr.render(SCENE, camera, (5, 7), settings=SOFT, light=light).image

    assert torch.autograd.gradcheck(run, given)


def test_gradients_reach_vertices_colours_background_sigma_and_gamma():
    camera = double(Camera.orbit(2.5, 20.0, 35.0))

    def run(vertices, colors, background, sigma, gamma):
        settings = RasterSettings(sigma=sigma, gamma=gamma, near=0.5, far=10.0, dist_eps=1e-13)
        mesh = SCENE.replace(vertices=vertices, vertex_colors=colors)
        return tsr.render(
            mesh, camera, (5, 7), settings=settings, background=background, light=Light()
        )[:3]

    given = (
        SCENE.vertices.clone().requires_grad_(),
        SCENE.vertex_colors.clone().requires_grad_(),
        vector(0.2, 0.3, 0.4),
        scalar(2e-2),
        scalar(0.2),
    )
    assert torch.autograd.gradcheck(run, given)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_vertex_spoils_only_its_own_faces(bad):
    mesh = tsr.shapes.icosphere(1).to(torch.float64)
    vertices = mesh.vertices.clone()
    vertices[7, 1] = bad
    touching = int((mesh.faces == 7).any(-1).sum())
    fields = [vector(0.5, 0.7, 2.4), scalar(50.0), vector(0.2, 0.3, 1.0), vertices.requires_grad_()]
    out = tsr.render(
        mesh.replace(vertices=fields[3]),
        Camera.look_at(fields[0], fov=fields[1]),
        12,
        settings=SOFT,
        light=Light(direction=fields[2]),
    )
    assert out.skipped == tsr.SkippedFaces(non_finite=touching)
    assert all(t.isfinite().all() for t in out[:3])
    loss = out.image.square().sum() + out.alpha.sum() + out.depth.sum()
    for gradient in torch.autograd.grad(loss, fields):
        assert gradient.isfinite().all()
    without = mesh.replace(faces=mesh.faces[~(mesh.faces == 7).any(-1)])
    expected = tsr.render(without, Camera.look_at(fields[0], fov=fields[1]), 12, settings=SOFT)
    torch.testing.assert_close(out.alpha, expected.alpha, rtol=0.0, atol=1e-12)


def test_a_vertex_in_the_eye_s_own_plane_has_finite_gradients():
    mesh = colored(
        Mesh(
            vertices=tensor([[0.0, 0.5, 0.0], [1.0, -1.0, -3.0], [-1.0, -1.0, -3.0]]),
            faces=torch.tensor([[0, 1, 2]]),
        )
    )
    vertices = mesh.vertices.requires_grad_()
    out = tsr.render(mesh.replace(vertices=vertices), eye_camera(), 9, settings=SOFT)
    assert out.alpha.any()
    (gradient,) = torch.autograd.grad(out.image.square().sum() + out.alpha.sum(), vertices)
    assert gradient.isfinite().all()
