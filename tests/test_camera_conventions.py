import math
from dataclasses import replace

import pytest
import torch

import taichi_softras as tsr
from taichi_softras.camera import Camera
from taichi_softras.camera_conventions import (
    from_opengl_matrices,
    from_pytorch3d,
    to_opengl_matrices,
    to_pytorch3d,
)
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.transforms import rotation_from_axis_angle

SIZES = [(48, 64), (64, 48), (50, 50)]
IDENTITY = torch.eye(3, dtype=torch.float64)
POINTS = torch.tensor(
    [[0.3, -0.2, 0.1], [-0.5, 0.4, 0.2], [0.0, 0.1, -0.6], [0.2, 0.2, 0.2]], dtype=torch.float64
)


def some_cameras(size, orthographic=False):
    """Three cameras with focal lengths and principal points of their own."""
    posed = Camera.orbit(
        torch.tensor([3.0, 2.5, 4.0], dtype=torch.float64), [10.0, -30.0, 80.0], [0.0, 70.0, 200.0]
    )
    K = torch.tensor([[[55.0, 0, 30], [0, 60, 20], [0, 0, 1]]], dtype=torch.float64).repeat(3, 1, 1)
    K[1, 0, 0], K[2, 1, 2] = 40.0, 35.0
    view = posed.view_from_world
    return Camera.from_matrices(
        K=K, R=view[:, :3, :3], t=view[:, :3, 3], image_size=size, orthographic=orthographic
    )


def same(a, b):
    for name in ("view_from_world", "focal", "center"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))
    assert (a.orthographic, a.image_size) == (b.orthographic, b.image_size)


def pixels_by_pytorch3d(given, points, orthographic):
    """What its documentation says of row vectors, NDC and screen space."""
    x, y, z = (points @ given.R + given.T[:, None]).unbind(-1)
    if not orthographic:
        x, y = x / z, y / z
    fx, fy = given.focal_length[:, :, None].unbind(1)
    px, py = given.principal_point[:, :, None].unbind(1)
    height, width = given.image_size[0].tolist()
    if not given.in_ndc:  # the view's x left and y up, the screen's x right and y down
        return torch.stack([px - fx * x, py - fy * y], dim=-1)
    half = 0.5 * min(height, width)
    left, up = fx * x + px, fy * y + py
    return torch.stack([0.5 * width - half * left, 0.5 * height - half * up], dim=-1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orthographic", [False, True])
@pytest.mark.parametrize("in_ndc", [False, True])
def test_pytorch3d_sees_the_same_pixels_and_comes_back(size, orthographic, in_ndc):
    camera = some_cameras(size, orthographic)
    given = to_pytorch3d(camera, in_ndc=in_ndc)
    assert given.image_size.tolist() == [list(size)] * 3
    torch.testing.assert_close(
        pixels_by_pytorch3d(given, POINTS, orthographic), camera.pixels_from_points(POINTS)
    )
    arguments = given._asdict() | {"image_size": size, "orthographic": orthographic}
    same(from_pytorch3d(**arguments), camera)


def test_pytorch3d_defaults_put_x_left_and_y_up():
    camera = from_pytorch3d(R=IDENTITY, T=torch.zeros(3).double(), image_size=(100, 200))
    points = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.0, 2.0]]).double()
    # 0.5 NDC is 25 of the 50 pixels that half the shorter side has
    assert camera.pixels_from_points(points)[0].tolist() == [[75, 50], [100, 25], [100, 50]]


def test_pytorch3d_principal_points_in_ndc_and_pixels():
    points = torch.tensor([[0.0, 0.0, 1.0]]).double()
    ndc = from_pytorch3d(
        R=IDENTITY, T=[0.0, 0.0, 0.0], principal_point=(0.5, 0.25), image_size=(200, 100)
    )
    assert ndc.pixels_from_points(points)[0].tolist() == [[25, 87.5]]
    screen = from_pytorch3d(
        R=IDENTITY, T=[0.0, 0.0, 0.0], focal_length=50.0, principal_point=(25.0, 87.5),
        image_size=(200, 100), in_ndc=False,
    )  # fmt: skip
    same(screen, ndc)


def test_pytorch3d_documents_these_two_as_one_camera():
    """The example of https://pytorch3d.org/docs/cameras."""
    R, T = IDENTITY, torch.zeros(3).double()
    same(
        from_pytorch3d(
            R=R, T=T, focal_length=torch.tensor(76.8).double(), image_size=(128, 256), in_ndc=False,
            principal_point=torch.tensor([115.2, 32.0]).double(),
        ),
        from_pytorch3d(
            R=R, T=T, focal_length=torch.tensor(1.2).double(), image_size=(128, 256),
            principal_point=torch.tensor([0.2, 0.5]).double(),
        ),
    )  # fmt: skip


def test_pytorch3d_rotations_act_on_row_vectors():
    # 90 degrees about y, for columns: z becomes x
    R = rotation_from_axis_angle([0.0, 1.0, 0.0], torch.tensor(90.0).double()).mT
    camera = from_pytorch3d(R=R, T=[0.0, 0.0, 2.0], image_size=10)
    view = camera.view_from_points(torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.5, 0.0]]).double())
    # PyTorch3D's (1, 0, 2) and (0, 0.5, 3), and then x and y turned round
    expected = torch.tensor([[[-1.0, 0.0, 2.0], [0.0, -0.5, 3.0]]]).double()
    torch.testing.assert_close(view, expected)


def test_pytorch3d_focal_lengths_are_shared_batched_or_for_each_axis():
    def focal(value):
        return from_pytorch3d(
            R=torch.eye(3), T=torch.zeros(2, 3), focal_length=value, image_size=8
        ).focal.tolist()

    assert focal(2.0) == [[2, 2], [2, 2]]
    assert focal([2.0, 3.0]) == [[2, 2], [3, 3]]
    assert focal([[2.0, 3.0]]) == [[2, 3], [2, 3]]


def test_gradients_reach_the_arguments_of_pytorch3d():
    focal = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    T = torch.tensor([[0.1, 0.2, 3.0]], dtype=torch.float64, requires_grad=True)

    def pixels(focal, T):
        camera = from_pytorch3d(R=IDENTITY, T=T, focal_length=focal, image_size=(8, 12))
        return camera.pixels_from_points(POINTS)

    assert torch.autograd.gradcheck(pixels, (focal, T))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orthographic", [False, True])
def test_opengl_sees_the_same_pixels_and_depths_and_comes_back(size, orthographic):
    camera = some_cameras(size, orthographic)
    view, projection = to_opengl_matrices(camera, 0.5, 20.0)
    points = torch.cat([POINTS, torch.ones(len(POINTS), 1)], dim=-1)
    clip = points @ (projection @ view).mT
    x, y, z = (clip[..., :3] / clip[..., 3:]).unbind(-1)
    height, width = size
    window = torch.stack([0.5 * width * (1.0 + x), 0.5 * height * (1.0 - y)], dim=-1)
    torch.testing.assert_close(window, camera.pixels_from_points(POINTS))
    assert (z.abs() < 1.0).all()
    depth = camera.view_from_points(POINTS)[..., 2]
    assert torch.equal(z.argsort(dim=-1), depth.argsort(dim=-1))
    same(from_opengl_matrices(view=view, projection=projection, image_size=size), camera)


@pytest.mark.parametrize("height", [None, 2.0])
def test_opengl_depth_runs_from_minus_one_to_one(height):
    camera = Camera.look((0.0, 0.0, 0.0), fov=90.0, orthographic_height=height, image_size=(10, 20))
    view, projection = to_opengl_matrices(camera, 1.0, 4.0)
    # top right of the near and of the far plane; the eye looks along -z in the world and in OpenGL
    reach = 4.0 if height is None else 1.0
    corners = torch.tensor([[2.0, 1.0, -1.0, 1.0], [2 * reach, reach, -4.0, 1.0]])
    clip = corners @ (projection @ view)[0].mT
    torch.testing.assert_close(
        clip[:, :3] / clip[:, 3:], torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
    )


def test_opengl_views_invert_opengl_poses():
    camera = some_cameras((48, 64))
    view = to_opengl_matrices(camera, 1.0, 2.0).view
    eye = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    torch.testing.assert_close(view @ camera.world_from_camera_opengl, eye)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orthographic", [False, True])
def test_opencv_matrices_come_back(size, orthographic):
    camera = some_cameras(size, orthographic)
    K, R, t = camera.to_matrices()
    same(Camera.from_matrices(K=K, R=R, t=t, image_size=size, orthographic=orthographic), camera)
    x = POINTS @ R.mT + t[:, None]
    u = (x if orthographic else x / x[..., 2:]).clone()
    u[..., 2] = 1.0
    torch.testing.assert_close((u @ K.mT)[..., :2], camera.pixels_from_points(POINTS))


def test_look_goes_along_a_direction_of_any_length():
    eye = [[0.0, 0.0, 3.0], [1.0, 2.0, 3.0]]
    at = torch.tensor([[0.0, 0.0, 0.0], [0.5, -1.0, 1.0]])
    looking = Camera.look(eye, 7.0 * (at - torch.tensor(eye)), fov=40.0, image_size=(4, 8))
    same(looking, Camera.look_at(eye, at, fov=40.0, image_size=(4, 8)))
    ahead = Camera.look((0.0, 0.0, 5.0), orthographic_height=2.0)
    same(ahead, Camera.look_at((0.0, 0.0, 5.0), orthographic_height=2.0))


def test_look_refuses_no_direction_and_an_up_along_it():
    with pytest.raises(ArgumentError, match="`direction` must not be zero"):
        Camera.look((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    with pytest.raises(ArgumentError, match=r"`up` must not be .* `direction`"):
        Camera.look((0.0, 0.0, 0.0), (0.0, 2.0, 0.0))


def test_bad_arguments_are_refused():
    rest = {"T": torch.zeros(3).double(), "image_size": 8}
    with pytest.raises(ArgumentError, match="`R` must be a rotation"):
        from_pytorch3d(R=-IDENTITY, **rest)
    with pytest.raises(ArgumentError, match="`focal_length` must be positive"):
        from_pytorch3d(R=IDENTITY, focal_length=-1.0, **rest)
    with pytest.raises(ArgumentError, match="`focal_length` must be positive"):
        from_pytorch3d(R=IDENTITY, focal_length=0.0, in_ndc=False, **rest)
    with pytest.raises(ShapeError, match="`T` must have shape"):
        from_pytorch3d(R=IDENTITY, T=[0.0, 0.0], image_size=8)
    camera = Camera.orbit(2.0, 0.0, 0.0)
    for convert in (to_pytorch3d, lambda c: to_opengl_matrices(c, 1.0, 2.0)):
        with pytest.raises(ArgumentError, match="`image_size` must be given"):
            convert(camera)
    for near, far in ((0.0, 1.0), (2.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(ArgumentError, match="`near` and `far`"):
            to_opengl_matrices(camera, near, far, 8)
    view, projection = to_opengl_matrices(camera, 1.0, 2.0, 8)
    with pytest.raises(ArgumentError, match="transpose it"):
        from_opengl_matrices(view=view, projection=projection.mT, image_size=8)
    projection[:, 0, 1] = 0.1
    with pytest.raises(ArgumentError, match="no skew"):
        from_opengl_matrices(view=view, projection=projection, image_size=8)


def test_conventions_without_distortion_refuse_it():
    camera = some_cameras((48, 64))
    K, R, t = camera.to_matrices()
    bent = Camera.from_matrices(
        K=K, R=R, t=t, image_size=(48, 64), distortion=[-0.1, 0.01, 0.0, 0.0]
    )
    with pytest.raises(ArgumentError, match="lens distortion, which PyTorch3D's cameras cannot"):
        to_pytorch3d(bent)
    with pytest.raises(ArgumentError, match="lens distortion, which OpenGL's matrices cannot"):
        to_opengl_matrices(bent, 1.0, 2.0)
    same(
        from_pytorch3d(
            **to_pytorch3d(replace(bent, distortion=None))._asdict() | {"image_size": (48, 64)}
        ),
        camera,
    )


def test_the_module_is_public():
    assert tsr.camera_conventions.to_pytorch3d is to_pytorch3d
