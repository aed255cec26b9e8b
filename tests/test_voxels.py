import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_softras import shapes, topology, voxels
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import rotation_from_axis_angle, transform_points
from taichi_softras.voxels import voxel_iou, voxelize

UNIT = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


@pytest.fixture(autouse=True)
def closed_meshes_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def join(*meshes):
    counts = np.cumsum([0, *(m.n_vertices for m in meshes)])
    return Mesh(
        vertices=torch.cat([m.vertices for m in meshes]),
        faces=torch.cat([m.faces + int(n) for m, n in zip(meshes, counts[:-1], strict=True)]),
    )


def flip(mesh):
    return mesh.replace(faces=mesh.faces.flip(-1))


def rotated(mesh, generator):
    axis = torch.randn(3, dtype=torch.float64, generator=generator)
    angle = 360.0 * torch.rand((), dtype=torch.float64, generator=generator)
    return mesh.replace(
        vertices=transform_points(rotation_from_axis_angle(axis, angle), mesh.vertices.double())
    )


def box(low, high):
    corners = shapes.cube(1.0).vertices.double() + 0.5
    low, high = torch.tensor(low).double(), torch.tensor(high).double()
    return Mesh(vertices=low + corners * (high - low), faces=shapes.cube().faces)


def centres(bounds, n):
    """[N, N, N, 3], indexed by d, h, w."""
    low, high = torch.tensor(bounds, dtype=torch.float64)
    steps = (torch.arange(n).double() + 0.5) / n
    z, y, x = torch.meshgrid(*[low[k] + steps * (high - low)[k] for k in (2, 1, 0)], indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def winding_numbers(mesh, points):
    """Solid angles of all faces over 4 pi: the integral that crossings count. [N]"""
    a, b, c = (mesh.corners.double()[None] - points[:, None, None]).unbind(dim=2)
    la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
    volume = (a * torch.linalg.cross(b, c, dim=-1)).sum(-1)
    angle = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return (2.0 * torch.atan2(volume, angle)).sum(dim=1) / (4.0 * math.pi)


def test_axes_are_z_y_x():
    solid = voxelize(box((0, 0, 0), (1, 2, 3)), 4, ((0, 0, 0), (4, 4, 4)))
    expected = torch.zeros(4, 4, 4, dtype=torch.bool)
    expected[:3, :2, :1] = True
    assert torch.equal(solid, expected)


def test_a_cube_fills_its_own_bounds():
    assert voxelize(shapes.cube(), 8).all()


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_a_cube_holds_the_centres_within_it(n):
    points = centres(UNIT, n)
    inside = ((points >= -0.5) & (points < 0.5)).all(dim=-1)
    assert torch.equal(voxelize(shapes.cube(1.0), n, UNIT), inside)
    # each side is off by at most half a voxel at either end
    assert (1.0 - 2.0 / n) <= float(inside.sum() * (2.0 / n) ** 3) ** (1 / 3) <= 1.0 + 2.0 / n


@pytest.mark.parametrize("n", [16, 32, 64])
def test_the_volume_of_a_sphere_is_right_within_the_shell_of_one_voxel(n):
    mesh = shapes.icosphere(4, 0.9)
    step = 2.0 / n
    volume = float(voxelize(mesh, n, UNIT).sum()) * step**3
    inner = 0.9 * 0.997 - 0.5 * math.sqrt(3) * step  # faces lie up to 0.3 % inside the sphere
    outer = 0.9 + 0.5 * math.sqrt(3) * step
    assert 4.0 / 3.0 * math.pi * inner**3 < volume < 4.0 / 3.0 * math.pi * outer**3
    assert volume == pytest.approx(4.0 / 3.0 * math.pi * 0.9**3, rel=0.02)


def test_every_voxel_of_a_sphere_is_where_its_radius_says():
    solid = voxelize(shapes.icosphere(4, 0.9), 32, UNIT)
    radius = centres(UNIT, 32).norm(dim=-1)
    assert solid[radius < 0.9 * 0.997].all()
    assert not solid[radius > 0.9].any()


def test_the_hole_of_a_torus_is_empty():
    solid = voxelize(shapes.torus(0.7, 0.25), 32, UNIT)
    x, _, z = centres(UNIT, 32).unbind(-1)
    across = torch.hypot(x, z)
    assert not solid[across < 0.45].any()
    assert solid[15, 15, 27]  # x = 0.72, in the tube
    volume = float(solid.sum()) * (2.0 / 32) ** 3
    assert volume == pytest.approx(2.0 * math.pi**2 * 0.7 * 0.25**2, rel=0.05)


@pytest.mark.parametrize("fill", ["nonzero", "parity"])
def test_orientation_does_not_matter(fill):
    for mesh in (shapes.torus(), shapes.duck(3)):
        assert torch.equal(voxelize(mesh, fill=fill), voxelize(flip(mesh), fill=fill))


def test_nested_shells_follow_the_fill_rule():
    outer, inner = shapes.cube(1.6), shapes.cube(0.8)
    whole, core = voxelize(outer, 20, UNIT), voxelize(inner, 20, UNIT)
    same, hollow = join(outer, inner), join(outer, flip(inner))
    assert torch.equal(voxelize(same, 20, UNIT), whole)
    assert torch.equal(voxelize(hollow, 20, UNIT), whole & ~core)
    for mesh in (same, hollow):
        assert torch.equal(voxelize(mesh, 20, UNIT, fill="parity"), whole & ~core)


def test_overlapping_parts_are_a_union_unless_by_parity():
    a, b = box((-0.9, -0.5, -0.5), (0.3, 0.5, 0.5)), box((-0.3, -0.4, -0.4), (0.9, 0.4, 0.4))
    va, vb = voxelize(a, 20, UNIT), voxelize(b, 20, UNIT)
    assert torch.equal(voxelize(join(a, b), 20, UNIT), va | vb)
    assert torch.equal(voxelize(join(a, b), 20, UNIT, fill="parity"), va ^ vb)


def test_vertices_edges_and_faces_on_centres_belong_to_the_low_side():
    # centres are the integers from 0 to 7
    bounds = ((-0.5, -0.5, -0.5), (7.5, 7.5, 7.5))
    solid = voxelize(box((2, 1, 3), (5, 4, 6)), 8, bounds)
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    expected[3:6, 1:4, 2:5] = True
    assert torch.equal(solid, expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31 - 1))
def test_lattice_meshes_never_leak_and_touching_solids_share_nothing(seed):
    """Tetrahedra with all vertices on centres that fill a box: each centre is in one of them."""
    generator = torch.Generator().manual_seed(seed)
    n = 8
    bounds = ((-0.5, -0.5, -0.5), (n - 0.5, n - 0.5, n - 0.5))
    inner = torch.randint(1, n - 1, (3,), generator=generator).double()
    cube = box((0, 0, 0), (n - 1, n - 1, n - 1))
    count = torch.zeros(n, n, n, dtype=torch.int64)
    for face in cube.faces:
        points = torch.cat([cube.vertices[face], inner[None]])
        cone = Mesh(vertices=points, faces=[[0, 1, 2], [1, 0, 3], [2, 1, 3], [0, 2, 3]])
        solid = voxelize(cone, n, bounds)
        low, high = (x.long() for x in (points.amin(0), points.amax(0)))
        outside = torch.ones_like(solid)
        outside[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1] = False
        assert not (solid & outside).any()
        count += solid
    whole = voxelize(cube, n, bounds).long()
    assert torch.equal(count, whole)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1))
def test_rotated_meshes_agree_with_the_winding_number(seed):
    generator = torch.Generator().manual_seed(seed)
    mesh = [shapes.torus(0.7, 0.25, 16, 9), shapes.duck(2), shapes.cube()][seed % 3]
    mesh = rotated(mesh, generator)
    solid = voxelize(mesh, 24, ((-2, -2, -2), (2, 2, 2)))
    chosen = torch.randint(24**3, (400,), generator=generator)
    points = centres(((-2.0,) * 3, (2.0,) * 3), 24).reshape(-1, 3)[chosen]
    assert torch.equal(solid.flatten()[chosen], winding_numbers(mesh, points) > 0.5)


@given(seed=st.integers(0, 2**31 - 1))
def test_any_closed_mesh_crosses_each_ray_to_a_sum_of_zero(seed):
    """Whatever the vertices: random ones, slivers, repeated and collinear ones."""
    generator = torch.Generator().manual_seed(seed)
    mesh = shapes.icosphere(2)
    points = torch.randn(mesh.n_vertices, 3, dtype=torch.float64, generator=generator)
    points[::3] = (4.0 * points[::3]).round() / 4.0  # many on centres, edges through centres
    points[::5] *= 1e-13
    points[::7, 0] = points[0, 0]
    grid = voxels._centres(torch.tensor([[-3.125] * 3, [2.875] * 3]).double(), 24)
    turns = torch.zeros(24, 24, dtype=torch.int64)
    for face, column, row in voxels._candidates(points[mesh.faces], grid):
        ray = torch.stack([grid[0][column], grid[1][row]], dim=-1)
        turn = voxels._turn(points[mesh.faces[face]][..., :2] - ray[:, None])
        assert turn.abs().max() <= 1
        turns.view(-1).index_add_(0, row * 24 + column, turn.long())
    assert not turns.any()
    assert not voxelize(mesh.replace(vertices=points), 24, ((-9,) * 3, (9,) * 3))[[0, -1]].any()


def test_chunks_change_nothing(monkeypatch):
    mesh = rotated(shapes.torus(), torch.Generator().manual_seed(0))
    whole = voxelize(mesh, 20)
    monkeypatch.setattr(voxels, "_PAIRS", 7)
    assert torch.equal(voxelize(mesh, 20), whole)


def test_batches_equal_single_meshes_in_bounds_of_their_own_or_shared():
    mesh = shapes.torus()
    scales = torch.tensor([1.0, 0.5, 0.8])[:, None, None]
    batch = mesh.replace(vertices=mesh.vertices * scales)
    boxes = torch.tensor([UNIT, UNIT, ((0, 0, 0), (1, 2, 1))])
    for bounds in (None, UNIT, boxes):
        together = voxelize(batch, 12, bounds)
        assert together.shape == (3, 12, 12, 12)
        for i in range(3):
            own = bounds[i] if isinstance(bounds, torch.Tensor) else bounds
            alone = voxelize(mesh.replace(vertices=batch.vertices[i]), 12, own)
            assert torch.equal(together[i], alone)


def test_bounds_may_cut_through_the_mesh():
    whole = voxelize(shapes.duck(3), 32, UNIT)
    part = voxelize(shapes.duck(3), 16, ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)))
    assert torch.equal(part, whole[8:24, 8:24, 8:24])


def test_bounding_cubes_are_as_wide_as_the_longest_side():
    cube = voxels.bounding_cube(box((0, 0, 0), (1, 2, 4)))
    assert cube.tolist() == [[-1.5, -1, 0], [2.5, 3, 4]]


def test_softras_bounds_are_the_original_grid():
    # there, i <= N (N x / (N - 1) + 0.5) < i + 1 is voxel i: N = 4 has centres at +-9/32, +-3/32
    points = torch.tensor([-9.0, -3.0, 3.0, 9.0]) / 32.0
    mesh = box((points[2] - 0.01,) * 3, (points[3] + 0.01,) * 3)
    expected = torch.zeros(4, 4, 4, dtype=torch.bool)
    expected[2:, 2:, 2:] = True
    assert torch.equal(voxelize(mesh, 4, "softras"), expected)


def test_vertices_that_are_not_shared_close_a_mesh_too():
    mesh = shapes.duck(2)
    soup = Mesh(
        vertices=mesh.corners.reshape(-1, 3), faces=torch.arange(3 * mesh.n_faces).view(-1, 3)
    )
    assert not topology.is_closed(soup.faces)
    assert torch.equal(voxelize(soup), voxelize(mesh))


def test_a_plane_encloses_nothing_and_warns():
    with pytest.warns(UserWarning, match="`mesh` is not closed"):
        assert not voxelize(shapes.plane(), 8).any()


@pytest.mark.parametrize(("axis", "filled"), [(0, True), (1, True), (2, False)])
@pytest.mark.parametrize("fill", ["nonzero", "parity"])
def test_a_cup_is_filled_unless_it_is_open_along_z(axis, filled, fill):
    cube = shapes.cube()
    lid = (cube.corners[..., axis] == 1.0).all(dim=-1)
    for mesh in (cube, flip(cube)):
        with pytest.warns(UserWarning, match="not closed"):
            solid = voxelize(mesh.replace(faces=mesh.faces[~lid]), 6, fill=fill)
        assert bool(solid.all()) == bool(solid.any()) == filled


def test_faces_that_disagree_are_named_and_parity_does_not_mind():
    mesh = shapes.icosphere(2)
    mixed = mesh.replace(faces=torch.cat([mesh.faces[:100].flip(-1), mesh.faces[100:]]))
    with pytest.warns(UserWarning, match="fill='parity'"):
        voxelize(mixed)
    assert torch.equal(voxelize(mixed, fill="parity"), voxelize(mesh))


def test_non_finite_faces_are_left_out_and_leave_the_mesh_open():
    mesh = shapes.cube()
    broken = mesh.replace(vertices=torch.cat([mesh.vertices[:7], torch.full((1, 3), math.nan)]))
    with pytest.warns(UserWarning, match="not closed"):
        assert not voxelize(broken, 4, UNIT).all()


def test_a_mesh_without_faces_is_empty():
    mesh = Mesh(vertices=torch.zeros(1, 3), faces=[])
    assert not voxelize(mesh, 4).any()
    with pytest.raises(ArgumentError, match="no vertices"):
        voxelize(Mesh(vertices=torch.zeros(0, 3), faces=[]), 4)
    assert not voxelize(Mesh(vertices=torch.zeros(0, 3), faces=[]), 4, UNIT).any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"resolution": 0}, "`resolution` must be a positive integer, got 0"),
        ({"resolution": 2.5}, "`resolution` must be a positive integer"),
        ({"fill": "even"}, "`fill` must be one of 'nonzero', 'parity'"),
        ({"bounds": "cube"}, "`bounds` must be one of 'softras'"),
        ({"bounds": "softras", "resolution": 1}, "at least 2"),
        ({"bounds": ((0, 0, 0), (1, 0, 1))}, "`bounds` must be"),
        ({"bounds": ((0, 0, 0), (1, math.inf, 1))}, "`bounds` must be finite"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        voxelize(shapes.cube(), **arguments)


def test_bounds_of_a_wrong_shape_are_refused():
    with pytest.raises(ShapeError, match="`bounds` must have shape"):
        voxelize(shapes.cube(), 4, (0.0, 1.0))
    with pytest.raises(ShapeError, match="`bounds` must have shape"):
        voxelize(shapes.cube(), 4, torch.tensor([UNIT, UNIT]))


def test_iou_is_one_number_for_each_grid():
    a = torch.zeros(3, 4, 4, 4, dtype=torch.bool)
    b = a.clone()
    a[0, :2], b[0, 1:3] = True, True  # 16 of 48
    a[1] = b[1] = True
    torch.testing.assert_close(voxel_iou(a, b), torch.tensor([1.0 / 3.0, 1.0, 1.0]))
    assert voxel_iou(a[0], b[0]).shape == ()
    assert voxel_iou(a[1], b[2]) == 0.0


def test_iou_refuses_what_is_not_two_grids():
    grid = torch.zeros(4, 4, 4, dtype=torch.bool)
    with pytest.raises(ArgumentError, match=r"`b` must be a bool tensor.*`b > 0.5`"):
        voxel_iou(grid, grid.float())
    with pytest.raises(ShapeError, match="one shape"):
        voxel_iou(grid, grid[None])
    with pytest.raises(ShapeError, match="one shape"):
        voxel_iou(grid[0], grid[0])
