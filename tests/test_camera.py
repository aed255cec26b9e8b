import math

import numpy as np
import pytest
import torch

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.transforms import rotation_from_axis_angle


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


POINTS = torch.tensor(
    [[0.3, -0.2, 0.1], [-0.5, 0.4, 0.2], [0.0, 0.1, -0.6], [0.2, 0.2, 0.2]], dtype=torch.float64
)


@pytest.mark.parametrize(
    ("elevation", "azimuth", "eye"),
    [
        (0, 0, (0, 0, 2)),
        (0, 90, (2, 0, 0)),
        (0, 180, (0, 0, -2)),
        (0, -90, (-2, 0, 0)),
        (90, 0, (0, 2, 0)),
        (-90, 30, (0, -2, 0)),
        (30, 0, (0, 1, math.sqrt(3))),
        (45, 90, (math.sqrt(2), math.sqrt(2), 0)),
    ],
)
def test_orbit_puts_the_eye_where_the_angles_say(elevation, azimuth, eye):
    camera = Camera.orbit(2.0, elevation, azimuth)
    torch.testing.assert_close(camera.eye, torch.tensor([eye]).float(), atol=1e-6, rtol=0)


def test_nothing_mirrors_world_x_is_right_and_world_y_is_up():
    camera = Camera.orbit(3.0, 0.0, 0.0)
    points = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    x, y, z = camera.ndc_from_view(camera.view_from_points(points), 64)[0].unbind(-1)
    assert x[0] > 0.1
    assert y[1] > 0.1
    u, v = camera.pixels_from_points(points, 64)[0].unbind(-1)
    assert u[0] > 33
    assert v[1] < 31
    torch.testing.assert_close(z, torch.tensor([3.0, 3.0]))


@pytest.mark.parametrize("elevation", [-90.0, -30.0, 0.0, 60.0, 90.0])
def test_orbit_is_a_rotation_that_centres_the_target(elevation):
    at = (0.5, -1.0, 2.0)
    camera = Camera.orbit(2.0, elevation, [10.0, 130.0, 250.0], at=at)
    rotation = camera.view_from_world[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(3, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(3))
    expected = torch.tensor([[[0.0, 0.0, 2.0]]]).expand(3, 1, 3)
    torch.testing.assert_close(
        camera.view_from_points(torch.tensor([at])), expected, atol=1e-6, rtol=0
    )


def test_orbit_and_look_at_agree_away_from_the_poles():
    orbit = Camera.orbit(2.5, [-80.0, 0.0, 35.0], [0.0, 100.0, -50.0], tensor(40.0))
    look = Camera.look_at(orbit.eye, fov=40.0)
    torch.testing.assert_close(look.view_from_world, orbit.view_from_world)
    torch.testing.assert_close(look.focal, orbit.focal)


def test_field_of_view_is_the_full_vertical_one_at_any_aspect():
    camera = Camera.orbit(2.0, 0.0, 0.0, tensor(60.0))
    top = tensor([0.0, 2.0 * math.tan(math.radians(30.0)), 0.0])[0][None]
    for size in [(48, 96), (96, 48), (64, 64)]:
        v = camera.pixels_from_points(top, size)[0, 0, 1]
        torch.testing.assert_close(v, tensor(0.0)[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [(48, 96), (96, 48), (64, 64)])
def test_ndc_spans_the_shorter_side(size):
    height, width = size
    camera = Camera.orbit(2.0, 20.0, 40.0, tensor(50.0))
    u, v = camera.pixels_from_points(POINTS, size).unbind(-1)
    ndc = camera.ndc_from_view(camera.view_from_points(POINTS), size)
    shorter = min(size)
    torch.testing.assert_close(ndc[..., 0], (2.0 * u - width) / shorter)
    torch.testing.assert_close(ndc[..., 1], (height - 2.0 * v) / shorter)


def opencv_camera():
    K = np.array([[70.0, 0.0, 31.0], [0.0, 65.0, 22.5], [0.0, 0.0, 1.0]])
    R = rotation_from_axis_angle(tensor(0.3, 1.0, -0.2), 160.0).numpy()
    t = np.array([0.1, -0.2, 3.0])
    return K, R, t


def test_from_matrices_projects_as_opencv_does():
    K, R, t = opencv_camera()
    camera = Camera.from_matrices(K=torch.tensor(K), R=R, t=t, image_size=(48, 64))
    pixels = camera.pixels_from_points(POINTS)
    for point, pixel in zip(POINTS.numpy(), pixels[0].numpy(), strict=True):
        x, y, z = R @ point + t
        u = K[0, 0] * x / z + K[0, 2]
        v = K[1, 1] * y / z + K[1, 2]
        np.testing.assert_allclose(pixel, [u, v], rtol=1e-12)


def test_matrices_survive_a_round_trip_and_scale_with_the_size():
    K, R, t = (torch.tensor(x)[None] for x in opencv_camera())
    camera = Camera.from_matrices(K=K, R=R, t=t, image_size=(48, 64))
    for got, want in zip(camera.to_matrices(), (K, R, t), strict=True):
        torch.testing.assert_close(got, want)
    doubled = camera.to_matrices((96, 128))[0]
    torch.testing.assert_close(doubled[:, :2], 2.0 * K[:, :2])


def test_orthographic_matrices_read_pixels_per_world_unit():
    K, R, t = opencv_camera()
    given = {"K": torch.tensor(K), "R": R, "t": t, "image_size": (48, 64), "orthographic": True}
    camera = Camera.from_matrices(**given)
    x, y, _ = (POINTS.numpy() @ R.T + t).T
    expected = torch.tensor(np.stack([70.0 * x + 31.0, 65.0 * y + 22.5], -1)[None])
    torch.testing.assert_close(camera.pixels_from_points(POINTS), expected)
    torch.testing.assert_close(camera.to_matrices()[0][0], torch.tensor(K))


def by_opencv(point, K, R, t, bend):
    """Pixel of one world point, from the formulas of OpenCV's calib3d documentation."""
    x, y, z = R @ point + t
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = bend
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return [K[0, 0] * u + K[0, 2], K[1, 1] * v + K[1, 2]]


@pytest.mark.parametrize("size", [(48, 64), (90, 40)])
def test_distorted_pixels_are_opencvs(size):
    K, R, t = opencv_camera()
    bends = np.array([[-0.3, 0.1, 1e-3, -2e-3, 0.02], [0.2, 0.05, -4e-3, 1e-3, 0.0]])
    camera = Camera.from_matrices(K=K, R=R, t=t, image_size=size, distortion=bends).to(
        torch.float64
    )
    assert camera.distortion.shape == (2, 8)
    K, R, t, bends = (value.astype(np.float32).astype(float) for value in (K, R, t, bends))
    expected = [[by_opencv(point, K, R, t, bend) for point in POINTS.numpy()] for bend in bends]
    torch.testing.assert_close(camera.pixels_from_points(POINTS), torch.tensor(expected))
    ndc = camera.ndc_from_view(camera.view_from_points(POINTS), size)
    u = 0.5 * (size[1] + ndc[..., 0] * min(size))
    torch.testing.assert_close(u, torch.tensor(expected)[..., 0])


def test_distortion_stays_with_the_camera():
    K, R, t = opencv_camera()
    bend = tensor(-0.3, 0.1, 1e-3, -2e-3)
    given = {"R": R, "t": t, "image_size": (48, 64), "distortion": bend}
    camera = Camera.from_matrices(K=K, **given)
    straight = Camera.from_matrices(K=torch.tensor(K), R=R, t=t, image_size=(48, 64))
    assert straight.distortion is None
    both = Camera.concatenate([camera, straight])
    assert both[0].distortion.tolist() == [[*bend.tolist(), 0, 0, 0, 0]]
    assert not both[1].distortion.any()
    torch.testing.assert_close(
        both.pixels_from_points(POINTS)[1:], straight.pixels_from_points(POINTS)
    )
    assert camera.to(torch.float32).distortion.dtype == torch.float32
    pose = camera.world_from_camera_opengl
    again = Camera.from_opengl(pose, K=K, image_size=(48, 64), distortion=bend)
    torch.testing.assert_close(again.pixels_from_points(POINTS), camera.pixels_from_points(POINTS))
    fov = Camera.from_opengl(pose, fov=50.0, distortion=bend)
    assert fov.distortion.equal(camera.distortion)


def test_distortion_gradients_match_finite_differences():
    K, R, t = (torch.tensor(x) for x in opencv_camera())

    def pixels(K, t, bend):
        camera = Camera.from_matrices(
            K=K * torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0]]) + torch.diag(tensor(0, 0, 1.0)),
            R=R, t=t, image_size=(48, 64), distortion=bend,
        )  # fmt: skip
        return camera.pixels_from_points(POINTS, (24, 40))

    bend = torch.stack([tensor(-0.3, 0.1, 1e-3, -2e-3, 0.02), tensor(0.2, 0.0, 3e-3, 0.0, 0.0)])
    assert torch.autograd.gradcheck(pixels, [v.requires_grad_() for v in (K, t, bend)])


def test_distortion_that_cannot_be_is_refused():
    K, R, t = opencv_camera()
    given = {"K": K, "R": R, "t": t, "image_size": (48, 64)}
    with pytest.raises(ShapeError, match=r"`distortion` must have OpenCV's 4, 5 or 8"):
        Camera.from_matrices(**given, distortion=[0.1, 0.2])
    with pytest.raises(ShapeError, match="`distortion` 3"):
        Camera.from_matrices(**{**given, "t": np.zeros((2, 3))}, distortion=np.zeros((3, 5)))
    with pytest.raises(ArgumentError, match="`distortion` must be finite"):
        Camera.from_matrices(**given, distortion=[0.1, math.nan, 0.0, 0.0])
    with pytest.raises(ArgumentError, match="orthographic has none"):
        Camera.from_matrices(**given, orthographic=True, distortion=[0.1, 0.0, 0.0, 0.0])


def test_weak_perspective_scales_and_shifts_the_view_axes():
    R = rotation_from_axis_angle(tensor(0.3, 1.0, -0.2), 160.0)
    scale, translation = tensor(0.8, 0.5), torch.stack([tensor(0.1, -0.2), tensor(0.0, 0.3)])
    camera = Camera.weak_perspective(scale, translation, R=R, depth=7.0, image_size=(40, 60))
    x, y, z = (POINTS @ R.mT).unbind(-1)
    u = 30.0 + 20.0 * (scale[:, None] * x + translation[:, :1])
    v = 20.0 + 20.0 * (scale[:, None] * y + translation[:, 1:])
    torch.testing.assert_close(camera.pixels_from_points(POINTS), torch.stack([u, v], -1))
    torch.testing.assert_close(camera.view_from_points(POINTS)[1, :, 2], z + 7.0)


def test_weak_perspective_looks_as_an_orthographic_orbit_and_is_perspective_from_afar():
    weak = Camera.weak_perspective(0.5, depth=3.0)
    orbit = Camera.orbit(3.0, 0.0, 0.0, orthographic_height=4.0)
    torch.testing.assert_close(weak.view_from_world, orbit.view_from_world)
    torch.testing.assert_close(weak.focal, orbit.focal)
    far = Camera.orbit(tensor(1e6), 0.0, 0.0, 2.0 * math.degrees(math.atan(2e-6)))
    torch.testing.assert_close(
        far.pixels_from_points(POINTS, 64), weak.pixels_from_points(POINTS, 64), atol=1e-4, rtol=0
    )
    for bad, message in (({"scale": 0.0}, "`scale`"), ({"scale": 1.0, "R": 2 * np.eye(3)}, "`R`")):
        with pytest.raises(ArgumentError, match=message):
            Camera.weak_perspective(**bad)


def test_weak_perspective_gradients_match_finite_differences():
    def pixels(scale, translation):
        return Camera.weak_perspective(scale, translation).pixels_from_points(POINTS, (20, 30))

    values = (tensor(0.8, 1.2), tensor(0.1, -0.2))
    assert torch.autograd.gradcheck(pixels, [v.requires_grad_() for v in values])


def test_orthographic_height_fills_the_image():
    camera = Camera.orbit(5.0, 0.0, 0.0, orthographic_height=4.0)
    points = torch.tensor([[0.0, 2.0, 0.0], [0.0, -2.0, 1.5], [2.0, 0.0, -3.0]])
    pixels = camera.pixels_from_points(points, (100, 100))
    expected = torch.tensor([[[50.0, 0.0], [50.0, 100.0], [100.0, 50.0]]])
    torch.testing.assert_close(pixels, expected)


def test_opengl_pose_looks_along_its_negative_z_axis():
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    camera = Camera.from_opengl(pose, fov=60.0)
    torch.testing.assert_close(camera.eye, torch.tensor([[1.0, 2.0, 3.0]]))
    right, above, ahead = camera.view_from_points(
        torch.tensor([[2.0, 2.0, 3.0], [1.0, 3.0, 3.0], [1.0, 2.0, 2.0]])
    )[0]
    assert right.tolist() == [1, 0, 0]
    assert above.tolist() == [0, -1, 0]
    assert ahead.tolist() == [0, 0, 1]


def test_opengl_poses_survive_a_round_trip():
    camera = Camera.orbit(3.0, [0.0, 30.0, 90.0], [0.0, 120.0, 240.0], tensor(45.0))
    again = Camera.from_opengl(camera.world_from_camera_opengl, fov=45.0)
    torch.testing.assert_close(again.view_from_world, camera.view_from_world)
    K = camera.to_matrices((30, 40))[0]
    pixels = Camera.from_opengl(camera.world_from_camera_opengl, K=K, image_size=(30, 40))
    torch.testing.assert_close(pixels.focal, camera.focal)
    torch.testing.assert_close(pixels.center, camera.center, atol=1e-12, rtol=0)
    assert pixels.image_size == (30, 40)


@pytest.mark.parametrize("elevation", [-90.0, 0.0, 30.0, 90.0])
def test_orbit_gradients_match_finite_differences(elevation):
    def pixels(distance, elevation, azimuth, fov, at):
        return Camera.orbit(distance, elevation, azimuth, fov, at=at).pixels_from_points(POINTS, 32)

    values = (tensor(2.0, 3.0), tensor(elevation, 10.0), tensor(20.0, 80.0), tensor(60.0, 40.0))
    inputs = [v.requires_grad_() for v in (*values, tensor(0.1, 0.2, -0.1))]
    assert torch.autograd.gradcheck(pixels, inputs)


def test_look_at_gradients_match_finite_differences():
    def pixels(eye, at, up, height):
        camera = Camera.look_at(eye, at, up, orthographic_height=height)
        return camera.pixels_from_points(POINTS, (20, 30))

    values = (tensor(1.0, 2.0, 3.0), tensor(0.1, 0.0, 0.2), tensor(0.1, 1.0, 0.0), tensor(2.0))
    assert torch.autograd.gradcheck(pixels, [v.requires_grad_() for v in values])


def test_matrix_gradients_match_finite_differences():
    K, R, t = (torch.tensor(x) for x in opencv_camera())
    focal = tensor(70.0, 65.0).requires_grad_()

    def pixels(focal, R, t):
        K_now = K.clone()
        K_now[[0, 1], [0, 1]] = focal
        camera = Camera.from_matrices(K=K_now, R=R, t=t, image_size=(48, 64))
        return camera.pixels_from_points(POINTS, (24, 40)), camera.world_from_camera_opengl

    assert torch.autograd.gradcheck(pixels, (focal, R.requires_grad_(), t.requires_grad_()))


def test_one_camera_sees_a_batch_of_point_sets_and_many_cameras_see_one():
    points = POINTS.expand(3, 4, 3) * tensor(1.0, 2.0, 3.0)[:, None, None]
    one = Camera.orbit(5.0, 10.0, 20.0, tensor(50.0))
    many = Camera.orbit(5.0, 10.0, [20.0, 20.0, 70.0], tensor(50.0))
    assert one.pixels_from_points(points, 8).shape == (3, 4, 2)
    assert many.pixels_from_points(POINTS, 8).shape == (3, 4, 2)
    torch.testing.assert_close(
        one.pixels_from_points(points, 8)[1], many.pixels_from_points(points, 8)[1]
    )
    with pytest.raises(ShapeError, match=r"`points_world`.*\[3, V, 3\].*\[2, 4, 3\]"):
        many.view_from_points(points[:2])


def test_points_and_cameras_of_two_precisions_meet_in_the_wider_one():
    camera = Camera.orbit(5.0, 10.0, 20.0)
    assert camera.pixels_from_points(POINTS, 8).dtype == torch.float64
    assert camera.to(torch.float64).pixels_from_points(POINTS.float(), 8).dtype == torch.float64
    with pytest.raises(ArgumentError, match="on meta but the camera on cpu"):
        camera.view_from_points(torch.zeros(4, 3, device="meta"))


def test_ndc_takes_faces_of_corners():
    camera = Camera.orbit(5.0, 10.0, [20.0, 60.0], tensor(50.0))
    view = camera.view_from_points(POINTS)
    faces = view[:, torch.tensor([[0, 1, 2], [1, 2, 3]])]
    got = camera.ndc_from_view(faces, 16)
    assert got.shape == (2, 2, 3, 3)
    torch.testing.assert_close(got[:, 1, 2], camera.ndc_from_view(view, 16)[:, 3])


def test_a_point_in_the_eye_plane_gives_no_nan_gradient():
    points = torch.tensor([[1.0, 0.5, 3.0]], requires_grad=True)  # beside the eye, depth 0
    camera = Camera.orbit(3.0, 0.0, 0.0)
    ndc = camera.ndc_from_view(camera.view_from_points(points), 16)
    (ndc * 0.0).sum().backward()
    assert not ndc.isnan().any()
    assert torch.isfinite(points.grad).all()


def test_indexing_always_keeps_the_batch_axis():
    camera = Camera.orbit(3.0, 0.0, [0.0, 10.0, 20.0, 30.0], image_size=(4, 6))
    assert [len(camera[i]) for i in (0, -1, slice(1, 3), [0, 2, 3], torch.tensor(2))] == [
        *(1, 1, 2, 3, 1)
    ]
    assert camera[-1].eye.equal(camera.eye[3:])
    assert camera[[2, 0]].eye.equal(camera.eye[[2, 0]])
    assert camera[camera.eye[:, 0] > 0.1].eye.equal(camera.eye[1:])
    assert camera[1].image_size == (4, 6)
    assert len(list(camera)) == 4
    with pytest.raises(IndexError):
        camera[4]


def test_concatenate_undoes_iteration():
    camera = Camera.orbit(3.0, 0.0, [0.0, 10.0, 20.0], image_size=8)
    again = Camera.concatenate(list(camera))
    assert again.view_from_world.equal(camera.view_from_world)
    assert again.image_size == (8, 8)
    other = Camera.orbit(3.0, 0.0, 0.0)
    assert Camera.concatenate([camera, other]).image_size is None
    with pytest.raises(ArgumentError, match="orthographic"):
        Camera.concatenate([camera, Camera.orbit(3.0, 0.0, 0.0, orthographic_height=1.0)])
    with pytest.raises(ArgumentError, match="at least one"):
        Camera.concatenate([])


def test_dtype_is_float32_unless_a_tensor_is_wider():
    assert Camera.orbit(3.0, np.float64(1.0), np.zeros(2)).dtype == torch.float32
    assert Camera.orbit(tensor(3.0), 0.0, 0.0).dtype == torch.float64
    assert Camera.orbit(tensor(3.0), 0.0, 0.0).to(torch.float32).focal.dtype == torch.float32


@pytest.mark.parametrize("name", ["distance", "elevation", "azimuth", "fov", "at"])
def test_a_camera_that_is_not_finite_names_the_argument(name):
    given = {"distance": 2.0, "elevation": 0.0, "azimuth": 0.0, "fov": 60.0, "at": (0.0, 0.0, 0.0)}
    given[name] = (math.nan, 0.0, 0.0) if name == "at" else math.nan
    with pytest.raises(ArgumentError, match=f"`{name}` must be finite"):
        Camera.orbit(**given)


def test_wrong_arguments_are_named():
    K, R, t = opencv_camera()
    wrong = [
        (lambda: Camera.orbit(-1.0, 0.0, 0.0), "`distance`"),
        (lambda: Camera.orbit(1.0, 0.0, 0.0, 180.0), "`fov`"),
        (lambda: Camera.orbit(1.0, 0.0, 0.0, orthographic_height=0.0), "`orthographic_height`"),
        (lambda: Camera.orbit(1.0, [0.0, 1.0], [0.0, 1.0, 2.0]), "`elevation` 2, `azimuth` 3"),
        (lambda: Camera.orbit(1.0, 0.0, 0.0, at=(0.0, 0.0)), "`at`"),
        (lambda: Camera.look_at((0, 2, 0)), "`up`.*parallel"),
        (lambda: Camera.look_at((0, 0, 0)), "`eye` and `at`"),
        (lambda: Camera.from_matrices(K=K, R=-R, t=t, image_size=4), "`R`.*determinant -1"),
        (lambda: Camera.from_matrices(K=K, R=2 * R, t=t, image_size=4), "`R`.*determinant 8"),
        (lambda: Camera.from_matrices(K=K + np.eye(3)[::-1], R=R, t=t, image_size=4), "`K`"),
        (lambda: Camera.from_matrices(K=-K, R=R, t=t, image_size=4), "`K`"),
        (lambda: Camera.from_matrices(K=K, R=R, t=t, image_size=(0, 4)), "`image_size`"),
        (lambda: Camera.from_matrices(K=K, R=R, t=t, image_size=4.5), "`image_size`"),
        (lambda: Camera.from_opengl(np.eye(4)), "`fov` or `K`"),
        (lambda: Camera.from_opengl(np.eye(4), K=K), "`image_size`"),
        (lambda: Camera.from_opengl(np.eye(3), fov=60.0), "`camera_to_world`"),
        (lambda: Camera.from_opengl(2 * np.eye(4), fov=60.0), "camera_to_world"),
        (lambda: Camera.orbit(1.0, 0.0, 0.0).to_matrices(), "`image_size`"),
    ]
    for build, message in wrong:
        with pytest.raises((ArgumentError, ShapeError), match=message):
            build()


def test_skew_is_refused_by_name():
    K, R, t = opencv_camera()
    K[0, 1] = 0.5
    with pytest.raises(ArgumentError, match="`K` must have no skew"):
        Camera.from_matrices(K=K, R=R, t=t, image_size=(48, 64))


def test_fields_given_by_hand_are_checked():
    camera = Camera.orbit(1.0, 0.0, 0.0)
    fields = {"view_from_world": camera.view_from_world, "focal": camera.focal}
    with pytest.raises(ArgumentError, match="`center` must be finite"):
        Camera(**fields, center=torch.full((1, 2), math.inf))
    with pytest.raises(ShapeError, match="`center`"):
        Camera(**fields, center=torch.zeros(2, 2))
    with pytest.raises(ArgumentError, match=r"`center`.*float64"):
        Camera(**fields, center=torch.zeros(1, 2, dtype=torch.float64))
