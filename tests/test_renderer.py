"""Meshes seen by cameras: what is where, how deep, in which colour, and clipped how."""

import math
from dataclasses import replace

import pytest
import torch
from soups import Options

import taichi_softras as tsr
from taichi_softras import ArgumentError, Camera, Light, Mesh, RasterSettings, ShapeError, skipped

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]

# The z-buffer: exact values at every pixel.
HARD = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.1, far=20.0)
SOFT = RasterSettings(sigma=1e-2, gamma=0.1, near=0.5, far=10.0, dist_eps=1e-13)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def colored(mesh, seed=0):
    """The mesh in float64, with random colours."""
    rng = torch.Generator().manual_seed(seed)
    colors = torch.rand(mesh.n_vertices, 3, dtype=torch.float64, generator=rng)
    return Mesh(vertices=mesh.vertices.double(), faces=mesh.faces, vertex_colors=colors)


def double(camera):
    return camera.to(torch.float64)


def speck(point, color):
    """A small triangle that is seen along every axis, as a mesh."""
    offsets = 0.2 * tensor([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])
    return Mesh(
        vertices=tensor(point) + offsets,
        faces=torch.tensor([[0, 1, 2]]),
        face_colors=tensor([color]),
    )


def joined(*meshes):
    """One mesh of several with face colours."""
    counts = torch.tensor([0, *(m.n_vertices for m in meshes)]).cumsum(0)
    return Mesh(
        vertices=torch.cat([m.vertices for m in meshes]),
        faces=torch.cat([m.faces + n for m, n in zip(meshes, counts, strict=False)]),
        face_colors=torch.cat([m.face_colors for m in meshes]),
    )


# ---- what is where -------------------------------------------------------------------------


RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("camera", "pixels"),
    [
        # From +z: world x is right, y is up.
        (Camera.look_at((0.0, 0.0, 4.0), fov=90.0), {RED: (16, 24), GREEN: (8, 16)}),
        # From +x: what was near (+z) is on the left.
        (Camera.look_at((4.0, 0.0, 0.0), fov=90.0), {BLUE: (16, 8), GREEN: (8, 16)}),
        # From above, with -z up in the image.
        (
            Camera.look_at((0.0, 4.0, 0.0), up=(0.0, 0.0, -1.0), fov=90.0),
            {RED: (16, 24), BLUE: (24, 16)},
        ),
        (Camera.orbit(4.0, 0.0, 0.0, fov=90.0), {RED: (16, 24), GREEN: (8, 16)}),
        (
            Camera.orbit(4.0, 0.0, 0.0, orthographic_height=8.0),
            {RED: (16, 24), GREEN: (8, 16)},
        ),
    ],
    ids=["front", "right", "top", "orbit", "orthographic"],
)
def test_nothing_is_mirrored(camera, pixels):
    # On the axes, 2 from the origin: half the way to the border of a field of 90 degrees.
    mesh = joined(
        speck((2.0, 0.0, 0.0), RED), speck((0.0, 2.0, 0.0), GREEN), speck((0.0, 0.0, 2.0), BLUE)
    )
    image = tsr.render(mesh, camera, 33, settings=HARD).image[0]
    for color, (row, column) in pixels.items():
        assert image[row, column].tolist() == list(color)
        # Its mirror images are empty.
        for r, c in ((32 - row, column), (row, 32 - column)):
            if (r, c) != (row, column):
                assert image[r, c].tolist() != list(color)


@pytest.mark.parametrize("size", [(48, 80), (80, 48)])
def test_points_appear_where_the_intrinsics_say(size):
    height, width = size
    K = [[60.0, 0.0, 0.5 * width + 9.3], [0.0, 75.0, 0.5 * height - 6.1], [0.0, 0.0, 1.0]]
    R = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]
    camera = double(Camera.from_matrices(K=K, R=R, t=[0.1, -0.2, 3.0], image_size=size))
    point = tensor([[0.4, -0.3, 0.2]])
    mesh = Mesh(
        vertices=point + 0.15 * tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 2.0, 0.0]]),
        faces=torch.tensor([[0, 1, 2]]),
    )
    alpha = tsr.render(mesh, camera, settings=HARD).alpha[0]
    assert alpha.shape == size
    corners = camera.pixels_from_points(mesh.vertices)[0]
    v, u = torch.meshgrid(
        torch.arange(height).double() + 0.5, torch.arange(width).double() + 0.5, indexing="ij"
    )
    # A pixel is covered where its centre is on one side of all three edges.
    sides = []
    for start, end in zip(corners, corners.roll(-1, 0), strict=True):
        edge = end - start
        sides.append(edge[0] * (v - start[1]) - edge[1] * (u - start[0]))
    sides = torch.stack(sides)
    covered = (sides > 0).all(0) | (sides < 0).all(0)
    assert covered.sum() > 20
    assert torch.equal(alpha > 0, covered)


def test_a_slanted_plane_has_exact_orthographic_depth():
    camera = double(Camera.look_at((0.0, 0.0, 5.0), orthographic_height=2.0))
    plane = tsr.shapes.plane(6.0).vertices.double()
    plane[:, 2] = 0.3 * plane[:, 0] - 0.2 * plane[:, 1] + 0.1
    mesh = Mesh(vertices=plane, faces=tsr.shapes.plane(6.0).faces, vertex_colors=plane)
    out = tsr.render(mesh, camera, (20, 31), settings=HARD)
    x = (2.0 * torch.arange(31).double() + 1.0 - 31.0) / 20.0
    y = (19.0 - 2.0 * torch.arange(20).double()) / 20.0
    y, x = torch.meshgrid(y, x, indexing="ij")
    torch.testing.assert_close(out.depth[0], 5.0 - (0.3 * x - 0.2 * y + 0.1), rtol=0, atol=1e-12)
    torch.testing.assert_close(out.image[0, ..., 0], x, rtol=0, atol=1e-12)
    torch.testing.assert_close(out.image[0, ..., 1], y, rtol=0, atol=1e-12)


def test_attributes_of_a_slanted_quad_are_perspective_correct():
    """A vertex's colour is its world position, so every pixel must show the point that it sees."""
    camera = double(Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), fov=90.0))
    quad = tensor([[-9.0, -1.0, -1.5], [9.0, -1.0, -1.5], [9.0, 2.0, -12.0], [-9.0, 2.0, -12.0]])
    mesh = Mesh(vertices=quad, faces=torch.tensor([[0, 1, 2], [0, 2, 3]]), vertex_colors=quad)
    out = tsr.render(mesh, camera, 24, settings=HARD, background=math.pi)
    n = (2.0 * torch.arange(24).double() + 1.0 - 24.0) / 24.0
    up, right = torch.meshgrid(-n, n, indexing="ij")
    # On the plane z = -1.5 - 3.5 (y + 1) = -5 - 3.5 y, along the ray (right, up, -1) depth.
    depth = 5.0 / (1.0 - 3.5 * up)
    seen = out.alpha[0] > 0
    assert seen.sum() > 200
    torch.testing.assert_close(out.depth[0][seen], depth[seen], rtol=1e-12, atol=0.0)
    point = torch.stack([right * depth, up * depth, -depth], -1)
    torch.testing.assert_close(out.image[0][seen], point[seen], rtol=0.0, atol=1e-11)
    assert (out.image[0][~seen] == math.pi).all()


@pytest.mark.parametrize(
    "shape", [tsr.shapes.icosphere(2), tsr.shapes.cube()], ids=["sphere", "cube"]
)
def test_culling_the_back_of_a_closed_mesh_hides_nothing(shape):
    camera = double(Camera.orbit(3.0, 25.0, 40.0))
    everything, front, back = (
        tsr.render(colored(shape), camera, 40, settings=Options(*hard, cull=cull).settings())
        for hard, cull in ((("hard", "hard", "hard"), c) for c in ("none", "back", "front"))
    )
    # Edges of the outline may belong to a culled face alone.
    inside = everything.alpha > 0
    assert (front.alpha != everything.alpha).sum() <= 4
    same = (front.alpha > 0) & inside
    torch.testing.assert_close(front.depth[same], everything.depth[same])
    torch.testing.assert_close(front.image[same], everything.image[same])
    behind = (back.alpha > 0) & same
    assert (back.depth[behind] > everything.depth[behind]).double().mean() > 0.98


def test_a_distorted_point_appears_where_its_pixel_is():
    K = [[60.0, 0.0, 49.3], [0.0, 75.0, 18.1], [0.0, 0.0, 1.0]]
    camera = Camera.from_matrices(
        K=K, R=[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]], t=[0.1, -0.2, 3.0],
        image_size=(48, 80), distortion=[-0.4, 0.1, 0.01, -0.02],
    )  # fmt: skip
    straight = replace(camera, distortion=None)
    points = tensor([[-1.6, 0.3, 0.2], [1.1, 0.2, -0.3], [1.0, -0.9, 0.1]])
    mesh = joined(*(speck(p.tolist(), RED) for p in points))
    alpha = tsr.render(mesh, camera, settings=HARD).alpha[0]
    seen = camera.pixels_from_points(points)[0]
    for u, v in seen.floor().long():
        assert alpha[v, u] == 1.0
    assert (seen - straight.pixels_from_points(points)[0]).norm(dim=-1).min() > 1.5


# ---- clipping ------------------------------------------------------------------------------


def test_the_ground_reaches_from_the_near_plane_to_the_horizon():
    """One quad, far larger than the view and through the eye's plane, at its true depth."""
    ground = tensor(
        [[-50.0, -1.0, 50.0], [50.0, -1.0, 50.0], [50.0, -1.0, -50.0], [-50.0, -1.0, -50.0]]
    )
    mesh = Mesh(vertices=ground, faces=torch.tensor([[0, 1, 2], [0, 2, 3]]), vertex_colors=ground)
    camera = Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), fov=tensor(120.0))
    settings = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.2, far=100.0)
    out = tsr.render(mesh, camera, 30, settings=settings)
    n = (2.0 * torch.arange(30).double() + 1.0 - 30.0) / 30.0 * math.tan(math.radians(60.0))
    up, right = torch.meshgrid(-n, n, indexing="ij")
    below = up < 0
    depth = torch.where(below, -1.0 / up, torch.inf)
    seen = below & (depth < 50.0) & ((right * depth).abs() < 50.0)
    assert torch.equal(out.alpha[0] > 0, seen)
    torch.testing.assert_close(out.depth[0][seen], depth[seen], rtol=1e-9, atol=0.0)
    point = torch.stack([right * depth, -torch.ones_like(depth), -depth], -1)
    torch.testing.assert_close(out.image[0][seen], point[seen], rtol=0.0, atol=1e-8)
    assert out.skipped.behind == 0


# Camera at the origin looking along -z; near is 0.5. One corner in front, and two.
ONE_IN_FRONT = [[-0.3, -0.4, -2.0], [1.5, 0.2, 1.0], [-0.2, 1.6, 0.4]]
TWO_IN_FRONT = [[-0.6, -0.5, -1.6], [0.7, -0.4, -2.2], [0.2, 1.5, 0.7]]


def eye_camera(fov=80.0):
    return double(Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), fov=fov))


BARREL = tensor([[-0.2, 0.02, 1e-3, -2e-3, 0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("distortion", [None, BARREL], ids=["straight", "distorted"])
@pytest.mark.parametrize("turn", range(3))
def test_a_clipped_corner_equals_the_triangle_cut_by_hand(turn, distortion):
    camera = replace(eye_camera(), distortion=distortion)
    corners = tensor(ONE_IN_FRONT).roll(turn, 0)
    colors = tensor([[1.0, 0.0, 0.2], [0.0, 1.0, 0.4], [0.5, 0.5, 0.9]]).roll(turn, 0)
    mesh = Mesh(vertices=corners, faces=torch.tensor([[0, 1, 2]]), vertex_colors=colors)
    front = int((corners[:, 2] < -0.5).nonzero())
    cut_corners, cut_colors = corners.clone(), colors.clone()
    for other in ((front + 1) % 3, (front + 2) % 3):
        # Where the edge meets z = -0.5.
        t = (-0.5 - corners[front, 2]) / (corners[other, 2] - corners[front, 2])
        cut_corners[other] = corners[front] + t * (corners[other] - corners[front])
        cut_colors[other] = colors[front] + t * (colors[other] - colors[front])
    # A hair in front of the near plane, so that nothing is clipped.
    hair = RasterSettings(sigma=1e-2, gamma=0.1, near=0.5 - 1e-12, far=10.0, dist_eps=1e-13)
    by_hand = mesh.replace(vertices=cut_corners, vertex_colors=cut_colors)
    out = tsr.render(mesh, camera, 17, settings=SOFT)
    expected = tsr.render(by_hand, camera, 17, settings=hair)
    for a, b in zip(out[:3], expected[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("corners", [ONE_IN_FRONT, TWO_IN_FRONT], ids=["one", "two"])
def test_a_clipped_face_equals_a_finely_divided_one(corners):
    """Small faces that are wholly in front, and a sliver's worth of those that are not."""
    mesh = colored(Mesh(vertices=tensor(corners), faces=torch.tensor([[0, 1, 2]])))
    settings = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.5, far=10.0)
    whole = tsr.render(mesh, eye_camera(), 40, settings=settings)
    n = 200
    i, j = torch.meshgrid(torch.arange(n + 1), torch.arange(n + 1), indexing="ij")
    weights = torch.stack([n - i - j, i, j], -1).double() / n
    index = i * (n + 1) + j
    up = torch.stack([index[:-1, :-1], index[1:, :-1], index[:-1, 1:]], -1)
    down = torch.stack([index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1)
    inside = (i + j)[:-1, :-1]
    faces = torch.cat([up[inside <= n - 1], down[inside <= n - 2]])
    points = weights.reshape(-1, 3) @ mesh.vertices
    in_front = (points[faces][..., 2] <= -0.5).all(-1)
    fine = Mesh(
        vertices=points,
        faces=faces[in_front],
        vertex_colors=weights.reshape(-1, 3) @ mesh.vertex_colors,
    )
    fine = tsr.render(fine, eye_camera(), 40, settings=settings)
    both = (whole.alpha > 0) & (fine.alpha > 0)
    assert both.sum() > 150
    assert ((fine.alpha > 0) & ~(whole.alpha > 0)).sum() == 0
    # Missing: at most the row of small faces along the cut, which spans few pixels.
    assert ((whole.alpha > 0) & ~both).sum() < 0.1 * both.sum()
    torch.testing.assert_close(whole.depth[both], fine.depth[both], rtol=0.0, atol=1e-10)
    torch.testing.assert_close(whole.image[both], fine.image[both], rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("corners", [ONE_IN_FRONT, TWO_IN_FRONT], ids=["one", "two"])
def test_gradients_go_through_the_cut(corners):
    mesh = colored(Mesh(vertices=tensor(corners), faces=torch.tensor([[0, 1, 2]])))

    def run(vertices, colors):
        moved = mesh.replace(vertices=vertices, vertex_colors=colors)
        return tsr.render(moved, eye_camera(), 5, settings=SOFT)[:3]

    given = (mesh.vertices.requires_grad_(), mesh.vertex_colors.requires_grad_())
    assert torch.autograd.gradcheck(run, given)


def test_inside_a_closed_box_there_is_wall_everywhere():
    box = colored(tsr.shapes.cube(4.0))
    for azimuth in range(0, 360, 40):
        camera = double(Camera.orbit(0.4, 20.0 * math.sin(azimuth), float(azimuth), fov=110.0))
        out = tsr.render(box, camera, 21, settings=HARD)
        assert (out.alpha == 1.0).all()
        # Walls are 1.6 to 2 sqrt(3) + 0.4 away, 68 degrees off the axis at most.
        assert out.depth.min() > 0.5
        assert out.depth.max() < 4.0 * math.sqrt(3.0)
        seen_from_inside = tsr.render(
            box,
            camera,
            21,
            settings=Options("hard", "hard", "hard", cull="back").settings(near=0.1),
        )
        assert not seen_from_inside.alpha.any()


def test_what_is_behind_is_counted_and_draws_nothing():
    mesh = tsr.shapes.icosphere(1).to(torch.float64)
    behind = mesh.replace(vertices=mesh.vertices + tensor([0.0, 0.0, 5.0]))
    out = tsr.render(behind, eye_camera(), 9, settings=SOFT, background=0.25)
    assert out.skipped == tsr.SkippedFaces(behind=80)
    assert not out.alpha.any()
    assert (out.image == 0.25).all()
    # Far in front and behind at once: only what is in front counts.
    pair = joined(speck((0.0, 0.0, -3.0), RED), speck((0.0, 0.0, 3.0), BLUE))
    out = tsr.render(pair, eye_camera(), 9, settings=HARD)
    assert out.skipped.behind == 1
    assert out.image[0, 4, 4].tolist() == list(RED)
    assert not out.image[..., 2].any()


def test_orthographic_views_clip_too():
    camera = double(Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), orthographic_height=3.0))
    for corners in (ONE_IN_FRONT, TWO_IN_FRONT):
        mesh = Mesh(
            vertices=tensor(corners), faces=torch.tensor([[0, 1, 2]]), vertex_colors=tensor(corners)
        )
        settings = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.5, far=10.0)
        out = tsr.render(mesh, camera, 40, settings=settings)
        seen = out.alpha > 0
        assert seen.any()
        assert out.depth[seen].min() >= 0.5
        torch.testing.assert_close(out.image[..., 2][seen], -out.depth[seen], rtol=0, atol=1e-12)


# ---- batches -------------------------------------------------------------------------------


def assert_same_bits(actual, expected):
    for a, b in zip(actual[:3], expected[:3], strict=True):
        assert torch.equal(a, b)


def views(*renderings):
    return tuple(torch.cat(values) for values in zip(*(r[:3] for r in renderings), strict=True))


CAMERAS = double(Camera.orbit(3.0, 20.0, torch.tensor([0.0, 70.0, 200.0])))


def test_one_mesh_seen_by_many_cameras():
    mesh = colored(tsr.shapes.torus(n_around=9, n_tube=5))
    together = tsr.render(mesh, CAMERAS, (12, 19), settings=SOFT)
    assert together.image.shape == (3, 12, 19, 3)
    alone = [tsr.render(mesh, camera, (12, 19), settings=SOFT) for camera in CAMERAS]
    assert_same_bits(together, views(*alone))


def test_many_shapes_seen_by_one_camera_or_by_one_each():
    mesh = colored(tsr.shapes.icosphere(1))
    rng = torch.Generator().manual_seed(2)
    moved = mesh.vertices + 0.1 * torch.randn(3, 42, 3, dtype=torch.float64, generator=rng)
    for cameras in (CAMERAS[0], CAMERAS):
        together = tsr.render(mesh.replace(vertices=moved), cameras, 12, settings=SOFT)
        alone = [
            tsr.render(mesh.replace(vertices=v), cameras[i % len(cameras)], 12, settings=SOFT)
            for i, v in enumerate(moved)
        ]
        assert_same_bits(together, views(*alone))


def test_different_meshes_one_a_view():
    meshes = [
        colored(tsr.shapes.icosphere(1)),
        colored(tsr.shapes.cube(1.5)),
        colored(tsr.shapes.plane()),
    ]
    for cameras in (CAMERAS[0], CAMERAS):
        together = tsr.render(meshes, cameras, 12, settings=SOFT)
        alone = [
            tsr.render(mesh, cameras[i % len(cameras)], 12, settings=SOFT)
            for i, mesh in enumerate(meshes)
        ]
        assert_same_bits(together, views(*alone))


def test_views_that_clip_and_views_that_do_not_share_a_batch():
    mesh = colored(tsr.shapes.cube())
    cameras = double(Camera.orbit(torch.tensor([4.0, 1.2, 0.0]), 10.0, 30.0))
    together = tsr.render(mesh, cameras, 12, settings=SOFT)
    alone = [tsr.render(mesh, camera, 12, settings=SOFT) for camera in cameras]
    for a, b in zip(together[:3], views(*alone), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)


def test_gradients_of_a_batch_are_those_of_its_views():
    mesh = colored(tsr.shapes.icosphere(0))

    def gradient(cameras):
        vertices = mesh.vertices.clone().requires_grad_()
        out = tsr.render(mesh.replace(vertices=vertices), cameras, 12, settings=SOFT)
        return torch.autograd.grad(out.image.square().sum() + out.alpha.sum(), vertices)[0]

    torch.testing.assert_close(gradient(CAMERAS), sum(map(gradient, CAMERAS)), rtol=1e-9, atol=1e-9)


def test_an_empty_mesh_is_the_background():
    empty = Mesh(vertices=torch.zeros(0, 3), faces=torch.zeros(0, 3, dtype=torch.int64))
    out = tsr.render(empty, Camera.orbit(3.0, 0.0, 0.0), 5, background=[0.1, 0.2, 0.3])
    assert out.image.shape == (1, 5, 5, 3)
    assert not out.alpha.any()
    assert torch.equal(out.image, torch.tensor([0.1, 0.2, 0.3]).expand(1, 5, 5, 3))
    mixed = tsr.render([empty, tsr.shapes.cube().to(torch.float32)], Camera.orbit(3.0, 0.0, 0.0), 5)
    assert not mixed.alpha[0].any()
    assert mixed.alpha[1].any()


# ---- gradients -----------------------------------------------------------------------------

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


# ---- arguments -----------------------------------------------------------------------------

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
