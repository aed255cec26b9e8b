"""Meshes seen by cameras: what is where, how deep, in which colour."""

import math
from dataclasses import replace

import pytest
import torch
from colored_meshes import BLUE, GREEN, HARD, RED, colored, double, joined, speck, tensor
from soups import Options

import taichi_softras as tsr
from taichi_softras import Camera, Mesh

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]


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
