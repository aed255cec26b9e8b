"""What `render` takes, and what it refuses."""

import pytest
import torch
from colored_meshes import CAMERAS, HARD

import taichi_softras as tsr
from taichi_softras import ArgumentError, Camera, Light, ShapeError, skipped

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]

CUBE, EYE = tsr.shapes.cube(), Camera.orbit(3.0, 0.0, 0.0)


def test_the_camera_s_size_is_the_default():
    out = tsr.render(CUBE, Camera.orbit(3.0, 0.0, 0.0, image_size=(6, 9)))
    assert out.alpha.shape == (1, 6, 9)
    assert tsr.render(CUBE, Camera.orbit(3.0, 0.0, 0.0, image_size=(6, 9)), 4).alpha.shape == (
        1,
        4,
        4,
    )
    with pytest.raises(ArgumentError, match="`size` must be given"):
        tsr.render(CUBE, EYE)


@pytest.mark.parametrize("size", [0, (4, 0), (4.0, 4), "4", (1, 2, 3)])
def test_a_size_that_is_no_image(size):
    with pytest.raises(ArgumentError, match="`size` must be positive pixels"):
        tsr.render(CUBE, EYE, size)


def test_meshes_and_cameras_that_do_not_pair_up():
    shapes = CUBE.replace(vertices=CUBE.vertices.expand(2, 8, 3))
    with pytest.raises(ShapeError, match="`mesh` has 2 sets of vertices, but `camera` holds 3"):
        tsr.render(shapes, CAMERAS, 4)
    with pytest.raises(ShapeError, match="`mesh` holds 2 meshes, but `camera` holds 3"):
        tsr.render([CUBE, CUBE], CAMERAS, 4)
    with pytest.raises(ShapeError, match=r"`mesh\[1\]` must have vertices \[V, 3\]"):
        tsr.render([CUBE, shapes], EYE, 4)
    with pytest.raises(ArgumentError, match="at least one mesh"):
        tsr.render([], EYE, 4)
    with pytest.raises(ShapeError, match=r"equal channels, got \[1, 3\]"):
        tsr.render([CUBE, CUBE.replace(vertex_colors=torch.ones(8, 1))], EYE, 4)


def test_a_camera_on_another_device(monkeypatch):
    monkeypatch.setattr(Camera, "device", torch.device("meta"))
    with pytest.raises(ArgumentError, match="`camera` must be on the mesh's device cpu, got meta"):
        tsr.render(CUBE, EYE, 4)


def test_a_mesh_without_colours_is_white_or_lit_grey():
    assert tsr.render(CUBE, EYE, 5, settings=HARD).image[0, 2, 2].tolist() == [1.0, 1.0, 1.0]
    lit = tsr.render(CUBE, EYE, 5, settings=HARD, light=Light(directional_intensity=0.0))
    torch.testing.assert_close(lit.image[0, 2, 2], torch.full((3,), 0.35))


def test_faces_may_have_colours_of_any_number_of_channels():
    mesh = CUBE.replace(face_colors=torch.arange(24.0).reshape(12, 2))
    image = tsr.render(mesh, EYE, 9, settings=HARD, background=-1.0).image
    assert image.shape == (1, 9, 9, 2)
    assert image[0, 0, 0].tolist() == [-1.0, -1.0]
    torch.testing.assert_close(image[..., 1] - image[..., 0], 1.0 * (image[..., 0] >= 0))


def test_skipped_faces_are_warned_about_once():
    skipped._warned_about.clear()
    behind = CUBE.replace(vertices=CUBE.vertices + torch.tensor([0.0, 0.0, 9.0]))
    with pytest.warns(UserWarning, match="12 faces were skipped because they are nearer"):
        tsr.render(behind, EYE, 4)
