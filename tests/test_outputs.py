"""Normals, positions, uv and features blended as the image is; face index and barycentrics hard."""

import math

import pytest
import torch

import taichi_softras as tsr
from taichi_softras import ArgumentError, Camera, Mesh, RasterSettings, ShapeError, UVTexture
from taichi_softras.triangles import project

pytestmark = [
    pytest.mark.usefixtures("arch"),
    pytest.mark.xdist_group("renderer"),
    pytest.mark.filterwarnings("ignore:.*faces were skipped"),
]

HARD = RasterSettings(distance="hard", alpha="hard", color="hard", near=0.1, far=20.0)
SOFT = RasterSettings(sigma=1e-2, gamma=0.1, near=0.5, far=10.0, dist_eps=1e-13)
BOTH = ("face_index", "barycentric")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def bumpy(views=0, seed=0):
    """Eighteen faces over the square [-1, 1]² with heights, colours and uv; batched if asked."""
    rng = torch.Generator().manual_seed(seed)
    line = torch.linspace(-1.0, 1.0, 4).double()
    y, x = torch.meshgrid(line, line, indexing="ij")
    shape = (views, 16) if views else (16,)
    z = 0.5 * torch.rand(*shape, dtype=torch.float64, generator=rng)
    plane = torch.stack([x, y], -1).reshape(16, 2)
    at = (torch.arange(3)[:, None] * 4 + torch.arange(3)).flatten()[:, None]
    faces = torch.cat([at + torch.tensor(c) for c in ([0, 1, 4], [1, 5, 4])])
    colors = torch.rand(16, 3, dtype=torch.float64, generator=rng)
    return Mesh(
        vertices=torch.cat([plane.expand(*shape, 2), z[..., None]], -1),
        faces=faces,
        vertex_colors=colors,
        texture=UVTexture(images=torch.ones(1, 1, 3, dtype=torch.float64), uvs=0.5 * plane + 0.5),
    )


def cameras(*azimuths):
    return Camera.orbit(2.5, 30.0, tensor(list(azimuths)), 60.0, at=(0.0, 0.1, 0.0))


# ---- soft ----------------------------------------------------------------------------------


def by_reference(mesh, camera, size, values):
    """Corner values blended by the dense reference, over nothing."""
    triangles = project(mesh, camera, size, SOFT.near)
    assert triangles.face_counts is None, "nothing is to be clipped"
    return tsr.reference.rasterize(triangles.corners_ndc, values, size=size, settings=SOFT).image


@pytest.mark.parametrize("views", [0, 2])
def test_soft_outputs_are_blended_as_the_reference_blends_them(views):
    mesh, camera, size = bumpy(views), cameras(20.0, 70.0), (9, 12)
    features = torch.randn(16, 9, dtype=torch.float64, generator=torch.manual_seed(1))
    out = tsr.render(
        mesh, camera, size, settings=SOFT, background=0.3, features=features,
        outputs=("position", "normal", "uv"),
    )  # fmt: skip
    expected = {
        "normal": mesh.at_corners(mesh.vertex_normals),
        "position": mesh.corners,
        "uv": mesh.at_corners(mesh.texture.uvs),
        "features": mesh.at_corners(features),
    }
    for name, values in expected.items():
        wanted = by_reference(mesh, camera, size, values)
        torch.testing.assert_close(getattr(out, name), wanted, rtol=0.0, atol=1e-9)
    plain = tsr.render(mesh, camera, size, settings=SOFT, background=0.3)
    for name in ("image", "alpha", "depth"):
        torch.testing.assert_close(getattr(out, name), getattr(plain, name), rtol=0.0, atol=1e-12)
    assert plain.normal is plain.position is plain.uv is plain.features is None
    assert plain.face_index is plain.barycentric is None


def test_flat_normals_are_the_faces_own():
    mesh, camera = bumpy(), cameras(20.0)
    out = tsr.render(mesh, camera, 8, settings=SOFT, outputs=("normal",), shading="flat")
    normals = mesh.face_normals[:, None].expand(-1, 3, -1)
    wanted = by_reference(mesh, camera, (8, 8), normals)
    torch.testing.assert_close(out.normal, wanted, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("size", [(15, 22), (22, 15)])
def test_a_hard_position_is_seen_at_its_own_pixel(size):
    K = [[14.0, 0.0, 9.3], [0.0, 15.0, 8.1], [0.0, 0.0, 1.0]]
    view = cameras(20.0).view_from_world
    camera = Camera.from_matrices(K=K, R=view[:, :3, :3], t=view[:, :3, 3], image_size=size)
    out = tsr.render(bumpy(), camera, settings=HARD, outputs=("position", "uv", "normal"))
    seen = out.alpha[0] > 0.0
    assert 60 < seen.sum() < seen.numel()
    row, column = seen.nonzero(as_tuple=True)
    pixels = camera.pixels_from_points(out.position[0][seen])[0]
    torch.testing.assert_close(pixels, torch.stack([column, row], -1).double() + 0.5)
    torch.testing.assert_close(out.uv[0][seen], 0.5 * out.position[0][seen][:, :2] + 0.5)
    assert not out.position[0][~seen].any()


SOFT_INPUTS = {
    "normal": {},
    "position": {},
    "uv": {},
    "features": {"features": torch.randn(16, 2, generator=torch.manual_seed(2)).double()},
}


@pytest.mark.parametrize("name", SOFT_INPUTS)
def test_gradients_go_through_every_soft_output(name):
    mesh, size = bumpy(), (4, 5)

    def run(vertices, eye, uvs, features, sigma, gamma):
        settings = RasterSettings(sigma=sigma, gamma=gamma, near=0.5, far=10.0, dist_eps=1e-13)
        out = tsr.render(
            mesh.replace(
                vertices=vertices,
                texture=UVTexture(images=torch.ones(1, 1, 3).double(), uvs=uvs),
            ),
            Camera.look_at(eye, (0.0, 0.0, 0.0)),
            size,
            settings=settings,
            outputs=() if name == "features" else (name,),
            features=features if name == "features" else None,
        )
        return getattr(out, name)

    given = (
        mesh.vertices.clone(), tensor([0.5, 1.0, 2.2]), mesh.texture.uvs.clone(),
        SOFT_INPUTS["features"]["features"].clone(), tensor(1e-2), tensor(0.1),
    )  # fmt: skip
    given = [value.requires_grad_() for value in given]
    assert torch.autograd.gradcheck(run, given, fast_mode=True)


# ---- hard ----------------------------------------------------------------------------------


def indexed(mesh):
    """The mesh with each face's row as its only colour."""
    rows = torch.arange(mesh.n_faces, dtype=mesh.vertices.dtype)[:, None]
    return mesh.replace(vertex_colors=None, face_colors=rows, texture=None)


def through_the_ground(seed=0):
    """Faces before, behind and across the near plane of an eye at the origin."""
    rng = torch.Generator().manual_seed(seed)
    vertices = 2.0 * torch.rand(30, 3, dtype=torch.float64, generator=rng) - 1.0
    vertices[:, 2] = vertices[:, 2] * 2.0 - 1.0
    return Mesh(vertices=vertices, faces=torch.arange(30).reshape(10, 3))


EYE = Camera.look_at((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), fov=tensor(80.0))
SCENES = {
    "batch of views": (bumpy(), cameras(20.0, 70.0, 200.0), (17, 14)),
    "batch of shapes": (bumpy(2), cameras(20.0), (11, 14)),
    "clipped": (through_the_ground(), EYE, (23, 20)),
    "orthographic": (
        through_the_ground(),
        Camera.orbit(9.0, 40.0, tensor(30.0), orthographic_height=4.0, at=(0.0, 0.0, -1.0)),
        20,
    ),
}


@pytest.mark.parametrize("perspective_correct", [True, False])
@pytest.mark.parametrize("name", SCENES)
def test_hard_outputs_are_what_hard_colour_shows(name, perspective_correct):
    mesh, camera, size = SCENES[name]
    hard = RasterSettings(
        distance="hard", alpha="hard", color="hard", near=0.2, far=20.0,
        perspective_correct=perspective_correct,
    )  # fmt: skip
    soft = RasterSettings(
        sigma=0.1, gamma=1.0, near=0.2, far=20.0, perspective_correct=perspective_correct
    )
    shown = tsr.render(indexed(mesh), camera, size, settings=hard, background=-1.0)
    out = tsr.render(mesh, camera, size, settings=soft, outputs=BOTH)
    assert torch.equal(out.face_index, shown.image[..., 0].long())
    assert out.face_index.unique().numel() > 4
    assert -1 in out.face_index
    position = tsr.render(mesh, camera, size, settings=hard, outputs=("position",)).position
    corners = mesh.corners.expand(len(out.face_index), -1, 3, 3)
    for b, corners_of_view in enumerate(corners):
        weighed = (out.barycentric[b][..., None] * corners_of_view[out.face_index[b]]).sum(-2)
        hit = out.face_index[b] >= 0
        torch.testing.assert_close(weighed[hit], position[b][hit], rtol=0.0, atol=1e-9)
        assert not out.barycentric[b][~hit].any()
        torch.testing.assert_close(
            out.barycentric[b][hit].sum(-1), torch.ones(int(hit.sum())).double()
        )


def test_hard_outputs_of_different_meshes_are_rows_of_their_own_faces():
    meshes = [indexed(bumpy()), indexed(through_the_ground()), indexed(bumpy(seed=1))]
    cams = Camera.concatenate([cameras(20.0), EYE, cameras(120.0)])
    together = tsr.render(meshes, cams, (13, 16), settings=HARD, outputs=BOTH)
    for i, mesh in enumerate(meshes):
        alone = tsr.render(mesh, cams[i], (13, 16), settings=HARD, outputs=BOTH)
        for name in BOTH:
            torch.testing.assert_close(getattr(together, name)[i], getattr(alone, name)[0])
    features = [torch.ones(mesh.n_vertices, 2).double() * i for i, mesh in enumerate(meshes)]
    blended = tsr.render(meshes, cams, (13, 16), settings=HARD, features=features).features
    hit = together.face_index >= 0
    for i in range(3):
        assert (blended[i][hit[i]] == i).all()


def test_a_broken_vertex_leaves_the_rows_of_other_faces_alone():
    mesh = bumpy()
    vertices = mesh.vertices.clone()
    vertices[0] = math.nan
    out = tsr.render(mesh.replace(vertices=vertices), cameras(20.0), 24, outputs=BOTH)
    whole = tsr.render(mesh, cameras(20.0), 24, outputs=BOTH)
    broken = (mesh.faces == 0).any(-1).nonzero()[:, 0]
    gone = torch.isin(whole.face_index, broken)
    assert gone.any()
    assert torch.equal(out.face_index[~gone], whole.face_index[~gone])
    assert not torch.isin(out.face_index, broken).any()
    assert out.barycentric.isfinite().all()


def test_culling_holds_for_hard_outputs_too():
    mesh, camera = tsr.shapes.cube().to(torch.float64), cameras(30.0)
    ahead = -camera.view_from_points(mesh.corners.mean(1))  # towards the eye
    towards = (mesh.face_normals @ camera.view_from_world[0, :3, :3].mT * ahead[0]).sum(-1) > 0.0
    for cull, facing in (("none", True), ("back", True), ("front", False)):
        settings = RasterSettings(cull=cull, near=0.1)
        out = tsr.render(mesh, camera, 16, settings=settings, outputs=BOTH)
        hit = out.face_index >= 0
        assert hit.sum() > 50
        assert (towards[out.face_index[hit]] == facing).all()


def test_barycentrics_have_gradients_within_a_face():
    mesh = bumpy()
    vertices = mesh.vertices.clone().requires_grad_()

    def run(vertices):
        moved = mesh.replace(vertices=vertices)
        return tsr.render(moved, cameras(20.0), (5, 6), outputs=("barycentric",)).barycentric

    assert torch.autograd.gradcheck(run, vertices, eps=1e-7, atol=1e-4)


def test_nothing_in_view_has_outputs_all_the_same():
    empty = Mesh(vertices=torch.zeros(0, 3), faces=torch.zeros(0, 3, dtype=torch.int64))
    for mesh in (empty, bumpy().to(torch.float32)):
        camera = Camera.look_at((0.0, 0.0, 9.0), (0.0, 0.0, 20.0))
        out = tsr.render(
            mesh, camera, (3, 4), outputs=("normal", "position", *BOTH),
            features=torch.ones(mesh.n_vertices, 1),
        )  # fmt: skip
        assert (out.face_index == -1).all()
        for value in (out.normal, out.position, out.barycentric, out.features):
            assert value.shape[:3] == (1, 3, 4)
            assert not value.any()


# ---- antialiasing --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 8), (8, 5)])
def test_antialiasing_averages_samples(size):
    mesh, camera, n = bumpy(), cameras(20.0, 70.0), 3
    K, R, t = camera.to_matrices((40, 60))
    camera = Camera.from_matrices(K=K + tensor([[0, 0, 4.0], [0, 0, 2], [0, 0, 0]]), R=R, t=t,
                                  image_size=(40, 60))  # fmt: skip
    options = {"settings": SOFT, "outputs": ("normal", *BOTH), "features": mesh.vertices}
    background = torch.rand(2, *size, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    large = background.repeat_interleave(n, 1).repeat_interleave(n, 2)
    out = tsr.render(mesh, camera, size, antialias=n, background=background, **options)
    samples = tsr.render(mesh, camera, (n * size[0], n * size[1]), background=large, **options)
    for name in ("image", "alpha", "depth", "normal", "features"):
        value = getattr(samples, name)
        if value.ndim == 3:
            value = value[..., None]
        pooled = torch.nn.functional.avg_pool2d(value.permute(0, 3, 1, 2), n).permute(0, 2, 3, 1)
        got = getattr(out, name)
        torch.testing.assert_close(got if got.ndim == 4 else got[..., None], pooled)
    once = tsr.render(mesh, camera, size, background=background, **options)
    for name in BOTH:
        assert torch.equal(getattr(out, name), getattr(once, name))


def test_antialiased_edges_show_what_they_cover():
    """A half plane whose edge crosses the pixels of a column at 1/4 of their width."""
    mesh = Mesh(
        vertices=tensor([[-9.0, -9.0, 0.0], [0.0625, -9.0, 0.0], [0.0625, 9.0, 0.0], [-9, 9, 0]]),
        faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
    )
    camera = Camera.orbit(3.0, 0.0, 0.0, orthographic_height=2.0)
    out = tsr.render(mesh, camera, 8, settings=HARD, antialias=4)
    # pixels are 0.25 wide, and the edge lies in the fifth
    expected = tensor([1.0, 1.0, 1.0, 1.0, 0.25, 0.0, 0.0, 0.0]).expand(8, 8)
    torch.testing.assert_close(out.alpha[0], expected)
    torch.testing.assert_close(out.image[0, ..., 0], expected)


def test_gradients_of_samples_are_averaged():
    mesh = bumpy()

    def run(vertices, background):
        moved = mesh.replace(vertices=vertices)
        return tsr.render(
            moved, cameras(20.0), (3, 4), settings=SOFT, antialias=2, background=background
        )[:3]

    background = torch.rand(3, 4, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    given = (mesh.vertices.clone().requires_grad_(), background.requires_grad_())
    assert torch.autograd.gradcheck(run, given, fast_mode=True)


# ---- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": "normal"}, "`outputs` must be a sequence"),
        ({"outputs": ("normals",)}, "`outputs` must be"),
        ({"outputs": ("uv",)}, "only a UVTexture has; `mesh` has no texture"),
        ({"features": torch.zeros(15, 2)}, r"`features` must have shape \[16, K\]"),
        ({"features": torch.zeros(3, 16, 2)}, r"`features` must have shape .*\[1, 16, K\]"),
        ({"features": torch.zeros(16, 2, dtype=torch.int64)}, "`features` must be floating"),
        ({"features": [torch.zeros(16, 2)]}, "`features`.* got list"),
        ({"outputs": BOTH, "settings": RasterSettings(color="none")}, "need colour"),
        ({"antialias": 0}, "`antialias` must be"),
        ({"antialias": 1.5}, "`antialias` must be"),
    ],
)
def test_wrong_requests_are_named(options, message):
    with pytest.raises((ArgumentError, ShapeError), match=message):
        tsr.render(bumpy().replace(texture=None), cameras(0.0), 8, **options)


def test_features_of_several_meshes_are_several():
    with pytest.raises(ShapeError, match="`features` must be a sequence of 2"):
        tsr.render([bumpy(), bumpy()], cameras(0.0), 8, features=torch.zeros(16, 2))
