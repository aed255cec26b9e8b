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
    Mesh,
    PointLight,
    ShapeError,
    SphericalHarmonics,
    shade,
    shapes,
)
from taichi_softras.illumination import Surface

DARK = AmbientLight(intensity=0.0)
MIRROR = Material(specular_intensity=1.0, shininess=20.0)
# A triangle in z = 0 that faces +z, black, so that only highlights show.
CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
WALL = Mesh(vertices=CORNERS, faces=[[0, 1, 2]], vertex_colors=torch.ones_like(CORNERS))
BLACK = WALL.replace(vertex_colors=torch.zeros_like(CORNERS))


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def first(mesh):
    """Red, green, blue of the corner at the origin."""
    return mesh.vertex_colors.reshape(-1, 3)[0]


def slanted(degrees):
    return (math.sin(math.radians(degrees)), 0.0, math.cos(math.radians(degrees)))


@pytest.mark.parametrize(
    ("degrees", "share"), [(0.0, 1.0), (60.0, 0.5), (90.0, 0.0), (120.0, 0.0), (180.0, 0.0)]
)
def test_a_directional_light_falls_with_the_cosine(degrees, share):
    light = DirectionalLight(intensity=0.8, color=(1.0, 0.5, 0.25), direction=slanted(degrees))
    expected = tensor(0.8, 0.4, 0.2) * share
    torch.testing.assert_close(first(shade(WALL, light)), expected, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("attenuation", "share"),
    [((1, 0, 0), 1.0), ((0, 1, 0), 0.5), ((0, 0, 1), 0.25), ((1, 0.5, 0.25), 1 / 3)],
)
def test_a_point_light_falls_with_distance(attenuation, share):
    head_on = PointLight(position=(0.0, 0.0, 2.0), intensity=1.0, attenuation=attenuation)
    torch.testing.assert_close(first(shade(WALL, head_on)), tensor(*[share] * 3))
    slant = PointLight(
        position=tensor(*slanted(60.0)) * 2.0, intensity=1.0, attenuation=attenuation
    )
    torch.testing.assert_close(first(shade(WALL, slant)), tensor(*[share / 2] * 3))
    behind = PointLight(position=(0.0, 0.0, -2.0), intensity=1.0, attenuation=attenuation)
    assert not shade(WALL, behind).vertex_colors.any()


def test_a_far_point_light_is_a_directional_one():
    mesh = shapes.icosphere(1)
    far = PointLight(position=(3e6, 1e7, 6e6), intensity=0.5)
    near = shade(mesh, DirectionalLight(direction=(0.3, 1.0, 0.6))).vertex_colors
    torch.testing.assert_close(shade(mesh, far).vertex_colors, near, atol=1e-6, rtol=1e-6)


def test_lights_add_up_and_none_is_darkness():
    lights = [
        AmbientLight(intensity=0.25, color=(1.0, 0.0, 0.0)),
        DirectionalLight(intensity=0.5, color=(0.0, 1.0, 0.0), direction=(0.0, 0.0, 9.0)),
        PointLight(position=(0.0, 0.0, 2.0), intensity=3.0, color=(0.0, 0.0, 1.0)),
    ]
    torch.testing.assert_close(first(shade(WALL, lights)), tensor(0.25, 0.5, 3.0))
    assert not shade(WALL, []).vertex_colors.any()


@pytest.mark.parametrize("orthographic", [False, True])
def test_highlights_peak_at_the_mirror_direction(orthographic):
    def highlight(degrees):
        options = {"orthographic_height": 2.0, "fov": None} if orthographic else {}
        eye = tensor(*slanted(degrees)) * 5.0
        camera = Camera.look_at(eye, at=(0.0, 0.0, 0.0), **options)
        light = DirectionalLight(intensity=2.0, direction=slanted(-40.0))
        return float(first(shade(BLACK, light, material=MIRROR, camera=camera))[0])

    cosine = math.cos(math.radians(40.0))
    assert highlight(40.0) == pytest.approx(2.0 * cosine)
    # halfway between light and eye turns by half of what the eye does
    assert highlight(60.0) == pytest.approx(2.0 * cosine * math.cos(math.radians(10.0)) ** 20)
    assert highlight(20.0) == pytest.approx(highlight(60.0))


def test_rays_of_an_orthographic_camera_are_parallel():
    lit = shade(
        BLACK,
        DirectionalLight(direction=(0.0, 0.0, 1.0)),
        material=MIRROR,
        camera=Camera.look_at((0.0, 0.0, 3.0), at=(0.0, 0.0, 0.0), orthographic_height=2.0),
    )
    torch.testing.assert_close(lit.vertex_colors, torch.full((3, 3), 0.5).double())


def test_highlights_have_the_colours_of_light_and_material_and_do_not_shine_from_behind():
    material = Material(specular_intensity=0.5, specular_color=(1.0, 0.5, 0.0), shininess=3.0)
    light = PointLight(position=(0.0, 0.0, 1.0), intensity=1.0, color=(0.8, 0.4, 1.0))
    camera = Camera.look_at((0.0, 0.0, 4.0), at=(0.0, 0.0, 0.0))
    lit = shade(BLACK, [light, AmbientLight()], material=material, camera=camera)
    torch.testing.assert_close(first(lit), tensor(0.4, 0.1, 0.0))
    behind = PointLight(position=(0.3, 0.0, -1.0))
    assert not shade(BLACK, behind, material=material, camera=camera).vertex_colors.any()


def test_spherical_harmonics_give_the_irradiance_of_their_radiance():
    """Bands 0 to 2, against the cosine-weighted integral over a grid on the sphere."""
    mesh = shapes.icosphere(0).to(torch.float64)
    mesh = mesh.replace(vertex_colors=torch.ones_like(mesh.vertices))
    coefficients = torch.randn(
        9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    steps = 400
    theta = (torch.arange(steps).double() + 0.5) * (math.pi / steps)
    phi = (torch.arange(2 * steps).double() + 0.5) * (math.pi / steps)
    theta, phi = (t.flatten() for t in torch.meshgrid(theta, phi, indexing="ij"))
    x, y, z = theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()
    area = theta.sin() * (math.pi / steps) ** 2
    one, three, fifteen = (math.sqrt(n / (4.0 * math.pi)) for n in (1.0, 3.0, 15.0))
    functions = [torch.full_like(x, one), three * y, three * z, three * x]
    functions += [fifteen * x * y, fifteen * y * z, math.sqrt(5 / 16 / math.pi) * (3 * z * z - 1)]
    functions += [fifteen * x * z, fifteen / 2 * (x * x - y * y)]
    functions = torch.stack(functions, -1)
    torch.testing.assert_close(
        functions.T @ (functions * area[:, None]), torch.eye(9).double(), atol=1e-4, rtol=0
    )
    cosines = (mesh.vertex_normals @ torch.stack([x, y, z])).relu()
    for band in (slice(0, 1), slice(1, 4), slice(4, 9), slice(0, 9)):
        some = torch.zeros_like(coefficients)
        some[band] = coefficients[band]
        irradiance = (cosines * area) @ (functions @ some)
        lit = shade(mesh, SphericalHarmonics(coefficients=some)).vertex_colors
        torch.testing.assert_close(lit, irradiance / math.pi, atol=1e-4, rtol=0)


def test_an_environment_of_radiance_one_changes_no_colour():
    coefficients = torch.zeros(9, 3)
    coefficients[0] = math.sqrt(4.0 * math.pi)
    lit = shade(WALL, SphericalHarmonics(coefficients=coefficients))
    torch.testing.assert_close(lit.vertex_colors, WALL.vertex_colors, atol=1e-6, rtol=0)


@pytest.mark.parametrize("colors", ["vertex_colors", "face_colors"])
def test_the_old_light_is_the_same_among_others(colors):
    mesh = shapes.duck(1)
    count = mesh.n_vertices if colors == "vertex_colors" else mesh.n_faces
    mesh = mesh.replace(vertex_colors=None).replace(**{colors: torch.rand(count, 4)})
    old = Light(
        ambient_color=(0.2, 0.6, 1.0),
        directional_intensity=(0.5, 0.7),
        direction=((0.0, 1.0, 0.2), (1.0, 0.0, 0.0)),
    )
    new = [
        AmbientLight(color=(0.2, 0.6, 1.0)),
        DirectionalLight(direction=(0.0, 1.0, 0.2)),
        DirectionalLight(intensity=0.7, direction=(1.0, 0.0, 0.0)),
    ]
    expected = getattr(shade(mesh, old), colors)
    torch.testing.assert_close(getattr(shade(mesh, [old]), colors), expected)
    torch.testing.assert_close(getattr(shade(mesh, new), colors), expected)
    torch.testing.assert_close(getattr(shade(mesh, old, material=Material()), colors), expected)


def test_flat_shading_lights_each_face_at_its_centroid_with_its_mean_colour():
    mesh = WALL.replace(vertex_colors=torch.eye(3).double())
    light = PointLight(position=(1 / 3, 1 / 3, 2.0), intensity=1.0, attenuation=(0.0, 1.0, 0.0))
    lit = shade(mesh, light, shading="flat")
    assert lit.vertex_colors is None
    torch.testing.assert_close(lit.face_colors, torch.full((1, 3), 1 / 6).double())
    grey = shade(shapes.cube(), AmbientLight(intensity=1.0), shading="flat")
    assert grey.face_colors.shape == (12, 3)


@pytest.mark.parametrize("shading", ["gouraud", "flat"])
def test_gradients_reach_vertices_colours_eye_lights_and_material(shading):
    mesh = shapes.icosphere(0).to(torch.float64)
    generator = torch.Generator().manual_seed(0)

    def run(*given):
        vertices, colors, eye, rgb, direction, position, attenuation, harmonics, shine = given
        lights = [
            AmbientLight(intensity=shine[0], color=rgb),
            DirectionalLight(intensity=shine[1], color=rgb, direction=direction),
            PointLight(position=position, intensity=rgb[0], color=rgb, attenuation=attenuation),
            SphericalHarmonics(coefficients=harmonics),
        ]
        material = Material(specular_intensity=shine[0], specular_color=rgb, shininess=4 * shine[1])
        camera = Camera.look_at(eye, at=(0.0, 0.0, 0.0))
        lit = mesh.replace(vertices=vertices, vertex_colors=colors)
        lit = shade(lit, lights, material=material, camera=camera, shading=shading)
        return lit.face_colors if shading == "flat" else lit.vertex_colors

    given = (
        mesh.vertices.clone(),
        torch.rand(12, 3, dtype=torch.float64, generator=generator),
        tensor(0.5, 1.0, 3.0),
        tensor(0.9, 0.6, 0.3),
        tensor(0.3, 0.9, 0.5),
        tensor(1.2, -0.4, 1.7),
        tensor(0.5, 0.3, 0.2),
        torch.randn(9, 3, dtype=torch.float64, generator=generator),
        tensor(0.4, 0.7),
    )
    assert torch.autograd.gradcheck(run, [value.requires_grad_() for value in given])


@pytest.mark.parametrize("attenuation", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (1e-30, 0.0, 0.0), (0.0, 0.0, 1e-6)])
def test_no_nan_spreads(attenuation, at):
    """Light and eye at a vertex, a vertex that is NaN, and one without a normal."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [math.nan] * 3, [5, 5, 5]])
    faces = [[0, 1, 2], [1, 2, 3], [4, 4, 4]]
    position = torch.tensor(at)
    power = torch.tensor(0.5)
    eye = torch.zeros(3)
    harmonics = torch.ones(9, 3)
    inputs = [t.requires_grad_() for t in (vertices, position, power, eye, harmonics)]
    for shading in ("gouraud", "flat"):
        lit = shade(
            Mesh(vertices=vertices, faces=faces),
            [
                PointLight(position=position, attenuation=attenuation),
                SphericalHarmonics(coefficients=harmonics),
            ],
            material=Material(specular_intensity=power, shininess=power),
            camera=Camera.look_at(eye, at=(0.0, 0.0, 1.0)),
            shading=shading,
        )
        colors = lit.face_colors if shading == "flat" else lit.vertex_colors
        assert colors.isfinite().all()
        for grad in torch.autograd.grad(colors.square().sum(), inputs):
            assert grad.isfinite().all()


def test_a_light_costs_only_what_it_uses(monkeypatch):
    def asked(_):
        raise AssertionError("nothing of this is needed")

    monkeypatch.setattr(Mesh, "corners", property(asked))
    assert first(shade(WALL, AmbientLight()))[0] == 0.5
    monkeypatch.undo()
    monkeypatch.setattr(Surface, "points", property(asked))
    monkeypatch.setattr(Surface, "towards_eye", property(asked))
    camera = Camera.orbit(3.0, 0.0, 0.0)
    lights = [DirectionalLight(), SphericalHarmonics(coefficients=torch.ones(9, 3))]
    assert first(shade(WALL, lights, material=Material(), camera=camera))[0] > 0.0


def test_lights_materials_and_eyes_may_be_one_a_view():
    mesh = shapes.duck(1)
    position = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2]])
    intensity = torch.tensor([0.2, 0.5, 0.9])
    cameras = Camera.orbit(3.0, 20.0, torch.tensor([0.0, 50.0, 100.0]))
    lights = [PointLight(position=position, intensity=intensity), DARK]
    options = {"background": 0.1, "material": Material(specular_intensity=intensity)}
    together = tsr.render(mesh, cameras, 8, light=lights, **options).image
    for deformed in (mesh.vertices[None], mesh.vertices.expand(3, -1, -1)):
        again = tsr.render(mesh.replace(vertices=deformed), cameras, 8, light=lights, **options)
        torch.testing.assert_close(again.image, together)
    for i in range(3):
        light = PointLight(position=position[i], intensity=intensity[i])
        options["material"] = Material(specular_intensity=intensity[i])
        alone = tsr.render(mesh, cameras[i], 8, light=light, **options).image
        torch.testing.assert_close(together[i : i + 1], alone)
    views = tsr.render(mesh, cameras[0], 8, light=AmbientLight(intensity=intensity)).image
    torch.testing.assert_close(views[2], views[0] * 4.5)


def test_different_meshes_are_lit_each_as_its_own_view_sees_it():
    meshes = [shapes.duck(1), shapes.cube()]
    cameras = Camera.orbit(3.0, 20.0, torch.tensor([0.0, 50.0]))
    options = {"light": [Light(), PointLight(position=(1.0, 1.0, 1.0))], "material": MIRROR}
    together = tsr.render(meshes, cameras, 8, **options).image
    for i, mesh in enumerate(meshes):
        alone = tsr.render(mesh, cameras[i], 8, **options).image
        torch.testing.assert_close(together[i : i + 1], alone)
    with pytest.raises(ShapeError, match="`light` and `material` must be the same"):
        tsr.render(meshes, cameras, 8, light=AmbientLight(intensity=(0.1, 0.2)))


@pytest.mark.parametrize(
    ("light", "material", "message"),
    [
        ("sun", None, "`light` must be a Light.*got str"),
        ([DARK, 3], None, r"`light\[1\]` must be a Light.*got int"),
        (DirectionalLight(direction=(0.0, 0.0, 0.0)), None, "`DirectionalLight.direction`.*zero"),
        (PointLight(position=(0.0, 1.0)), None, r"`PointLight.position`.*\[3\], got \[2\]"),
        (PointLight(position=(math.nan, 1.0, 0.0)), None, "`PointLight.position` must be finite"),
        (PointLight(position=(0.0,) * 3, attenuation=(0.0,) * 3), None, "attenuation` must not"),
        (PointLight(position=(0.0,) * 3, attenuation=(1.0, -1.0, 0.0)), None, "must not be neg"),
        (AmbientLight(color=(1.0, 1.0)), None, "`AmbientLight.color`"),
        (SphericalHarmonics(coefficients=torch.zeros(4, 3)), None, r"coefficients`.*\[9, 3\], got"),
        (DARK, Material(specular_intensity=1.0, shininess=0.0), "`Material.shininess` must be pos"),
        (AmbientLight(intensity=(1.0, 2.0, 3.0)), None, "`AmbientLight` must hold 1 or 2 views"),
    ],
)
def test_wrong_lights_are_named(light, material, message):
    cameras = Camera.orbit(3.0, 20.0, torch.tensor([0.0, 50.0]))
    with pytest.raises((ArgumentError, ShapeError), match=message):
        tsr.render(WALL, cameras, 8, light=light, material=material)


def test_what_is_missing_is_named():
    with pytest.raises(ArgumentError, match="`shading` must be"):
        shade(WALL, DirectionalLight(), shading="phong")
    with pytest.raises(ArgumentError, match="`camera` must be given"):
        shade(WALL, DirectionalLight(), material=MIRROR)
    with pytest.raises(ArgumentError, match="give a `light` too"):
        tsr.render(WALL, Camera.orbit(3.0, 0.0, 0.0), 8, material=MIRROR)
    with pytest.raises(ShapeError, match="`colors` must have 3 or 4 channels"):
        shade(WALL.replace(vertex_colors=torch.zeros(3, 7)), [DARK])
    with pytest.raises(ShapeError, match="`camera` holds 3 views"):
        tsr.render([WALL, WALL], Camera.orbit(3.0, 0.0, torch.arange(3.0)), 8, light=[DARK])
