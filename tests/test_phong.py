"""Light at every pixel: equal to the other ways where these are exact, exact where they are not."""

import math

import pytest
import torch

import taichi_softras as tsr
from taichi_softras import (
    AmbientLight,
    ArgumentError,
    Camera,
    DirectionalLight,
    Light,
    Material,
    PointLight,
    RasterSettings,
    ShapeError,
    SphericalHarmonics,
    UVTexture,
)
from taichi_softras.phong import blended_inputs

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("renderer")]

HARD = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.1, far=20.0)
SOFT = RasterSettings(sigma=1e-2, gamma=0.1, near=0.5, far=10.0, dist_eps=1e-13)
SHINY = Material(specular_intensity=0.7, specular_color=(1.0, 0.8, 0.5), shininess=12.0)
EYE = (0.6, 0.9, 2.6)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def ball(channels=3):
    """Twenty faces with colours."""
    mesh = tsr.shapes.icosphere(0).to(torch.float64)
    colors = torch.rand(12, channels, dtype=torch.float64, generator=torch.manual_seed(0))
    return mesh.replace(vertex_colors=colors)


def camera():
    return Camera.look_at(tensor(EYE), fov=50.0)


def lights():
    return [
        AmbientLight(intensity=0.2, color=(1.0, 0.5, 0.2)),
        DirectionalLight(intensity=0.6, direction=(0.5, 1.0, 0.8)),
        PointLight(position=(1.5, 0.2, 1.5), intensity=0.8, attenuation=(0.5, 0.2, 0.1)),
        SphericalHarmonics(coefficients=0.1 * torch.ones(9, 3)),
    ]


@pytest.mark.parametrize("channels", [3, 4])
def test_constant_light_is_gouraud_s(channels):
    options = {
        "settings": SOFT,
        "light": AmbientLight(intensity=0.7, color=(1.0, 0.5, 0.2)),
        "background": torch.rand(1, 9, 12, channels, dtype=torch.float64),
    }
    gouraud = tsr.render(ball(channels), camera(), (9, 12), **options)
    phong = tsr.render(ball(channels), camera(), (9, 12), shading="phong", **options)
    for a, b in zip(phong[:3], gouraud[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)


def test_on_a_plane_under_parallel_light_all_shadings_agree():
    mesh = tsr.shapes.plane().to(torch.float64)
    mesh = mesh.replace(vertex_colors=torch.rand_like(mesh.vertices))
    view = Camera.orbit(3.0, 40.0, tensor(20.0))
    options = {"settings": SOFT, "light": Light(), "background": 0.3}
    images = [
        tsr.render(mesh, view, 12, shading=shading, **options).image
        for shading in ("gouraud", "phong")
    ]
    torch.testing.assert_close(*images, rtol=0.0, atol=1e-12)
    one_color = mesh.replace(vertex_colors=torch.full_like(mesh.vertices, 0.4))
    flat, phong = (
        tsr.render(one_color, view, 12, shading=shading, **options).image
        for shading in ("flat", "phong")
    )
    torch.testing.assert_close(flat, phong, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("height", [None, 2.5])
def test_hard_colour_is_lit_exactly_at_each_fragment(height):
    mesh = ball()
    view = Camera.look_at(tensor(EYE), fov=50.0, orthographic_height=height)
    given = [
        DirectionalLight(intensity=0.6, direction=(0.5, 1.0, 0.8)),
        PointLight(position=(1.5, 0.2, 1.5), intensity=0.8, attenuation=(0.5, 0.2, 0.1)),
    ]
    out = tsr.render(
        mesh, view, (20, 24), settings=HARD, light=given, material=SHINY, shading="phong",
        background=(0.1, 0.2, 0.3), outputs=("face_index", "barycentric"),
    )  # fmt: skip
    hit = out.face_index[0] >= 0
    assert hit.sum() > 100
    assert (out.image[0][~hit] == tensor([0.1, 0.2, 0.3])).all()
    corners = mesh.faces[out.face_index[0][hit]]
    at = out.barycentric[0][hit][..., None]

    def read(values):
        return (at * values[corners]).sum(-2)

    def unit(v):
        return v / v.norm(dim=-1, keepdim=True)

    position, albedo = read(mesh.vertices), read(mesh.vertex_colors)
    normal = unit(read(mesh.vertex_normals))
    eye = unit(tensor(EYE) - position) if height is None else unit(tensor(EYE))
    away = tensor([1.5, 0.2, 1.5]) - position
    distance = away.norm(dim=-1, keepdim=True)
    fall = 0.8 / (0.5 + 0.2 * distance + 0.1 * distance**2)
    expected = 0.0
    for towards, arriving in ((unit(tensor([0.5, 1.0, 0.8])), 0.6), (unit(away), fall)):
        received = arriving * (normal * towards).sum(-1, keepdim=True).clamp(min=0.0)
        glint = (normal * unit(towards + eye)).sum(-1, keepdim=True).clamp(min=0.0) ** 12.0
        expected = expected + received * (albedo + 0.7 * tensor([1.0, 0.8, 0.5]) * glint)
    torch.testing.assert_close(out.image[0][hit], expected, rtol=0.0, atol=1e-7)


def test_soft_pixels_are_lit_by_their_mean_normal_and_position():
    """The formula of docs/shading.md, from blends that are asked for as outputs."""
    mesh, sun = ball(), tensor([0.5, 1.0, 0.8])
    ones = torch.ones(12, 1, dtype=torch.float64)
    blends = tsr.render(
        mesh, camera(), 9, settings=SOFT, outputs=("normal", "position"), features=ones
    )
    coverage = blends.features
    assert ((coverage > 0.1) & (coverage < 0.9)).any()
    normal = blends.normal / blends.normal.norm(dim=-1, keepdim=True)
    away = tensor(EYE) - blends.position / coverage
    towards = sun / sun.norm()
    half = towards + away / away.norm(dim=-1, keepdim=True)
    received = 0.6 * (normal * towards).sum(-1, keepdim=True).clamp(min=0.0)
    aligned = (normal * half).sum(-1, keepdim=True) / half.norm(dim=-1, keepdim=True)
    glint = 0.7 * tensor([1.0, 0.8, 0.5]) * received * aligned.clamp(min=0.0) ** 12.0
    behind = tensor([0.1, 0.4, 0.3])
    expected = blends.image * received + coverage * glint + (1.0 - coverage) * behind
    image = tsr.render(
        mesh, camera(), 9, settings=SOFT, background=behind, shading="phong", material=SHINY,
        light=DirectionalLight(intensity=0.6, direction=sun),
    ).image  # fmt: skip
    seen = coverage[..., 0] > 1e-6
    # the lights' plain numbers are float32
    torch.testing.assert_close(image[seen], expected[seen], rtol=0.0, atol=1e-7)


def test_a_highlight_within_a_face_is_seen_by_phong_alone():
    mesh = tsr.shapes.plane().to(torch.float64)
    view = Camera.look_at(tensor([0.0, 0.0, 2.0]), fov=50.0)
    options = {
        "settings": HARD,
        "light": PointLight(position=(0.0, 0.0, 2.0), intensity=0.5),
        "material": Material(specular_intensity=1.0, shininess=200.0),
    }
    side, middle = (1, 8), (8, 8)
    gouraud = tsr.render(mesh, view, 17, **options).image[0, ..., 0]
    phong = tsr.render(mesh, view, 17, shading="phong", **options).image[0, ..., 0]
    assert gouraud[middle] < 0.5
    assert phong[middle] > 0.8
    assert 0.1 < phong[side] < 0.5


def test_gouraud_comes_closer_by_the_square_of_the_edges():
    options = {"settings": HARD, "light": lights(), "material": SHINY}

    def difference(level):
        mesh = tsr.shapes.icosphere(level).to(torch.float64)
        gouraud = tsr.render(mesh, camera(), 24, **options).image
        phong = tsr.render(mesh, camera(), 24, shading="phong", **options).image
        return float((phong - gouraud).abs().mean())

    coarse, middle, fine = (difference(level) for level in (0, 2, 4))
    assert coarse > 0.05
    assert middle < coarse / 5.0
    assert fine < middle / 10.0


def test_gradients_match_finite_differences():
    mesh = ball()

    def run(vertices, colors, eye, rgb, direction, position, fall, harmonics, shine, behind, soft):
        given = [
            AmbientLight(intensity=shine[0], color=rgb),
            DirectionalLight(intensity=shine[1], color=rgb, direction=direction),
            PointLight(position=position, intensity=rgb[0], color=rgb, attenuation=fall),
            SphericalHarmonics(coefficients=harmonics),
        ]
        material = Material(specular_intensity=shine[0], specular_color=rgb, shininess=4 * shine[1])
        settings = RasterSettings(sigma=soft[0], gamma=soft[1], near=0.5, far=10.0, dist_eps=1e-13)
        return tsr.render(
            mesh.replace(vertices=vertices, vertex_colors=colors), Camera.look_at(eye), (4, 5),
            settings=settings, light=given, material=material, shading="phong", background=behind,
        ).image  # fmt: skip

    rng = torch.manual_seed(0)
    given = (
        mesh.vertices, mesh.vertex_colors, tensor([0.5, 1.0, 3.0]), tensor([0.9, 0.6, 0.3]),
        tensor([0.3, 0.9, 0.5]), tensor([1.2, -0.4, 1.7]), tensor([0.5, 0.3, 0.2]),
        torch.randn(9, 3, dtype=torch.float64, generator=rng), tensor([0.4, 0.7]),
        torch.rand(4, 5, 3, dtype=torch.float64, generator=rng), tensor([1e-2, 0.1]),
    )  # fmt: skip
    given = [value.clone().requires_grad_() for value in given]
    assert torch.autograd.gradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("settings", [SOFT, RasterSettings(sigma=1e-6, gamma=1e-6)])
def test_gradients_are_finite_where_nothing_is(settings):
    vertices = tsr.shapes.icosphere(1).vertices.clone().requires_grad_()
    mesh = tsr.shapes.icosphere(1).replace(vertices=vertices)
    eye = torch.tensor([0.0, 0.0, 9.0], requires_grad=True)
    out = tsr.render(
        mesh, Camera.look_at(eye, fov=80.0), 16, settings=settings, light=lights(),
        material=SHINY, shading="phong", background=0.2,
    )  # fmt: skip
    assert (out.image[0, 0, 0] == 0.2).all()
    out.image.square().sum().backward()
    assert vertices.grad.isfinite().all()
    assert eye.grad.isfinite().all()
    assert vertices.grad.any()


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
def test_a_broken_vertex_spoils_neither_light_nor_gradients():
    mesh = tsr.shapes.icosphere(1)
    vertices = mesh.vertices.clone()
    vertices[5] = math.nan
    vertices.requires_grad_()
    out = tsr.render(
        mesh.replace(vertices=vertices), Camera.look_at(EYE), 16, settings=SOFT, light=lights(),
        material=SHINY, shading="phong", outputs=("normal", "position"),
    )  # fmt: skip
    assert out.skipped.non_finite == 5
    total = sum(value.sum() for value in (out.image, out.normal, out.position))
    assert total.isfinite()
    total.backward()
    assert vertices.grad.isfinite().all()
    assert not vertices.grad[5].any()


def test_lights_and_materials_may_be_one_a_view():
    mesh = ball()
    cameras = Camera.orbit(tensor(3.0), 20.0, [0.0, 50.0, 100.0])
    position, power = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2]]), tensor([0.2, 0.5, 0.9])
    options = {"background": 0.1, "shading": "phong", "settings": SOFT}
    together = tsr.render(
        mesh, cameras, 8, light=PointLight(position=position, intensity=power),
        material=Material(specular_intensity=power), **options,
    )  # fmt: skip
    different = tsr.render(
        [mesh, mesh, mesh], cameras, 8, light=PointLight(position=position, intensity=power),
        material=Material(specular_intensity=power), **options,
    )  # fmt: skip
    torch.testing.assert_close(different.image, together.image)
    for i in range(3):
        alone = tsr.render(
            mesh, cameras[i], 8, light=PointLight(position=position[i], intensity=power[i]),
            material=Material(specular_intensity=power[i]), **options,
        )  # fmt: skip
        torch.testing.assert_close(together.image[i : i + 1], alone.image)
    light = AmbientLight(intensity=(0.1, 0.2, 0.3))
    views = tsr.render(
        mesh, cameras[0], 8, light=light, outputs=("normal", "face_index"), **options
    )
    for name in ("image", "alpha", "depth", "normal", "face_index"):
        assert getattr(views, name).shape[0] == 3
    with pytest.raises(ShapeError, match="`AmbientLight` must hold 1 or 3 views"):
        tsr.render(mesh, cameras, 8, light=AmbientLight(intensity=(0.1, 0.2)), **options)


def test_samples_are_lit_before_they_are_averaged():
    options = {"settings": SOFT, "light": lights(), "material": SHINY, "shading": "phong"}
    fine = tsr.render(ball(), camera(), (8, 10), **options).image
    fine = fine.reshape(1, 4, 2, 5, 2, 3).mean((2, 4))
    torch.testing.assert_close(
        tsr.render(ball(), camera(), (4, 5), antialias=2, **options).image, fine
    )


def test_a_mesh_without_colours_is_grey_and_faces_may_have_their_own():
    mesh = ball().replace(vertex_colors=None)
    options = {"settings": HARD, "light": lights(), "shading": "phong"}
    grey = tsr.render(mesh, camera(), 12, **options).image
    same = mesh.replace(vertex_colors=torch.full_like(mesh.vertices, 0.7))
    torch.testing.assert_close(grey, tsr.render(same, camera(), 12, **options).image)
    faces = mesh.replace(face_colors=torch.full((20, 3), 0.7).double())
    torch.testing.assert_close(grey, tsr.render(faces, camera(), 12, **options).image)


def test_a_light_costs_only_the_channels_that_it_needs():
    matte = Material()
    assert blended_inputs(None, matte) == ("normal", "coverage")
    assert blended_inputs([Light(), DirectionalLight()], matte) == ("normal", "coverage")
    assert "position" in blended_inputs(PointLight(position=(0.0, 0.0, 0.0)), matte)
    assert "position" in blended_inputs([Light()], SHINY)
    out = tsr.render(ball(), camera(), 8, light=lights(), shading="phong")
    assert out.normal is out.position is out.uv is None


def test_silhouettes_and_wrong_arguments():
    none = RasterSettings(color="none")
    out = tsr.render(ball(), camera(), 8, light=lights(), shading="phong", settings=none)
    assert out.image is None
    assert out.alpha.any()
    with pytest.raises(ArgumentError, match="`shading` must be"):
        tsr.render(ball(), camera(), 8, light=lights(), shading="smooth")
    with pytest.raises(ArgumentError, match="give a `light` too"):
        tsr.render(ball(), camera(), 8, shading="phong")
    with pytest.raises(ShapeError, match="`colors` must have 3 or 4 channels"):
        tsr.render(ball(7), camera(), 8, shading="phong", light=Light())
    dark = DirectionalLight(direction=(0.0, 0.0, 0.0))
    with pytest.raises(ArgumentError, match="must point towards the light"):
        tsr.render(ball(), camera(), 8, shading="phong", light=dark)


# ---- textures ------------------------------------------------------------------------------


def textured(filter="bilinear", channels=3):
    """The ball under an image, with uv at its vertices."""
    mesh = ball().replace(vertex_colors=None)
    x, y, z = mesh.vertices.unbind(-1)
    rng = torch.manual_seed(3)
    image = torch.rand(6, 8, channels, dtype=torch.float64, generator=rng)
    uvs = torch.stack([0.5 + 0.4 * x, 0.5 + 0.3 * y + 0.1 * z], -1)
    return mesh.replace(texture=UVTexture(images=image, uvs=uvs, filter=filter))


@pytest.mark.parametrize("shading", ["flat", "gouraud"])
@pytest.mark.parametrize("filter", ["bilinear", "mipmap"])
def test_a_texture_multiplies_colours_and_not_highlights(shading, filter):
    options = {"settings": SOFT, "light": lights()[:3], "shading": shading}
    mesh = textured(filter)
    matte = tsr.render(mesh, camera(), 9, **options).image
    shiny = tsr.render(mesh, camera(), 9, material=SHINY, **options).image
    black = mesh.replace(texture=None, vertex_colors=torch.zeros_like(mesh.vertices))
    highlights = tsr.render(black, camera(), 9, material=SHINY, **options).image
    assert highlights.max() > 0.01
    torch.testing.assert_close(shiny, matte + highlights, rtol=0.0, atol=1e-12)


def test_a_textured_mesh_cannot_be_shaded_with_highlights_beforehand():
    with pytest.raises(ArgumentError, match="a texture, which would multiply them; give light and"):
        tsr.shade(textured(), lights(), material=SHINY, camera=camera())
    assert tsr.shade(textured(), lights()).texture is not None


@pytest.mark.parametrize("filter", ["bilinear", "mipmap"])
def test_textured_pixels_are_albedo_times_light(filter):
    mesh = textured(filter)
    options = {"settings": SOFT, "background": 0.2}
    light = AmbientLight(intensity=0.7, color=(1.0, 0.5, 0.2))
    gouraud = tsr.render(mesh, camera(), 9, light=light, **options).image
    phong = tsr.render(mesh, camera(), 9, light=light, shading="phong", **options).image
    torch.testing.assert_close(phong, gouraud, rtol=0.0, atol=1e-12)
    options = {"settings": HARD, "light": lights()[:3], "shading": "phong"}
    white = mesh.replace(texture=None, vertex_colors=torch.ones_like(mesh.vertices))
    light = tsr.render(white, camera(), 15, **options).image
    albedo = tsr.render(mesh, camera(), 15, settings=HARD).image
    torch.testing.assert_close(
        tsr.render(mesh, camera(), 15, **options).image, albedo * light, rtol=0.0, atol=1e-12
    )


def test_outputs_of_a_textured_mesh_are_not_multiplied_by_it():
    mesh = textured(channels=4)
    bare = mesh.replace(texture=None)
    asked = {"outputs": ("normal", "position"), "features": mesh.vertices, "settings": SOFT}
    out, plain = (tsr.render(m, camera(), 9, **asked) for m in (mesh, bare))
    assert out.image.shape[-1] == 4
    for name in ("normal", "position", "features", "alpha", "depth"):
        torch.testing.assert_close(getattr(out, name), getattr(plain, name), rtol=0, atol=1e-12)
    uv = tsr.render(mesh, camera(), 9, settings=SOFT, outputs=("uv",)).uv
    same = tsr.render(bare, camera(), 9, settings=SOFT, features=mesh.texture.uvs).features
    torch.testing.assert_close(uv, same, rtol=0.0, atol=1e-12)


def test_gradients_reach_texels_and_uvs_through_the_light():
    mesh = textured()
    texture = mesh.texture

    def run(image, uvs, vertices):
        moved = mesh.replace(
            vertices=vertices, texture=UVTexture(images=image, uvs=uvs, filter="bilinear")
        )
        return tsr.render(
            moved, camera(), (4, 5), settings=SOFT, light=lights(), material=SHINY, shading="phong"
        ).image

    given = [v.clone().requires_grad_() for v in (texture.images[0], texture.uvs, mesh.vertices)]
    assert torch.autograd.gradcheck(run, given, fast_mode=True)
