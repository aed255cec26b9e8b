"""compat.soft_renderer's meshes, cameras, files and losses."""

import copy
import inspect
import math

import numpy as np
import pytest
import softras_formulas as soft
import torch

import taichi_softras as tsr
import taichi_softras.compat.soft_renderer as sr
from taichi_softras.compat.soft_renderer.functional import texels

srf = sr.functional

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
POINTS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

RASTERIZER = {
    "image_size": 256,
    "background_color": (0, 0, 0),
    "near": 1,
    "far": 100,
    "anti_aliasing": False,
    "fill_back": False,
    "eps": 1e-3,
    "sigma_val": 1e-5,
    "dist_func": "euclidean",
    "dist_eps": 1e-4,
    "gamma_val": 1e-4,
    "aggr_func_rgb": "softmax",
    "aggr_func_alpha": "prod",
    "texture_type": "surface",
}
RENDERER = RASTERIZER | {
    "fill_back": True,
    "camera_mode": "projection",
    "P": None,
    "dist_coeffs": None,
    "orig_size": 512,
    "perspective": True,
    "viewing_angle": 30,
    "viewing_scale": 1.0,
    "eye": None,
    "camera_direction": (0, 0, 1),
    "light_mode": "surface",
    "light_intensity_ambient": 0.5,
    "light_color_ambient": (1, 1, 1),
    "light_intensity_directionals": 0.5,
    "light_color_directionals": (1, 1, 1),
    "light_directions": (0, 1, 0),
}


@pytest.mark.parametrize(
    ("cls", "wanted"), [(sr.SoftRasterizer, RASTERIZER), (sr.SoftRenderer, RENDERER)]
)
def test_arguments_and_defaults_are_the_originals(cls, wanted):
    parameters = inspect.signature(cls).parameters
    assert list(parameters) == list(wanted)
    assert {name: p.default for name, p in parameters.items()} == wanted


def test_it_is_a_submodule():
    assert tsr.compat.soft_renderer is sr


def test_meshes_take_arrays_with_or_without_a_batch():
    mesh = sr.Mesh(POINTS, TETRAHEDRON, texture_res=3)
    assert mesh.vertices.shape == (1, 4, 3)
    assert mesh.vertices.dtype == torch.float32
    assert mesh.faces.dtype == torch.int32
    assert mesh.textures.shape == (1, 4, 9, 3)
    assert (mesh.batch_size, mesh.num_vertices, mesh.num_faces, mesh.texture_res) == (1, 4, 4, 3)
    many = sr.Mesh(np.stack([POINTS] * 5), TETRAHEDRON[None], texture_type="vertex")
    assert many.faces.shape == (5, 4, 3)
    assert many.textures.shape == (5, 4, 3)
    assert many.face_textures.shape == (5, 4, 3, 3)
    assert sr.Mesh(torch.from_numpy(POINTS), TETRAHEDRON).vertices.dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"faces": TETRAHEDRON + 1}, "`faces` must index the 4 vertices"),
        ({"faces": TETRAHEDRON.astype(float)}, "`faces` must be integers"),
        ({"vertices": POINTS[:, :2]}, "`vertices` must have shape"),
        ({"textures": np.ones((4, 3, 3))}, "3 is no square"),
        ({"textures": np.ones((3, 4, 3))}, "`textures` must have shape"),
        ({"texture_type": "uv"}, "`texture_type` must be one of"),
        ({"vertices": np.stack([POINTS] * 2), "faces": np.stack([TETRAHEDRON] * 3)}, "`faces` 3"),
    ],
)
def test_what_is_no_mesh_is_refused(change, said):
    with pytest.raises(tsr.SoftRasError, match=said):
        sr.Mesh(**{"vertices": POINTS, "faces": TETRAHEDRON, **change})


def test_corners_and_normals():
    mesh = sr.Mesh(torch.from_numpy(POINTS), TETRAHEDRON)
    np.testing.assert_array_equal(mesh.face_vertices[0], POINTS[TETRAHEDRON])
    np.testing.assert_allclose(mesh.surface_normals[0], soft.normals(POINTS, TETRAHEDRON))
    np.testing.assert_allclose(mesh.vertex_normals[0], soft.vertex_normals(POINTS, TETRAHEDRON))
    assert (mesh.surface_normals[0, 0] == torch.tensor([0.0, 0.0, -1.0])).all()  # outwards


def test_reset_undoes_what_was_assigned():
    mesh = sr.Mesh(POINTS, TETRAHEDRON)
    before = [mesh.vertices, mesh.faces, mesh.textures]
    mesh.vertices = mesh.vertices.repeat(2, 1, 1) + 1.0
    mesh.textures = mesh.textures * 0.5
    mesh.fill_back_()
    mesh.fill_back_()
    assert (mesh.batch_size, mesh.num_faces, mesh.fill_back) == (2, 8, True)
    mesh.reset_()
    for value, old in zip((mesh.vertices, mesh.faces, mesh.textures), before, strict=True):
        assert torch.equal(value, old)
    assert not mesh.fill_back


def test_lamps_and_cameras_leave_the_mesh_alone():
    mesh = sr.Mesh(POINTS, TETRAHEDRON)
    moved = sr.LookAt(eye=[0, 0, -3])(sr.Lighting()(mesh))
    np.testing.assert_array_equal(mesh.vertices[0], POINTS.astype(np.float32))
    assert (mesh.textures == 1.0).all()
    assert not torch.equal(moved.vertices, mesh.vertices)
    moved.reset_()
    assert torch.equal(moved.vertices, mesh.vertices)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_texel_centres_lie_in_their_texels(side):
    at = texels.centres(side)
    np.testing.assert_allclose(at.sum(1), 1.0)
    assert at.min() > 0.0
    assert (texels.texel_at(at[:, 0], at[:, 1], side) == np.arange(side * side)).all()
    spread = np.random.default_rng(0).dirichlet((1, 1, 1), 40_000)
    counts = np.bincount(texels.texel_at(spread[:, 0], spread[:, 1], side), minlength=side * side)
    np.testing.assert_allclose(counts / 40_000, 1 / side**2, rtol=0.3)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_backs_show_the_same_texels(side):
    values = torch.arange(3.0 * 4 * side**2).reshape(4, side**2, 3)
    mesh = sr.Mesh(POINTS, TETRAHEDRON, values)
    mesh.fill_back_()
    at = texels.centres(side)
    for face in range(4):
        back = mesh.textures[0, 4 + face]
        front = values[face, texels.texel_at(at[:, 2], at[:, 1], side)]
        assert torch.equal(back, front)
    assert torch.equal(mesh.faces[0, 4:], mesh.faces[0, :4].flip(-1))


def test_points_from_angles():
    assert srf.get_points_from_angles(2.0, 0.0, 0.0) == pytest.approx((0.0, 0.0, -2.0))
    assert srf.get_points_from_angles(2.0, 90.0, 0.0) == pytest.approx((0.0, 2.0, 0.0))
    angles = torch.tensor([[3.0, 30.0, 45.0], [2.0, -10.0, 200.0]], dtype=torch.float64)
    points = srf.get_points_from_angles(*angles.unbind(-1))
    for row, point in zip(angles.tolist(), points, strict=True):
        np.testing.assert_allclose(point, soft.eye_from_angles(*row))
        assert srf.get_points_from_angles(*row) == pytest.approx(point.tolist())
    radians = srf.get_points_from_angles(2.0, 0.0, math.pi / 2, degrees=False)
    assert radians == pytest.approx((2.0, 0.0, 0.0))


def test_look_at_mirrors_as_the_original_does():
    right = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert srf.look_at(right, [0.0, 0.0, -3.0]).tolist() == [[[1.0, 0.0, 3.0]]]
    assert srf.look(right, [0.0, 0.0, -3.0], [0.0, 0.0, 2.0]).tolist() == [[[1.0, 0.0, 3.0]]]
    # An upright observer on -z who looks along +z has +x on the left.
    assert float(
        srf.perspective(torch.tensor([[[1.0, 0.0, 1.0]]]), 45.0)[0, 0, 0]
    ) == pytest.approx(1)
    assert srf.orthogonal(right, 0.5).tolist() == [[[0.5, 0.0, 0.0]]]


def test_the_default_eye_has_the_unit_ball_in_view():
    assert sr.LookAt(viewing_angle=30).eyes == pytest.approx([0.0, 0.0, -(math.sqrt(3.0) + 1.0)])


CAMERA = np.array([[220.0, 0.0, 130.0], [0.0, 210.0, 120.0], [0.0, 0.0, 1.0]])
LENS = np.array([0.2, -0.1, 0.01, -0.02, 0.05])


def opencv(points, rotation, translation, lens):
    """Pixels as OpenCV's documentation of the pinhole model says."""
    x, y, z = (points @ rotation.T + translation).T
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = lens
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
    bent_y = y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y
    return np.stack([220.0 * bent_x + 130.0, 210.0 * bent_y + 120.0, z], axis=-1)


@pytest.mark.parametrize("lens", [None, LENS])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_projection_lies_over_the_photograph(lens, scale):
    turn = np.array([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])
    turn = turn @ np.array([[1.0, 0.0, 0.0], [0.0, 0.6, -0.8], [0.0, 0.8, 0.6]])
    shift = np.array([0.1, -0.2, 4.0])
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (20, 3))
    matrix = scale * CAMERA @ np.hstack([turn, shift[:, None]])
    seen = srf.projection(torch.from_numpy(points)[None], matrix, lens, orig_size=256)[0].numpy()
    u, v, z = opencv(points, turn, shift, np.zeros(5) if lens is None else lens).T
    np.testing.assert_allclose(seen[:, 0], u / 128.0 - 1.0, atol=1e-12)
    np.testing.assert_allclose(seen[:, 1], 1.0 - v / 128.0, atol=1e-12)
    np.testing.assert_allclose(seen[:, 2], scale * z)


def test_projection_shows_fronts_upright(arch):
    matrix = CAMERA @ np.hstack([np.eye(3), [[0.0], [0.0], [0.0]]])
    # OpenCV's frame: y down. A triangle in the upper left, its front towards the eye.
    corners = np.array([[-0.8, -0.7, 2.0], [-0.8, -0.1, 2.0], [-0.1, -0.7, 2.0]])
    transform = sr.Projection(matrix, orig_size=256)
    u, v, _ = opencv(corners, np.eye(3), np.zeros(3), np.zeros(5)).T
    for order, towards_eye in (([0, 2, 1], False), ([0, 1, 2], True)):
        mesh = sr.Mesh(corners, [order])
        assert bool(mesh.surface_normals[0, 0, 2] < 0.0) == towards_eye
        image = sr.SoftRasterizer(image_size=64, fill_back=False)(transform(mesh))[0]
        rows, columns = (image[3] > 0.5).nonzero().T
        assert columns.float().mean() * 4 == pytest.approx(u.mean(), abs=4)
        assert rows.float().mean() * 4 == pytest.approx(v.mean(), abs=4)
        assert bool(image[0].max() > 0.5) == towards_eye


def test_what_cannot_be_set_is_said():
    with pytest.raises(ValueError, match="`P` must be given"):
        sr.SoftRenderer()
    with pytest.raises(tsr.ArgumentError, match="has no eye to set"):
        sr.Transform(P=np.eye(3, 4)).set_eyes([0, 0, 1])
    with pytest.raises(tsr.ArgumentError, match="`camera_mode` must be one of"):
        sr.Transform("orbit")
    with pytest.raises(tsr.ArgumentError, match="`light_mode` must be the mesh's"):
        sr.Lighting("vertex")(sr.Mesh(POINTS, TETRAHEDRON))
    with pytest.raises(tsr.ArgumentError, match="`viewing_angle`"):
        sr.LookAt(viewing_angle=90)
    with pytest.raises(tsr.ArgumentError, match="`aggr_func_alpha` must be one of"):
        sr.SoftRasterizer(aggr_func_alpha="max")(sr.Mesh(POINTS + 2, TETRAHEDRON))


def test_obj_files_keep_geometry(tmp_path):
    path = tmp_path / "a mesh.obj"
    sr.Mesh(POINTS, TETRAHEDRON).save_obj(path)
    mesh = sr.Mesh.from_obj(path)
    np.testing.assert_array_equal(mesh.vertices[0], POINTS)
    np.testing.assert_array_equal(mesh.faces[0], TETRAHEDRON)
    assert (mesh.textures == 1.0).all()
    large = sr.Mesh.from_obj(path, normalization=True)
    assert float(large.vertices.min()) == -1.0
    assert float(large.vertices.max()) == 1.0


def test_normalization_keeps_proportions(tmp_path):
    path = tmp_path / "a.obj"
    points = POINTS * [1.0, 2.0, 4.0] + 7.0
    srf.save_obj(path, points, TETRAHEDRON)
    vertices, _ = srf.load_obj(path, normalization=True)
    np.testing.assert_allclose(vertices.amax(0), [0.25, 0.5, 1.0])
    np.testing.assert_allclose(vertices.amin(0), [-0.25, -0.5, -1.0])


def test_obj_files_keep_vertex_colours(tmp_path):
    path, colors = tmp_path / "a.obj", np.random.default_rng(2).uniform(size=(4, 3))
    sr.Mesh(POINTS, TETRAHEDRON, colors, texture_type="vertex").save_obj(path, save_texture=True)
    mesh = sr.Mesh.from_obj(path, load_texture=True, texture_type="vertex")
    np.testing.assert_allclose(mesh.textures[0], colors, atol=0.5 / 255)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_obj_files_keep_texels(tmp_path, side):
    values = np.random.default_rng(3).uniform(size=(4, side**2, 3))
    path = tmp_path / "some texels.obj"
    sr.Mesh(POINTS, TETRAHEDRON, values).save_obj(path, save_texture=True, texture_res_out=6 * side)
    mesh = sr.Mesh.from_obj(path, load_texture=True, texture_res=side)
    np.testing.assert_array_equal(mesh.vertices[0], POINTS)
    np.testing.assert_array_equal(mesh.faces[0], TETRAHEDRON)
    np.testing.assert_allclose(mesh.textures[0], values, atol=1 / 255)
    again = srf.load_textures(path, path.with_suffix(".mtl"), side)
    assert torch.equal(again, mesh.textures[0])


SQUARE = """mtllib a b.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0.1 0.6
vt 0.9 0.6
vt 0.9 0.9
vt 0.1 0.1
vt 0.9 0.1
vt 0.5 0.4
usemtl one
f -4/1 -3/2 -2/3
usemtl two
f 1/4 3/5 4/6
"""


def test_materials_are_read(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE)
    (tmp_path / "a b.mtl").write_text("newmtl one\nKd 1 0.5 0\nnewmtl two\nKd 0 0.25 1\n")
    mesh = sr.Mesh.from_obj(tmp_path / "a.obj", load_texture=True, texture_res=3)
    wanted = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.25, 1.0]])[:, None].expand(2, 9, 3)
    torch.testing.assert_close(mesh.textures[0], wanted, atol=1 / 255, rtol=0.0)


def test_images_are_read_where_the_texels_are(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE)
    (tmp_path / "a b.mtl").write_text(
        "newmtl one\nKd 1 1 1\nmap_Kd x y.png\nnewmtl two\nmap_Kd x y.png\n"
    )
    ramp = (torch.arange(64) + 0.5) / 64  # red grows to the right, green downwards
    image = torch.stack(
        [ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)], -1
    )
    tsr.save_image(tmp_path / "x y.png", image)
    vertices, faces, values = srf.load_obj(
        tmp_path / "a.obj", load_texture=True, texture_res=4, texture_type="surface"
    )
    assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    corners = np.array([[[0.1, 0.6], [0.9, 0.6], [0.9, 0.9]], [[0.1, 0.1], [0.9, 0.1], [0.5, 0.4]]])
    u, v = np.moveaxis(np.einsum("rk,fkc->frc", texels.centres(4), corners), -1, 0)
    np.testing.assert_allclose(values[..., 0], u, atol=1 / 255)
    np.testing.assert_allclose(values[..., 1], 1.0 - v, atol=1 / 255)


def test_colours_that_are_not_there_are_missed(tmp_path):
    path = tmp_path / "a.obj"
    srf.save_obj(path, POINTS, TETRAHEDRON)
    for texture_type in ("surface", "vertex"):
        with pytest.raises(tsr.FileError, match="has no"):
            srf.load_obj(path, load_texture=True, texture_type=texture_type)
    with pytest.raises(tsr.ArgumentError, match="batch of 2"):
        sr.Mesh(np.stack([POINTS] * 2), TETRAHEDRON).save_obj(path)


def test_voxels_lie_along_x_y_z(tmp_path):
    box = tsr.shapes.cube()
    low, high = np.array([-0.4, -0.3, -0.2]), np.array([0.0, 0.1, 0.45])
    unit_box = (box.vertices - box.bounds[0]) / (box.bounds[1] - box.bounds[0])
    mesh = sr.Mesh(
        unit_box.double() * torch.from_numpy(high - low) + torch.from_numpy(low), box.faces
    )
    solid = mesh.voxelize(16)
    assert solid.shape == (1, 16, 16, 16)
    assert solid.dtype == torch.int32
    centres = ((np.arange(16) + 0.5) / 16 - 0.5) * 15 / 16
    inside = [(low[i] < centres) & (centres < high[i]) for i in range(3)]
    wanted = inside[0][:, None, None] & inside[1][:, None] & inside[2]
    np.testing.assert_array_equal(solid[0].bool(), wanted)
    srf.save_voxel(tmp_path / "a.obj", solid[0])
    lines = (tmp_path / "a.obj").read_text().splitlines()
    assert len(lines) == wanted.sum()
    assert lines[0] == "v " + " ".join(f"{i / 16:g}" for i in np.argwhere(wanted)[0])


def test_voxelization_can_fit_the_grid():
    ball = tsr.shapes.icosphere(2, radius=7.0)
    solid = srf.voxelization(ball.corners[None], 32, normalize=True)
    assert float(solid.sum()) / 32**3 == pytest.approx(math.pi / 6, rel=0.1)


def test_losses_are_the_native_ones_mesh_by_mesh():
    ball = tsr.shapes.icosphere(1)
    torch.manual_seed(0)
    vertices = (ball.vertices + 0.1 * torch.randn(3, *ball.vertices.shape)).double()
    meshes = [tsr.Mesh(vertices=v, faces=ball.faces) for v in vertices]
    laplacian = sr.LaplacianLoss(ball.vertices, ball.faces.int())
    flatten = sr.FlattenLoss(ball.faces.int())
    for module, native in ((laplacian, tsr.losses.laplacian), (flatten, tsr.losses.flatten)):
        wanted = torch.stack([native(mesh) for mesh in meshes])
        torch.testing.assert_close(module(vertices), wanted)
        module.average = True
        torch.testing.assert_close(module(vertices), wanted.mean())


def test_laplacian_of_a_tetrahedron():
    loss = sr.LaplacianLoss(torch.from_numpy(POINTS), torch.from_numpy(TETRAHEDRON))
    others = (POINTS.sum(0) - POINTS) / 3
    assert float(loss(torch.from_numpy(POINTS)[None])) == pytest.approx(
        ((POINTS - others) ** 2).sum()
    )


def test_losses_of_old_checkpoints_load():
    ball = tsr.shapes.icosphere(0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.displace = torch.nn.Parameter(torch.zeros(3))
            self.laplacian_loss = sr.LaplacianLoss(ball.vertices, ball.faces)
            self.flatten_loss = sr.FlattenLoss(ball.faces)

    model = copy.deepcopy(Model())
    assert list(model.state_dict()) == ["displace"]
    tables = {"laplacian_loss.laplacian": torch.eye(12), "flatten_loss.v0s": torch.zeros(30)}
    model.load_state_dict({"displace": torch.ones(3), **tables})
    assert model.displace.tolist() == [1.0, 1.0, 1.0]
