import math

import pytest
import torch
from textured_files import textured_obj
from torch.nn.functional import avg_pool2d

from taichi_softras import (
    ArgumentError,
    Camera,
    FileError,
    Mesh,
    RasterSettings,
    SurfaceTexture,
    UVTexture,
    render,
    save_mesh,
    scenes,
    shade,
    shapes,
)


def directions(camera):
    """Unit vectors from the world's origin to the eyes. [N, 3]"""
    eyes = camera.world_from_camera_opengl[:, :3, 3].double()
    return eyes / eyes.norm(dim=-1, keepdim=True)


def smallest_angle(points):
    """Degrees between the two closest of some directions."""
    cosines = (points @ points.mT).clamp(-1.0, 1.0) - 3.0 * torch.eye(len(points))
    return math.degrees(math.acos(float(cosines.max())))


@pytest.mark.parametrize("views", [6, 24, 57, 100])
def test_views_are_spread_over_the_whole_sphere(views):
    points = directions(scenes.sphere_cameras(views, image_size=8))
    # the side of a patch of the sphere that belongs to one view
    patch = math.degrees(math.sqrt(4.0 * math.pi / views))
    assert smallest_angle(points) > 0.7 * patch
    assert points[:, 1].min() < -0.8
    assert points[:, 1].max() > 0.8
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(3).double(), atol=0.06, rtol=0.0)


@pytest.mark.parametrize("views", [24, 48, 64, 100])
def test_every_eighth_view_is_spread_too(views):
    points = directions(scenes.sphere_cameras(views, image_size=8))
    nearest = smallest_angle(points)
    for first in range(8):
        assert smallest_angle(points[first::8]) > 1.1 * nearest


def test_cameras_are_the_same_every_time():
    once, twice = (scenes.sphere_cameras(13, image_size=8) for _ in range(2))
    assert torch.equal(once.view_from_world, twice.view_from_world)


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (90, 40)])
@pytest.mark.parametrize("fov", [10.0, 45.0, 100.0])
def test_the_sphere_fits_with_a_margin(size, fov):
    camera = scenes.sphere_cameras(3, fov=fov, radius=2.5, at=(7.0, 0.0, -3.0), image_size=size)
    ball = shapes.icosphere(4, radius=2.5)
    ball = ball.replace(vertices=ball.vertices + torch.tensor([7.0, 0.0, -3.0]))
    reach = camera.ndc_from_view(camera.view_from_points(ball.vertices))[..., :2].norm(dim=-1)
    assert 0.9 < float(reach.max()) < 0.95


def test_a_turntable_closes_its_loop_in_equal_steps():
    points = directions(scenes.turntable_cameras(8, elevation=30.0, image_size=8))
    steps = (points * points.roll(1, 0)).sum(dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand(8), atol=1e-6, rtol=0.0)
    assert torch.allclose(points[:, 1], torch.tensor(0.5).double())


def test_alpha_is_the_hard_silhouette_averaged_over_each_pixel():
    mesh, camera = shapes.torus(), scenes.sphere_cameras(2, image_size=(12, 20))
    hard = RasterSettings(distance="hard", alpha="hard", color="none", near=0.01)
    fine = render(mesh, camera, (36, 60), settings=hard).alpha
    alpha = scenes.render_rgba(mesh, camera, supersample=3)[..., 3]
    torch.testing.assert_close(alpha, avg_pool2d(fine[:, None], 3)[:, 0])
    assert ((alpha > 0.0) & (alpha < 1.0)).any()


@pytest.mark.parametrize("settings", [None, RasterSettings(sigma=1e-2, gamma=1e-2)])
def test_nothing_of_the_background_mixes_into_the_colours(settings):
    color = torch.tensor([0.9, 0.5, 0.2])
    mesh = shapes.icosphere(1).replace(vertex_colors=color.expand(42, 3))
    camera = scenes.sphere_cameras(1, image_size=24)
    rgba = scenes.render_rgba(mesh, camera, light=None, supersample=2, settings=settings)
    touched = rgba[..., 3] > 0.01
    assert (rgba[touched][:, 3] < 0.99).any()
    torch.testing.assert_close(rgba[touched][:, :3], color.expand(int(touched.sum()), 3))


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_every_kind_of_colour_makes_an_opaque_picture(channels):
    mesh = shapes.cube()
    if channels:
        mesh = mesh.replace(face_colors=torch.full((12, channels), 0.25))
    rgba = scenes.render_rgba(mesh, scenes.sphere_cameras(1, image_size=9), 9, light=None)
    expected = [0.25 if channels else 0.7] * 3 + [1.0]
    torch.testing.assert_close(rgba[0, 4, 4], torch.tensor(expected))


def test_light_is_that_of_shade():
    mesh = shapes.icosphere(3)
    camera = Camera.orbit(3.0, 20.0, 30.0, image_size=15)
    color = "hard"
    hard = RasterSettings(distance="hard", alpha="hard", color=color, near=0.1)
    expected = render(shade(mesh), camera, settings=hard).image
    rgba = scenes.render_rgba(mesh, camera, supersample=1)
    torch.testing.assert_close(rgba[..., :3] * rgba[..., 3:], expected)


def test_pictures_do_not_depend_on_the_unit_of_length():
    pictures = []
    for scale in (2.0**-10, 1.0, 2.0**14):
        mesh = shapes.duck(2)
        mesh = mesh.replace(vertices=scale * mesh.vertices)
        center, radius = scenes.bounding_sphere(mesh)
        camera = scenes.sphere_cameras(1, radius=radius, at=center, image_size=32, fov=90.0)
        pictures.append(scenes.render_rgba(mesh, camera))
    assert 0.1 < pictures[1][..., 3].mean() < 0.5
    torch.testing.assert_close(pictures[0], pictures[1], atol=1e-3, rtol=0.0)
    torch.testing.assert_close(pictures[2], pictures[1], atol=1e-3, rtol=0.0)


def test_posed_pictures_come_with_cameras_names_and_progress():
    seen = []
    posed = scenes.render_posed(
        shapes.cube(),
        scenes.sphere_cameras(3, radius=2.0, image_size=64),
        (6, 10),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert posed.images.shape == (3, 6, 10, 4)
    assert posed.cameras.image_size == (6, 10)
    assert posed.names[2] == "images/view_002.png"
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_mesh_opens_by_path_and_by_name(tmp_path):
    save_mesh(shapes.cube(), tmp_path / "box.obj")
    assert scenes.open_mesh(tmp_path / "box.obj").n_faces == 12
    for name in scenes.SHAPES:
        assert scenes.open_mesh(name).n_faces > 0


def test_a_textured_mesh_opens_with_vertex_colors_or_images(tmp_path):
    path = textured_obj(tmp_path)
    assert scenes.open_mesh(path).vertex_colors is not None
    assert scenes.open_mesh(path).texture is None
    assert scenes.open_mesh(path, textures="images").texture is not None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_textures_of_any_kind_are_drawn_alone_and_with_colors(channels):
    camera = Camera.orbit(3.0, 0.0, 0.0, orthographic_height=1.0)
    value = torch.tensor([0.2, 0.4, 0.6, 0.5])[:channels]
    cube = shapes.cube().replace(vertex_colors=None, face_colors=None)
    uv = UVTexture(images=value.expand(2, 2, channels), uvs=torch.rand(cube.n_vertices, 2))
    surface = SurfaceTexture(texels=value.expand(cube.n_faces, 4, channels))
    rgb = value.expand(3) if channels == 1 else value[:3]
    for texture in (uv, surface):
        mesh = cube.replace(texture=texture)
        for drawn, wanted in (
            (mesh, rgb),
            (scenes.faceted(mesh), rgb),
            (mesh.replace(vertex_colors=torch.full((cube.n_vertices, channels), 0.5)), rgb / 2),
        ):
            picture = scenes.render_rgba(drawn, camera, 4, light=None)
            torch.testing.assert_close(picture[0, 1, 1], torch.cat([wanted, torch.ones(1)]))


def test_what_cannot_be_drawn_is_refused_in_a_sentence():
    with pytest.raises(ArgumentError, match=r"neither a mesh file nor a built-in shape .*duck"):
        scenes.open_mesh("dack")
    with pytest.raises(FileError, match="does not exist"):
        scenes.open_mesh("missing.obj")
    nothing = Mesh(vertices=torch.full((3, 3), torch.nan), faces=[[0, 1, 2]])
    with pytest.raises(ArgumentError, match="no finite vertex"):
        scenes.bounding_sphere(nothing)
    with pytest.raises(ArgumentError, match="`views` must be at least 1"):
        scenes.sphere_cameras(0, image_size=8)
    with pytest.raises(ArgumentError, match="`frames` must be at least 1"):
        scenes.turntable_cameras(0, image_size=8)
    with pytest.raises(ArgumentError, match="`supersample` must be at least 1"):
        scenes.render_rgba(shapes.cube(), Camera.orbit(3.0, 0.0, 0.0), 8, supersample=0)
    odd = shapes.cube().replace(vertex_colors=torch.ones(8, 2))
    with pytest.raises(ArgumentError, match="1, 3 or 4 channels"):
        scenes.render_rgba(odd, Camera.orbit(3.0, 0.0, 0.0), 8)
