import json

import imageio.v3 as iio
import pytest
import torch
from textured_files import textured_obj

from taichi_softras import (
    RasterSettings,
    load_image,
    load_posed_images,
    render,
    save_image,
    save_mesh,
    scenes,
    shapes,
)
from taichi_softras.cli import main


def complaint(capsys, *argv):
    """Run a command that must fail; return the one line that it prints."""
    assert main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene of an off-centre torus, 9 views of 40 x 56 pixels."""
    path = tmp_path_factory.mktemp("render")
    mesh = shapes.torus(n_around=24, n_tube=12)
    moved = mesh.vertices * 3.0 + torch.tensor([5.0, -1.0, 2.0])
    save_mesh(mesh.replace(vertices=moved), path / "torus.obj")
    words = ["render", str(path / "torus.obj"), "-o", str(path / "s")]
    assert main([*words, "--views", "9", "--size", "40", "56"]) == 0
    return path / "s"


def test_a_folder_loads_again_with_cameras_that_fit_the_mesh(folder):
    posed = load_posed_images(folder)
    assert posed.images.shape == (9, 40, 56, 4)
    mesh = scenes.open_mesh(folder.parent / "torus.obj").normalized()
    columns, rows = posed.cameras.pixels_from_points(mesh.vertices).unbind(dim=-1)
    for alpha, row, column in zip(posed.alpha, rows, columns, strict=True):
        # a pixel with any part of the mesh in it, which touches it at least
        near = torch.nn.functional.max_pool2d(alpha[None, None], 3, 1, 1)[0, 0]
        assert (near[row.long(), column.long()] > 0.0).all()
    assert (posed.alpha[:, [0, -1]] == 0.0).all()
    assert (posed.alpha[:, :, [0, -1]] == 0.0).all()


def test_alpha_of_a_folder_is_the_hard_silhouette(folder):
    posed = load_posed_images(folder)
    mesh = scenes.open_mesh(folder.parent / "torus.obj").normalized()
    hard = RasterSettings(distance="hard", alpha="hard", color="none", near=0.01)
    alpha = render(mesh, posed.cameras, settings=hard).alpha
    off = (alpha - posed.alpha).abs()
    inner = (posed.alpha == 0.0) | (posed.alpha == 1.0)
    assert (off[inner] == 0.0).float().mean() > 0.999
    assert float(off.mean()) < 0.02


def test_a_folder_records_what_made_it(folder):
    record = json.loads((folder / "transforms.json").read_text())["softras"]
    assert record["mesh"] == str(folder.parent / "torus.obj")
    assert record["normalized"] is True
    assert record["center"] == pytest.approx([5.0, -1.0, 2.0], abs=1e-4)
    assert record["radius"] == pytest.approx(3.0, abs=1e-4)
    assert record["args"]["folder"]["views"] == 9
    assert record["version"]


def test_the_contact_sheet_shows_all_views_on_white(folder):
    sheet = load_image(folder / "contact_sheet.png")
    assert sheet.shape == (3 * (40 + 8) + 8, 3 * (56 + 8) + 8, 3)
    assert (sheet[:8] == 1.0).all()
    assert (sheet[8:-8, 8:-8] < 0.9).any()


def test_a_folder_with_something_in_it_is_refused(folder, capsys):
    said = complaint(capsys, "render", "cube", "-o", folder)
    assert "is not empty" in said
    assert "--overwrite" in said


def test_overwriting_replaces_the_scene_and_leaves_other_files(tmp_path, recwarn):
    out = tmp_path / "scene"
    base = ["render", "cube", "-o", str(out), "--size", "8"]
    assert main([*base, "--views", "5"]) == 0
    (out / "notes.txt").write_text("mine")
    save_image(out / "images" / "photo.jpg", torch.zeros(4, 4, 3))
    assert main([*base, "--views", "2", "--overwrite"]) == 0
    names = sorted(file.name for file in (out / "images").iterdir())
    assert names == ["photo.jpg", "view_000.png", "view_001.png"]
    assert (out / "notes.txt").read_text() == "mine"


def test_poses_of_somebody_else_are_never_overwritten(tmp_path, capsys):
    poses = tmp_path / "transforms.json"
    poses.write_text('{"frames": [{"file_path": "images/view_000.png"}]}')
    said = complaint(capsys, "render", "cube", "-o", tmp_path, "--overwrite")
    assert "was not written by `softras render`" in said
    assert "frames" in poses.read_text()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_extension_makes_one_picture(tmp_path, suffix, capsys):
    out = tmp_path / f"cube{suffix}"
    words = ["render", "cube", "-o", str(out), "--size", "20", "30", "--background", "#204060"]
    assert main(words) == 0
    picture = load_image(out)
    assert picture.shape == (20, 30, 3)
    corner = torch.tensor([0x20, 0x40, 0x60]) / 255.0
    torch.testing.assert_close(picture[0, 0], corner, atol=0.02, rtol=0.0)
    said = capsys.readouterr().out
    assert "a picture (20 x 30 pixels)" in said
    assert str(out) in said


def test_a_picture_can_be_transparent_and_soft(tmp_path):
    alphas = []
    for name, look in {"sharp": [], "soft": ["--sigma", "1e-2"]}.items():
        out = tmp_path / f"{name}.png"
        words = ["render", "cube", "-o", str(out), "--size", "24", "--background", "transparent"]
        assert main([*words, *look]) == 0
        alphas.append(load_image(out)[..., 3])
    sharp, soft = alphas
    assert sharp[0, 0] == soft[0, 0] == 0.0
    assert ((soft > 0.0) & (soft < 1.0)).sum() > 1.5 * ((sharp > 0.0) & (sharp < 1.0)).sum()


def test_a_video_extension_makes_a_turntable(tmp_path):
    for suffix in (".gif", ".mp4"):
        out = tmp_path / f"turn{suffix}"
        words = ["render", "cube", "-o", str(out), "--size", "32", "--frames", "5", "--fps", "10"]
        assert main(words) == 0
        frames = iio.imread(out, index=None)
        assert frames.shape[:3] == (5, 32, 32)
        assert len({frame.tobytes() for frame in frames}) > 1


def test_world_coordinates_can_be_kept(tmp_path):
    mesh = shapes.cube(side=20.0)
    mesh = mesh.replace(vertices=mesh.vertices + 100.0)
    save_mesh(mesh, tmp_path / "far.ply")
    words = ["render", str(tmp_path / "far.ply"), "-o", str(tmp_path / "s"), "--no-normalize"]
    assert main([*words, "--size", "16", "--views", "2"]) == 0
    posed = load_posed_images(tmp_path / "s")
    assert posed.alpha[:, 8, 8].tolist() == [1.0, 1.0]
    eyes = posed.cameras.world_from_camera_opengl[:, :3, 3]
    assert ((eyes - 100.0).norm(dim=-1) > 20.0).all()


def test_what_cannot_be_rendered_is_told_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    picture = tmp_path / "out.png"
    cases = {
        "neither a mesh file nor a built-in shape": ("nosuch", "-o", out),
        "does not exist": ("nosuch.obj", "-o", out),
        "extension '.xyz'": (tmp_path / "points.xyz", "-o", out),
        ".webm is neither a picture": ("cube", "-o", tmp_path / "x.webm"),
        "`--views` is for a folder": ("cube", "-o", picture, "--views", "3"),
        "`--azimuth` is for a picture": ("cube", "-o", out, "--azimuth", "3"),
        "`--fps` is for a turntable": ("cube", "-o", picture, "--fps", "3"),
        "must be a colour": ("cube", "-o", picture, "--background", "gren"),
        "needs one of .png": ("cube", "-o", tmp_path / "x.jpg", "--background", "transparent"),
        "between 0 and 180": ("cube", "-o", picture, "--fov", "180"),
        "`--distance` must be positive": ("cube", "-o", picture, "--distance", "-1"),
        "`sigma` must be positive": ("cube", "-o", picture, "--sigma", "0"),
        "`--size` must be positive": ("cube", "-o", picture, "--size", "0"),
        "`views` must be at least 1": ("cube", "-o", out, "--views", "0"),
    }
    (tmp_path / "points.xyz").write_text("0 0 0\n")
    for want, words in cases.items():
        assert want in complaint(capsys, "render", *words)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["points.xyz"]


def test_highlights_shine_where_the_light_is_mirrored(tmp_path):
    """In the middle of a plane; light is computed elsewhere if not at each pixel."""
    shine = ["--specular", "0.6", "--shininess", "2000"]

    def middle(*flags):
        out = tmp_path / f"{'_'.join(flags) or 'matte'}.png"
        look = ["--size", "48", "--azimuth", "0", "--elevation", "0"]
        light = ["--light-direction", "0", "0", "1"]
        assert main(["render", "plane", "-o", str(out), *look, *light, *flags]) == 0
        return load_image(out)[24, 24, :3]

    assert middle(*shine, "--phong").min() > middle(*shine).max() + 0.2
    assert middle("--unlit", *shine, "--phong").equal(middle("--unlit"))


def test_a_shininess_that_cannot_be_is_named(tmp_path, capsys):
    out = tmp_path / "a.png"
    assert "`--shininess` must be positive" in complaint(
        capsys, "render", "cube", "-o", out, "--shininess", "0"
    )


@pytest.mark.parametrize("flat", [[], ["--flat"]])
def test_a_texture_is_drawn_from_its_image(tmp_path, flat):
    path, out = textured_obj(tmp_path), tmp_path / "out.png"
    look = ["--azimuth", "0", "--elevation", "0", "--unlit", "--background", "transparent", *flat]
    assert main(["render", str(path), "-o", str(out), "--size", "40", *look]) == 0
    rgba = load_image(out)
    inside = (rgba[..., 3] == 1.0).nonzero()
    (top, left), (bottom, right) = inside.amin(0).tolist(), inside.amax(0).tolist()
    corners = rgba[[top, top, bottom, bottom], [left, right, left, right], :3]
    # Near a corner a texel is alone: the texture, repeated, blends across its border.
    assert corners.argmax(-1).tolist()[:3] == [0, 1, 2]
    middle = rgba[(top + bottom) // 2, (left + right) // 2, :3]
    torch.testing.assert_close(middle, torch.full((3,), 0.5), atol=0.06, rtol=0)
