"""Images, contact sheets and video: what is written comes back, what is damaged is named."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from taichi_softras.errors import ArgumentError, FileError, ShapeError
from taichi_softras.io import contact_sheet, load_image, save_image, save_video


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_saved_images_come_back_to_half_a_level(tmp_path, channels, suffix):
    image = torch.rand(5, 7, channels, generator=torch.Generator().manual_seed(1))
    save_image(tmp_path / "new" / f"a{suffix}", image)
    loaded = load_image(tmp_path / "new" / f"a{suffix}")
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(loaded, image, atol=0.5 / 255 + 1e-6, rtol=0)


def test_grey_images_may_have_no_channel_axis_and_values_are_clipped(tmp_path):
    save_image(tmp_path / "a.png", np.array([[-1.0, 0.5, 7.0]]))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 128, 255]]


def test_bytes_are_written_as_they_are(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    save_image(tmp_path / "a.png", pixels)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == pixels).all()


def test_sixteen_bit_grey_keeps_its_precision(tmp_path):
    Image.fromarray(np.array([[0, 1, 32768, 65535]], np.uint16)).save(tmp_path / "a.png")
    values = load_image(tmp_path / "a.png")[0, :, 0]
    torch.testing.assert_close(values, torch.tensor([0, 1, 32768, 65535]) / 65535)


def test_other_pixel_modes_become_grey_rgb_or_rgba(tmp_path):
    palette = Image.new("P", (1, 1))
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "pt.png", transparency=0)
    Image.new("LA", (1, 1), (100, 50)).save(tmp_path / "la.png")
    Image.new("1", (1, 1), 1).save(tmp_path / "1.png")
    Image.new("CMYK", (1, 1), (0, 0, 0, 255)).save(tmp_path / "cmyk.tif")
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "key.png", transparency=(9, 9, 9))
    read = {p.name: (load_image(p)[0, 0] * 255).tolist() for p in tmp_path.iterdir()}
    assert read["p.png"] == pytest.approx([10, 20, 30])
    assert read["pt.png"] == pytest.approx([10, 20, 30, 0])
    assert read["la.png"] == pytest.approx([100, 100, 100, 50])
    assert read["1.png"] == pytest.approx([255])
    assert read["cmyk.tif"] == pytest.approx([0, 0, 0])
    assert read["key.png"] == pytest.approx([9, 9, 9, 0])


def test_exif_orientation_is_ignored_as_documented(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (2, 4, 3)


def _noise(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_images_are_told_by_name(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(_noise(path)[:1500])
    with pytest.raises(FileError, match=r"cut.*cannot be read as an image"):
        load_image(path)


def test_missing_empty_and_garbage_images_and_folders_are_told_by_name(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "garbage.png").write_bytes(b"this is no picture at all" * 9)
    (tmp_path / "folder.png").mkdir()
    for name, why in [
        ("none.png", "does not exist"),
        ("empty.png", "is empty"),
        ("garbage.png", "cannot be read as an image"),
        ("folder.png", "is a folder"),
    ]:
        with pytest.raises(FileError, match=rf"{name}.*{why}"):
            load_image(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path):
    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(FileError, match=r"bomb\.png"):
        load_image(tmp_path / "bomb.png")


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "hdr.tif")
    with pytest.raises(FileError, match=r"hdr\.tif.*float32"):
        load_image(tmp_path / "hdr.tif")


def test_unwritable_images_are_refused_before_a_file_appears(tmp_path):
    rgba = torch.ones(2, 2, 4)
    with pytest.raises(FileError, match=r"\.xyz.*\.png"):
        save_image(tmp_path / "a.xyz", rgba)
    with pytest.raises(ArgumentError, match="alpha"):
        save_image(tmp_path / "a.jpg", rgba)
    with pytest.raises(ArgumentError, match="4 NaN"):
        save_image(tmp_path / "a.png", torch.full((2, 2), torch.nan))
    with pytest.raises(ArgumentError, match="int64"):
        save_image(tmp_path / "a.png", torch.ones(2, 2, dtype=torch.int64))
    for shape in [(2,), (2, 2, 2), (1, 2, 2, 3), (0, 2, 3)]:
        with pytest.raises(ShapeError, match="image"):
            save_image(tmp_path / "a.png", torch.ones(shape))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written"):
        save_image(tmp_path / "file" / "a.png", torch.ones(1, 1))


def test_contact_sheet_lays_images_row_by_row():
    images = torch.stack([torch.full((2, 3, 1), float(i)) for i in range(5)])
    sheet = contact_sheet(images, columns=2, gap=1, background=9.0)
    assert sheet.shape == (8, 7, 1)
    assert sheet[0, :, 0].tolist() == [0, 0, 0, 9, 1, 1, 1]
    assert sheet[2, :, 0].tolist() == [9] * 7
    assert sheet[7, :, 0].tolist() == [4, 4, 4, 9, 9, 9, 9]


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 2), (24, 5), (25, 5)])
def test_contact_sheet_of_squares_is_about_square(n, columns):
    assert contact_sheet(torch.zeros(n, 4, 4, 3), gap=0).shape[1] == 4 * columns


def test_contact_sheet_refuses_what_is_no_stack_of_images():
    with pytest.raises(ShapeError, match="images"):
        contact_sheet(torch.zeros(4, 4, 3))
    with pytest.raises(ShapeError, match="at least one pixel"):
        contact_sheet(torch.zeros(0, 4, 4, 3))
    with pytest.raises(ArgumentError, match="columns"):
        contact_sheet(torch.zeros(1, 4, 4, 3), columns=0)


def _moving_square(n, height=9, width=11):
    frames = torch.zeros(n, height, width, 3)
    frames[..., 1] = 0.4
    for i in range(n):
        frames[i, 2:5, i : i + 3] = torch.tensor([1.0, 0.5, 0.0])
    return frames


def test_gif_loops_keeps_its_colours_and_its_running_time(tmp_path):
    frames = _moving_square(6)
    save_video(tmp_path / "new" / "a.gif", frames, fps=30)
    with Image.open(tmp_path / "new" / "a.gif") as gif:
        assert gif.n_frames == 6
        assert gif.info["loop"] == 0
        total = 0
        for i in range(6):
            gif.seek(i)
            total += gif.info["duration"]
            pixels = np.asarray(gif.convert("RGB")) / 255.0
            assert np.abs(pixels - frames[i].numpy()).max() < 0.03
        assert total == 200


def test_gif_keeps_a_small_highlight_beside_large_shaded_parts(tmp_path):
    frames = torch.ones(2, 64, 64, 3)
    frames[:, 8:56, 8:56] = torch.linspace(0, 0.6, 48)[:, None, None] * torch.tensor([0.3, 1, 0.8])
    frames[1, 20:23, 20:23] = torch.tensor([1.0, 0.8, 0.1])
    save_video(tmp_path / "a.gif", frames, fps=10)
    with Image.open(tmp_path / "a.gif") as gif:
        gif.seek(1)
        pixels = torch.tensor(np.asarray(gif.convert("RGB")) / 255.0)
    assert (pixels[21, 21] - frames[1, 21, 21]).abs().max() < 0.03
    assert (pixels[:8] == 1.0).all()


def test_gif_lays_alpha_over_white(tmp_path):
    frame = torch.tensor([1.0, 0.0, 0.0, 0.5]).expand(4, 4, 4)
    save_video(tmp_path / "a.gif", [frame, frame[..., :3]], fps=10)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.convert("RGB").getpixel((0, 0)) == pytest.approx((255, 128, 128), abs=2)


def test_mp4_takes_odd_sizes(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    import imageio.v3 as iio

    save_video(tmp_path / "a.mp4", _moving_square(5, 33, 47), fps=10)
    frames = iio.imread(tmp_path / "a.mp4", plugin="FFMPEG")
    assert frames.shape == (5, 34, 48, 3)
    assert np.abs(frames[0, 20, 20] / 255.0 - [0, 0.4, 0]).max() < 0.05


def test_mp4_without_its_plugin_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("taichi_softras.io.video.find_spec", lambda name: None)
    with pytest.raises(FileError, match=r"pip install taichi-softras\[video\]"):
        save_video(tmp_path / "a.mp4", _moving_square(2))


def test_unusable_videos_are_refused(tmp_path):
    frames = _moving_square(2)
    with pytest.raises(FileError, match=r"\.avi.*\.gif"):
        save_video(tmp_path / "a.avi", frames)
    with pytest.raises(ArgumentError, match="no frame"):
        save_video(tmp_path / "a.gif", [])
    with pytest.raises(ArgumentError, match="fps"):
        save_video(tmp_path / "a.gif", frames, fps=0)
    with pytest.raises(ShapeError, match="frame 1"):
        save_video(tmp_path / "a.gif", [frames[0], frames[1, :3]])
