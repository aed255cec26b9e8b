"""compat.soft_renderer against the original's formulas, transcribed in softras_formulas."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import softras_formulas as soft
import torch

import taichi_softras as tsr
import taichi_softras.compat.soft_renderer as sr

TOLERANCE = 1e-5
EYE = (2.2, 25.0, 37.0)  # distance, elevation, azimuth
SOFT = soft.Options(sigma=1e-3, gamma=1e-2, near=1.0, far=5.0)


def lumpy(seed=0, level=1):
    """A closed mesh with no symmetry, float64. [V, 3], [F, 3]"""
    ball = tsr.shapes.icosphere(level)
    random = np.random.default_rng(seed)
    scale = random.uniform(0.5, 0.9, size=(ball.n_vertices, 1))
    return ball.vertices.double().numpy() * scale, ball.faces.numpy()


def texels(n_faces, side, seed=1):
    return np.random.default_rng(seed).uniform(size=(n_faces, side * side, 3))


def arguments(o):
    """The options as the drop-in's keywords."""
    return {
        "image_size": o.size,
        "background_color": list(o.background),
        "near": o.near,
        "far": o.far,
        "fill_back": o.fill_back,
        "eps": o.eps,
        "sigma_val": o.sigma,
        "dist_func": o.dist_func,
        "dist_eps": o.dist_eps,
        "gamma_val": o.gamma,
        "aggr_func_rgb": o.rgb,
        "aggr_func_alpha": o.alpha,
        "texture_type": o.texture_type,
    }


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def projected(vertices, faces):
    """Corners on the screen, seen from EYE."""
    view = soft.look_at(vertices, soft.eye_from_angles(*EYE))
    return soft.perspective(view, 30.0)[faces]


def check(images, *pictures, tolerance=TOLERANCE):
    """Compare [B, 4, S, S] with pictures where these are sure."""
    assert images.shape == (len(pictures), *pictures[0].rgba.shape)
    for image, picture in zip(images.detach().double().numpy(), pictures, strict=True):
        assert picture.sure.mean() > 0.9
        worst = np.abs(image - picture.rgba)[:, picture.sure].max()
        assert worst < tolerance


def check_rasterizer(options, corners, textures):
    images = sr.functional.soft_rasterize(
        tensor(corners)[None], tensor(textures)[None], **arguments(options)
    )
    check(images, soft.render(corners, textures, options))


ALL = list(
    product(("euclidean", "barycentric", "hard"), ("softmax", "hard"), ("prod", "sum", "hard"))
)


@pytest.mark.parametrize(("dist_func", "rgb", "alpha"), ALL)
def test_every_aggregation(arch, dist_func, rgb, alpha):
    vertices, faces = lumpy()
    options = replace(SOFT, dist_func=dist_func, rgb=rgb, alpha=alpha, background=(0.2, 0.5, 0.9))
    check_rasterizer(options, projected(vertices, faces), texels(len(faces), 1))


@pytest.mark.parametrize("sigma", [1e-6, 1e-5, 1e-4, 1e-2])
@pytest.mark.parametrize("gamma", [1e-5, 1e-4, 1e-1])
def test_every_softness(arch, sigma, gamma):
    vertices, faces = lumpy(2)
    options = replace(SOFT, sigma=sigma, gamma=gamma, far=100.0)
    check_rasterizer(options, projected(vertices, faces), texels(len(faces), 1))


def test_the_background_weighs_two_eps(arch):
    corners = np.array([[[-3.0, -3.0, 4.99], [0.0, 4.0, 4.99], [3.0, -3.0, 4.99]]])
    options = replace(SOFT, eps=0.05, gamma=0.05, background=(1.0, 0.0, 0.0))
    textures = np.array([[[0.0, 1.0, 0.0]]])
    red = soft.render(corners, textures, options).rgba[0, 12, 12]
    assert red == pytest.approx(1.0 / (1.0 + np.exp((0.01 / 4 - 0.1) / 0.05)), abs=1e-3)
    check_rasterizer(options, corners, textures)


@pytest.mark.parametrize(
    "side",
    [
        1,
        2,
        4,
    ],
)
def test_surface_textures(arch, side):
    vertices, faces = lumpy(3)
    check_rasterizer(SOFT, projected(vertices, faces), texels(len(faces), side))


@pytest.mark.parametrize("side", [2, 4, 5])
def test_texels_lie_where_they_should(arch, side):
    corners = np.array([[[-0.9, -0.8, 2.0], [0.1, 0.9, 3.0], [0.9, -0.7, 1.5]]])
    options = replace(SOFT, size=40, sigma=1e-6)
    check_rasterizer(options, corners, texels(1, side))


def test_vertex_textures(arch):
    vertices, faces = lumpy(4)
    colors = np.random.default_rng(5).uniform(size=vertices.shape)
    options = replace(SOFT, texture_type="vertex")
    check_rasterizer(options, projected(vertices, faces), colors[faces])


@pytest.mark.parametrize("texture_type", ["surface", "vertex"])
def test_back_faces_count_in_alpha_only(arch, texture_type):
    vertices, faces = lumpy(6)
    faces = faces[::2]  # holes, through which backs are seen
    options = replace(SOFT, fill_back=False, texture_type=texture_type)
    textures = texels(len(faces), 1) if texture_type == "surface" else vertices[faces]
    corners = projected(vertices, faces)
    check_rasterizer(options, corners, textures)
    both = soft.render(corners, textures, replace(options, fill_back=True))
    one = soft.render(corners, textures, options)
    np.testing.assert_array_equal(both.rgba[3], one.rgba[3])
    assert np.abs(both.rgba[:3] - one.rgba[:3]).max() > 0.1


def test_what_is_too_near_or_far_counts_in_alpha_only(arch):
    vertices, faces = lumpy(7)
    options = replace(SOFT, near=1.9, far=2.4)
    check_rasterizer(options, projected(vertices, faces), texels(len(faces), 2))


def test_what_is_behind_the_eye_counts_in_alpha(arch):
    corners = np.array(
        [
            [[-0.7, -0.6, -2.0], [0.1, 0.5, -3.0], [0.5, -0.4, -1.5]],
            [[-0.2, -0.9, 2.0], [0.3, 0.8, -3.0], [0.9, -0.5, 1.5]],
            [[-0.9, 0.1, 2.0], [-0.3, 0.9, 2.5], [0.2, 0.3, 1.5]],
        ]
    )
    check_rasterizer(SOFT, corners, texels(3, 1))


CAMERAS = {
    "look_at": {"camera_mode": "look_at", "viewing_angle": 25.0},
    "look": {"camera_mode": "look", "camera_direction": [0.3, -0.2, 1.0]},
    "orthogonal": {"camera_mode": "look_at", "perspective": False, "viewing_scale": 0.8},
}


def on_screen(vertices, eye, options):
    """The transcription of one of CAMERAS."""
    if options["camera_mode"] == "look":
        view = soft.look(vertices, eye, options["camera_direction"])
    else:
        view = soft.look_at(vertices, eye)
    if not options.get("perspective", True):
        return soft.orthogonal(view, options["viewing_scale"])
    return soft.perspective(view, options.get("viewing_angle", 30.0))


def lit(vertices, faces, textures, options):
    """Textures under the default lamps."""
    if options.texture_type == "vertex":
        return (textures * soft.light(soft.vertex_normals(vertices, faces)))[faces]
    return textures * soft.light(soft.normals(vertices, faces))[:, None]


@pytest.mark.parametrize("texture_type", ["surface", "vertex"])
@pytest.mark.parametrize("camera", CAMERAS)
def test_renderer_with_every_camera(arch, camera, texture_type):
    options = replace(SOFT, texture_type=texture_type)
    renderer = sr.SoftRenderer(**arguments(options), **CAMERAS[camera])
    meshes = [lumpy(seed) for seed in (8, 9, 10)]  # three, an old pitfall of cross products
    faces = meshes[0][1]
    eyes = [soft.eye_from_angles(2.5, e, a) for e, a in ((10.0, -5.0), (-20.0, 12.0), (33.0, 20.0))]
    rows = len(meshes[0][0]) if texture_type == "vertex" else len(faces)
    textures = [texels(rows, 1, seed)[:, 0] for seed in range(3)]
    if texture_type == "surface":
        textures = [values[:, None] for values in textures]
    renderer.transform.set_eyes(np.stack(eyes))
    images = renderer(
        torch.stack([tensor(vertices) for vertices, _ in meshes]),
        torch.stack([tensor(faces)] * 3),
        torch.stack([tensor(values) for values in textures]),
        texture_type=texture_type,
    )
    pictures = [
        soft.render(
            on_screen(vertices, eye, CAMERAS[camera])[faces],
            lit(vertices, faces, values, options),
            options,
        )
        for (vertices, _), eye, values in zip(meshes, eyes, textures, strict=True)
    ]
    check(images, *pictures)


def test_lamps(arch):
    vertices, faces = lumpy(11)
    textures = texels(len(faces), 1)
    lighting = sr.Lighting("surface", 0.3, [1.0, 0.5, 0.2], 0.8, [0.1, 0.9, 0.4], [0.5, 0.2, -1.0])
    lighting.directionals.append(sr.DirectionalLighting(0.4, [1.0, 0.0, 1.0], [-1.0, 0.0, 0.0]))
    mesh = lighting(sr.Mesh(tensor(vertices), tensor(faces), tensor(textures)))
    lamps = (
        (0.8, (0.1, 0.9, 0.4), (0.5, 0.2, -1.0)),
        (0.4, (1.0, 0.0, 1.0), (-1.0, 0.0, 0.0)),
    )
    wanted = soft.light(soft.normals(vertices, faces), 0.3, (1.0, 0.5, 0.2), lamps)
    np.testing.assert_allclose(mesh.textures[0], textures * wanted[:, None], atol=1e-12)


def test_anti_aliasing_averages_four_pixels(arch):
    vertices, faces = lumpy(12)
    options, corners = replace(SOFT, sigma=1e-5), projected(vertices, faces)
    textures = texels(len(faces), 1)
    mesh = sr.Mesh(
        tensor(corners.reshape(-1, 3)), np.arange(3 * len(faces)).reshape(-1, 3), tensor(textures)
    )
    images = sr.SoftRasterizer(**arguments(options), anti_aliasing=True)(mesh)
    large = soft.render(corners, textures, replace(options, size=2 * options.size))
    blocks = (-1, options.size, 2, options.size, 2)
    small = soft.Picture(
        large.rgba.reshape(blocks).mean((2, 4)), large.sure.reshape(blocks).all((2, 4))[0]
    )
    check(images, small)


@pytest.mark.parametrize(
    "texture_type",
    [
        "surface",
        "vertex",
    ],
)
def test_float32_agrees_where_it_can(arch, texture_type):
    vertices, faces = lumpy(13)
    options = replace(SOFT, texture_type=texture_type, background=(0.1, 0.2, 0.3))
    corners = projected(vertices, faces)
    textures = texels(len(faces), 2) if texture_type == "surface" else texels(len(faces) * 3, 1)
    textures = textures if texture_type == "surface" else textures.reshape(-1, 3, 3)
    images = sr.functional.soft_rasterize(
        tensor(corners)[None].float(), tensor(textures)[None].float(), **arguments(options)
    )
    assert images.dtype == torch.float32
    check(images, soft.render(corners, textures, options, margin=1e-4), tolerance=2e-5)


def test_both_call_styles_agree(arch):
    vertices, faces = lumpy(14)
    textures = texels(len(faces), 1)
    renderer = sr.SoftRenderer(image_size=32, camera_mode="look_at", sigma_val=1e-4)
    renderer.transform.set_eyes_from_angles(*EYE)
    renderer.set_gamma(1e-3)
    renderer.set_sigma(1e-3)
    mesh = sr.Mesh(vertices, faces, textures)
    first = renderer.render_mesh(mesh)
    second = renderer(mesh.vertices, mesh.faces, mesh.textures)
    lighting, transform = sr.Lighting(), sr.LookAt()
    transform.set_eyes_from_angles(*EYE)
    rasterizer = sr.SoftRasterizer(image_size=32, fill_back=True)
    rasterizer.set_sigma(1e-3)
    rasterizer.set_gamma(1e-3)
    third = lighting(mesh)
    third = transform(third)
    third = rasterizer(third)
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    mesh.reset_()
    assert torch.equal(first, renderer.render_mesh(mesh))


GRADIENT = replace(SOFT, size=9, sigma=3e-2, gamma=0.3, far=4.0, dist_eps=1e-12)


def weighed(picture):
    """A loss of all four channels."""
    weights = np.random.default_rng(20).normal(size=picture.rgba.shape)
    return (picture.rgba * weights).sum()


@pytest.mark.parametrize(("texture_type", "side"), [("surface", 1), ("surface", 3), ("vertex", 1)])
def test_gradients_are_those_of_the_formulas(arch, texture_type, side):
    vertices, faces = lumpy(15, level=0)
    options = replace(GRADIENT, texture_type=texture_type)
    rows = len(vertices) if texture_type == "vertex" else len(faces)
    textures = texels(rows, side) if texture_type == "surface" else texels(rows, 1)[:, 0]
    eye = soft.eye_from_angles(*EYE)

    def loss(vertices, textures, sigma, gamma):
        corners = soft.perspective(soft.look_at(vertices, eye), 30.0)[faces]
        return weighed(
            soft.render(
                corners,
                lit(vertices, faces, textures, options),
                replace(options, sigma=float(sigma), gamma=float(gamma)),
            )
        )

    given = [vertices, textures, np.array(options.sigma), np.array(options.gamma)]
    leaves = [torch.tensor(value, requires_grad=True) for value in given]
    renderer = sr.SoftRenderer(**arguments(options), camera_mode="look_at")
    renderer.transform.set_eyes_from_angles(*EYE)
    renderer.set_sigma(leaves[2])
    renderer.set_gamma(leaves[3])
    images = renderer(leaves[0], tensor(faces), leaves[1], texture_type=texture_type)
    weights = tensor(np.random.default_rng(20).normal(size=images.shape[1:]))
    gradients = torch.autograd.grad((images * weights).sum(), leaves)
    random = np.random.default_rng(21)
    for i, gradient in enumerate(gradients):
        direction = random.normal(size=given[i].shape)
        step = 1e-6 * (1.0 if i < 2 else given[i])
        ends = [
            loss(
                *(
                    value + sign * step * direction if i == j else value
                    for j, value in enumerate(given)
                )
            )
            for sign in (1.0, -1.0)
        ]
        wanted = (ends[0] - ends[1]) / (2.0 * step)
        assert (gradient.numpy() * direction).sum() == pytest.approx(wanted, rel=1e-5, abs=1e-7)
