"""Textures of meshes: what is refused, where they are read, what they do in a render."""

import math

import numpy as np
import pytest
import torch

import taichi_softras as tsr
from taichi_softras import ArgumentError, ShapeError
from taichi_softras.texture_maps import joined
from taichi_softras.triangles import project, with_level_of_detail

CORNERS = [[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]
UVS = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
FACES = [[0, 1, 2], [0, 2, 3]]
# A square whose sides are those of the view, at a distance of 1.
FRONT = {"distance": 1.0, "elevation": 0.0, "azimuth": 0.0, "fov": 90.0}
SHARP = tsr.RasterSettings(color="hard", distance="hard", near=0.1)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def square(**texture):
    return tsr.Mesh(vertices=CORNERS, faces=FACES, texture=tsr.UVTexture(**{"uvs": UVS, **texture}))


def test_an_image_seen_from_the_front_is_the_image():
    image = noise(8, 8, 3)
    out = tsr.render(square(images=image), tsr.Camera.orbit(**FRONT), size=8, settings=SHARP)
    torch.testing.assert_close(out.image[0], image, atol=1e-4, rtol=0.0)


def test_u_points_right_and_v_up():
    image = np.zeros((2, 2, 3), np.float32)
    image[1, 1] = 1.0  # the bottom right texel
    mesh = square(images=image, filter="nearest")
    out = tsr.render(mesh, tsr.Camera.orbit(**FRONT), size=2, settings=SHARP)
    assert out.image[0, 1, 1].tolist() == [1.0] * 3
    assert out.image[0].sum() == 3.0


def test_a_texture_multiplies_colours_and_light():
    image = noise(8, 8, 3)
    colors = torch.tensor([[0.5, 0.25, 1.0]]).expand(4, 3)
    mesh = square(images=image).replace(vertex_colors=colors)
    light = tsr.AmbientLight(intensity=0.5)
    out = tsr.render(mesh, tsr.Camera.orbit(**FRONT), size=8, settings=SHARP, light=light)
    torch.testing.assert_close(out.image[0], 0.5 * image * colors[0], atol=1e-4, rtol=0.0)
    bare = square(images=image)
    out = tsr.render(bare, tsr.Camera.orbit(**FRONT), size=8, settings=SHARP, light=light)
    torch.testing.assert_close(out.image[0], 0.5 * image, atol=1e-4, rtol=0.0)


def test_each_material_has_its_image():
    images = [torch.full((3, 2, 3), 0.25), torch.full((1, 1, 3), 0.75)]
    mesh = square(images=images, face_materials=[1, 0])
    out = tsr.render(mesh, tsr.Camera.orbit(**FRONT), size=8, settings=SHARP)
    assert torch.allclose(out.image[0, 6, 2:6], torch.tensor(0.75))
    assert torch.allclose(out.image[0, 1, 2:6], torch.tensor(0.25))


def test_materials_that_share_an_image_share_its_texels():
    image = noise(3, 2, 3)
    images = [image, torch.zeros(1, 1, 3), image]
    mesh = square(images=images, face_materials=[2, 0], filter="mipmap")
    _, texture = mesh.texture.at_faces(mesh.faces, mesh.vertices)
    assert len(texture.texels) == 3 * 2 + 1 + 1
    assert texture.face_maps.tolist() == [0, 0]


def test_seams_need_no_vertices_of_their_own():
    """Both faces show the same half of the image: its left one."""
    uvs = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
    image = torch.zeros(8, 8, 1)
    image[:, :4] = 1.0
    texture = {"images": image, "uvs": uvs, "uv_faces": [[0, 1, 2], [2, 3, 0]]}
    out = tsr.render(
        square(**texture, filter="nearest"), tsr.Camera.orbit(**FRONT), size=8, settings=SHARP
    )
    assert bool((out.image == 1.0).all())


def test_a_clipped_texture_stays_where_it_was():
    """A floor that passes under the eye: what is cut off changes nothing of what is left."""
    image = noise(16, 16, 3)
    floor = [[-1.0, 0.0, -4.0], [1.0, 0.0, -4.0], [1.0, 0.0, 4.0], [-1.0, 0.0, 4.0]]
    camera = tsr.Camera.look_at(
        eye=[0.0, 1.0, 0.0], at=[0.0, 0.0, -2.0], up=[0.0, 1.0, 0.0], fov=60.0
    )
    settings = tsr.RasterSettings(color="hard", distance="hard", near=0.5)
    uvs = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    whole = square(images=image, uvs=uvs, filter="nearest").replace(vertices=torch.tensor(floor))
    # The half that lies in front, by hand.
    half = torch.tensor(floor)
    half[2:, 2] = 0.0
    uvs = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.5], [0.0, 0.5]])
    front = square(images=image, uvs=uvs, filter="nearest").replace(vertices=half)
    images = [tsr.render(m, camera, size=33, settings=settings).image for m in (whole, front)]
    assert ((images[0] - images[1]).abs().amax(-1) > 1e-3).float().mean() < 0.02
    assert images[0].sum() > 100.0


@pytest.mark.parametrize("filter_", ["bilinear", "mipmap"])
def test_gradients_reach_images_coordinates_and_geometry(filter_):
    image = noise(5, 4, 2).double().requires_grad_()
    uvs = (torch.tensor(UVS).double() * 2.37 - 0.4).requires_grad_()
    vertices = torch.tensor(CORNERS).double() * 0.7 + 0.03
    vertices.requires_grad_()
    camera = tsr.Camera.orbit(distance=2.0, elevation=30.0, azimuth=20.0, fov=60.0)
    settings = tsr.RasterSettings(sigma=1e-2, gamma=1e-1, near=0.5, far=4.0, dist_eps=1e-13)

    def render(image, uvs, vertices):
        texture = tsr.UVTexture(images=image, uvs=uvs, filter=filter_)
        mesh = tsr.Mesh(vertices=vertices, faces=FACES, texture=texture)
        return tsr.render(mesh, camera, size=7, settings=settings).image

    assert torch.autograd.gradcheck(
        render, (image, uvs, vertices), fast_mode=True, eps=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("linear", [False, True])
def test_the_level_of_detail_counts_texels_a_pixel(linear):
    """Against the change of the coordinates over a small step on the screen, at the corners."""
    texture = tsr.UVTexture(images=noise(64, 32, 3), uvs=UVS, filter="mipmap")
    mesh = tsr.Mesh(vertices=CORNERS, faces=FACES, texture=texture).to(torch.float64)
    view = {"distance": 3.0, "elevation": 40.0, "azimuth": 25.0}
    lens = {"orthographic_height": 3.0} if linear else {"fov": 50.0}
    camera = tsr.Camera.orbit(**view, **lens)
    parts = with_level_of_detail(project(mesh, camera, (32, 48), 0.1), (32, 48), linear=linear)
    for face in range(2):
        corners = parts.corners_ndc[0, face]
        attributes = parts.attributes[0, face].double()
        for k in range(3):
            steps = []
            for step in ((1e-5, 0.0), (0.0, 1e-5)):
                moved = corners[k, :2] + torch.tensor(step).double()
                w = torch.linalg.solve(
                    torch.cat([corners[:, :2].T, torch.ones(1, 3).double()]),
                    torch.cat([moved, torch.ones(1).double()]),
                )
                if not linear:
                    w = w / corners[:, 2]
                    w = w / w.sum()
                change = (w @ attributes[:, 3:5] - attributes[k, 3:5]) / 1e-5 * (2.0 / 32.0)
                steps.append(float((change * torch.tensor([32.0, 64.0])).norm()))
            assert attributes[k, 5].item() == pytest.approx(math.log2(max(steps)), abs=1e-3)


def test_a_mipmap_does_not_flicker_where_bilinear_does():
    """Far more texels than pixels: the mean shows, wherever the pixels happen to lie."""
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2
    board = board[..., None].float()
    camera = tsr.Camera.orbit(**FRONT)
    for filter_, low, high in (("mipmap", 0.0, 0.02), ("nearest", 0.4, 0.6)):
        image = tsr.render(
            square(images=board, filter=filter_), camera, size=29, settings=SHARP
        ).image
        assert low <= image.std() <= high


def test_surface_texels_lie_where_the_original_puts_them():
    """R = 2: texel 0 is nearest the third corner, 1 the first, 2 the second, 3 the middle."""
    triangle = tsr.Mesh(
        vertices=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
        faces=[[0, 1, 2]],
        texture=tsr.SurfaceTexture(texels=torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])),
    )
    camera = tsr.Camera.orbit(**FRONT)
    image = tsr.render(triangle, camera, size=40, settings=SHARP).image[0, ..., 0]

    def at(x, y):
        return image[int((1.0 - y) * 20), int((x + 1.0) * 20)].item()

    assert [at(0.15, 0.15), at(0.7, 0.1), at(0.1, 0.7), at(0.33, 0.33)] == [1.0, 2.0, 3.0, 4.0]


def test_surface_texels_may_differ_from_view_to_view():
    ball = tsr.shapes.icosphere(1)
    texels = noise(2, ball.n_faces, 4, 3)
    cameras = tsr.Camera.orbit(distance=2.5, elevation=0.0, azimuth=torch.tensor([0.0, 90.0]))
    both = tsr.render(
        ball.replace(texture=tsr.SurfaceTexture(texels=texels)), cameras, size=16
    ).image
    for view in range(2):
        alone = ball.replace(texture=tsr.SurfaceTexture(texels=texels[view]))
        assert torch.equal(tsr.render(alone, cameras[view], size=16).image[0], both[view])


def test_one_texel_a_face_is_a_face_colour():
    ball = tsr.shapes.icosphere(1)
    colors = noise(ball.n_faces, 3)
    camera = tsr.Camera.orbit(distance=2.5, elevation=20.0, azimuth=10.0)
    images = []
    for kind in ("nearest", "bilinear"):
        texture = tsr.SurfaceTexture(texels=colors[:, None], filter=kind)
        images.append(tsr.render(ball.replace(texture=texture), camera, size=24).image)
    wanted = tsr.render(ball.replace(face_colors=colors), camera, size=24).image
    for image in images:
        torch.testing.assert_close(image, wanted, atol=1e-6, rtol=0.0)


def test_different_meshes_of_a_batch_have_their_own_images():
    camera = tsr.Camera.orbit(**FRONT)
    meshes = [square(images=noise(n, 7, 3, seed=n)) for n in (3, 6)]
    both = tsr.render(meshes, camera, size=12, settings=SHARP).image
    for i, mesh in enumerate(meshes):
        assert torch.equal(tsr.render(mesh, camera, size=12, settings=SHARP).image[0], both[i])
    with pytest.raises(ArgumentError, match="all have textures"):
        tsr.render([meshes[0], tsr.shapes.cube()], camera, size=8)


def test_joined_textures_keep_their_maps():
    pieces = [square(images=noise(n, 2, 3)).texture for n in (2, 5)]
    faces, like = torch.tensor(FACES), torch.zeros(1)
    texture = joined([piece.at_faces(faces, like)[1] for piece in pieces])
    assert texture.maps[:, 0].tolist() == [0, 4]
    assert texture.face_maps.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"images": torch.zeros(4, 4)}, ShapeError, "H, W, C"),
        ({"images": torch.zeros(0, 4, 3)}, ShapeError, "empty"),
        ({"images": []}, ArgumentError, "at least one"),
        ({"images": np.zeros((2, 2, 3), np.uint8)}, ArgumentError, "divide it by 255"),
        ({"images": torch.full((2, 2, 3), math.nan)}, ArgumentError, "finite"),
        ({"images": [torch.zeros(1, 1, 3), torch.zeros(1, 1, 4)]}, ShapeError, "equal channels"),
        ({"uvs": UVS[:3]}, ShapeError, "each of the 4 vertices"),
        ({"uvs": [0.0]}, ShapeError, "`uvs`"),
        ({"uv_faces": [[0, 1, 2]]}, ShapeError, "each of the 2 faces"),
        ({"uv_faces": [[0, 1, 4], [0, 1, 2]]}, ArgumentError, "0..3, got 4"),
        ({"face_materials": [0, 1]}, ArgumentError, "0..0, got 1"),
        ({"material_names": ["a", "b"]}, ShapeError, "all 1 images"),
        ({"filter": "cubic"}, ArgumentError, "`filter`"),
        ({"wrap": "repeat"}, ArgumentError, "`wrap`"),
    ],
    ids=str,
)
def test_a_wrong_texture_is_refused(wrong, error, text):
    with pytest.raises(error, match=text):
        square(**{"images": torch.zeros(2, 2, 3), **wrong})


def test_a_texture_must_fit_the_colours_and_the_faces():
    with pytest.raises(ShapeError, match="3 channels of the colours"):
        square(images=torch.zeros(2, 2, 4)).replace(vertex_colors=torch.zeros(4, 3))
    with pytest.raises(ShapeError, match="each of the 12 faces"):
        tsr.shapes.cube().replace(texture=tsr.SurfaceTexture(texels=torch.zeros(11, 4, 3)))
    with pytest.raises(ShapeError, match="square R²"):
        tsr.SurfaceTexture(texels=torch.zeros(3, 5, 3))
    with pytest.raises(ArgumentError, match="UVTexture or a SurfaceTexture"):
        tsr.shapes.cube().replace(texture=torch.zeros(2, 2, 3))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"maps": torch.tensor([[0, 3, 3, 0, 1]])}, "within the 4 texels"),
        ({"maps": torch.tensor([[0, 2, 2, 3, 1]])}, "wrap"),
        ({"maps": torch.tensor([[0, 2, 2, 0, 2]])}, "levels"),
        ({"face_maps": torch.tensor([0, 1])}, "face_maps"),
    ],
    ids=["size", "wrap", "levels", "face_maps"],
)
def test_nothing_is_read_beyond_the_texels(changes, text):
    given = {
        "texels": torch.zeros(4, 3),
        "maps": torch.tensor([[0, 2, 2, 0, 1]]),
        "face_maps": torch.tensor([0, 0]),
        **changes,
    }
    corners = torch.rand(1, 2, 3, 3) + 1.0
    with pytest.raises(ArgumentError, match=text):
        tsr.rasterize(corners, torch.rand(2, 3, 5), size=8, texture=tsr.FaceTexture(**given))


def test_a_texture_needs_channels_to_multiply():
    texture = tsr.FaceTexture(
        texels=torch.zeros(4, 3),
        maps=torch.tensor([[0, 2, 2, 0, 1]]),
        face_maps=torch.tensor([0, 0]),
    )
    with pytest.raises(ShapeError, match="3 channels of the texture and then 2 coordinates"):
        tsr.rasterize(torch.rand(1, 2, 3, 3) + 1.0, torch.rand(2, 3, 4), size=8, texture=texture)


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
def test_a_face_with_broken_coordinates_is_left_out():
    uvs = torch.tensor(UVS)
    uvs[1] = math.nan
    camera = tsr.Camera.orbit(**FRONT)
    out = tsr.render(square(images=noise(4, 4, 3), uvs=uvs), camera, size=8, settings=SHARP)
    assert out.skipped.non_finite == 1
    assert bool(out.image.isfinite().all())
    assert out.alpha.sum() == 36.0  # the other face, with the diagonal
