"""Posed-image folders: the poses and lenses that the NeRF world's files mean, and what is wrong."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, FileError, ShapeError
from taichi_softras.io import PosedImages, has_split, load_posed_images, save_posed_images

# At (0, 0, 5) with the world's axes: it looks along -z, towards the origin.
POSE = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
POINT = torch.tensor([[1.0, 0.5, 1.0]])  # 4 in front of that camera
WIDTH, HEIGHT = 40, 20


def _picture(path, mode="RGBA", size=(WIDTH, HEIGHT), fill=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    fill = {"RGBA": (255, 0, 0, 128), "RGB": (255, 0, 0), "L": 128}[mode] if fill is None else fill
    Image.new(mode, size, fill).save(path)


def _folder(tmp_path, frame=None, name="transforms.json", **top):
    """Write one frame, `a.png`, over which `frame` is laid; None drops a key."""
    merged = {"file_path": "a.png", "transform_matrix": POSE, **(frame or {})}
    merged = {key: value for key, value in merged.items() if value is not None}
    if not (tmp_path / "a.png").exists():
        _picture(tmp_path / "a.png")
    (tmp_path / name).write_text(json.dumps({**top, "frames": [merged]}))
    return tmp_path


RIGHT_ANGLE = {"camera_angle_x": math.pi / 2}  # f = W / 2 = 20 pixels


def _pixel(posed):
    return posed.cameras.pixels_from_points(POINT)[0, 0].tolist()


@pytest.mark.parametrize(
    ("lens", "pixel"),
    [
        # By hand: u = cx + fx x / depth, v = cy - fy y / depth.
        (RIGHT_ANGLE, [20 + 20 * 0.25, 10 - 20 * 0.125]),
        ({**RIGHT_ANGLE, "camera_angle_y": math.pi / 2}, [25, 10 - 10 * 0.125]),
        ({"fl_x": 30}, [27.5, 10 - 30 * 0.125]),
        ({"fl_x": 30, "fl_y": 60, "cx": 18, "cy": 12}, [18 + 7.5, 12 - 7.5]),
        ({"fl_x": 60, "fl_y": 60, "cx": 36, "cy": 24, "w": 80, "h": 40}, [18 + 7.5, 12 - 3.75]),
        ({"fl_x": 30, "camera_angle_x": 3.0, "w": 40, "h": 20}, [27.5, 6.25]),
    ],
)
@pytest.mark.parametrize("place", ["top", "frame"])
def test_a_point_falls_on_the_pixel_computed_by_hand(tmp_path, lens, pixel, place):
    where = {"frame": lens} if place == "frame" else lens
    posed = load_posed_images(_folder(tmp_path, **where))
    assert _pixel(posed) == pytest.approx(pixel, abs=1e-4)
    assert posed.cameras.image_size == (HEIGHT, WIDTH)
    assert posed.cameras.dtype == torch.float32


def test_a_frames_own_lens_replaces_the_one_of_the_file(tmp_path):
    posed = load_posed_images(_folder(tmp_path, frame=RIGHT_ANGLE, fl_x=999, fl_y=999))
    assert _pixel(posed) == pytest.approx([25, 7.5], abs=1e-4)


def test_a_turned_pose_with_three_rows_is_camera_to_world(tmp_path):
    # At (5, 0, 0), a quarter turn about y: the camera's -z is the world's -x, its x the world's -z.
    pose = [[0, 0, 1, 5], [0, 1, 0, 0], [-1, 0, 0, 0]]
    posed = load_posed_images(_folder(tmp_path, frame={"transform_matrix": pose}, **RIGHT_ANGLE))
    assert posed.cameras.eye.tolist() == [[5, 0, 0]]
    # The point is 4 in front, 1 along +z, which is 1 to the left.
    assert _pixel(posed) == pytest.approx([15, 7.5], abs=1e-4)


@pytest.mark.parametrize("name", ["a.png", "./a", "a", "sub\\..\\a.png", "../{here}/a"])
def test_file_paths_may_lack_extensions_and_have_backslashes(tmp_path, name):
    (tmp_path / "sub").mkdir()
    name = name.format(here=tmp_path.name)
    posed = load_posed_images(_folder(tmp_path, frame={"file_path": name}, **RIGHT_ANGLE))
    assert posed.names == (name,)
    assert posed.images.shape == (1, HEIGHT, WIDTH, 4)
    assert posed.images[0, 0, 0].tolist() == pytest.approx([1, 0, 0, 128 / 255])


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".webp"])
def test_other_extensions_are_tried(tmp_path, suffix):
    _picture(tmp_path / f"r_0.5{suffix}", "RGB")
    _picture(tmp_path / "m.png", "L", fill=255)
    frame = {"file_path": "r_0.5", "mask_path": "m.png"}
    _folder(tmp_path, frame=frame, **RIGHT_ANGLE)
    (tmp_path / "a.png").unlink()
    with pytest.warns(UserWarning, match="opaque throughout"):
        assert len(load_posed_images(tmp_path)) == 1


def test_masks_are_soft_silhouettes_and_multiply_alpha(tmp_path):
    _picture(tmp_path / "a.png", "RGB")
    _picture(tmp_path / "m.png", "L", fill=102)
    frame = {"mask_path": "m.png"}
    posed = load_posed_images(_folder(tmp_path, frame=frame, **RIGHT_ANGLE))
    assert posed.alpha.unique().tolist() == pytest.approx([0.4])
    _picture(tmp_path / "a.png", "RGBA", fill=(9, 9, 9, 51))
    assert load_posed_images(tmp_path).alpha.unique().tolist() == pytest.approx([0.08])


def test_blender_splits_are_read_by_name(tmp_path):
    _folder(tmp_path, name="transforms_train.json", **RIGHT_ANGLE)
    _folder(tmp_path, name="transforms_test.json", fl_x=30)
    assert has_split(tmp_path, "test")
    assert not has_split(tmp_path, "val")
    assert _pixel(load_posed_images(tmp_path, split="test"))[0] == pytest.approx(27.5)
    assert _pixel(load_posed_images(tmp_path))[0] == pytest.approx(25)  # train
    with pytest.raises(FileError, match=r"transforms_val\.json.*transforms_test\.json, transforms"):
        load_posed_images(tmp_path, split="val")


def test_max_size_averages_areas_and_the_lens_follows(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:2, :2, 3] = [[255, 0], [0, 0]]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    posed = load_posed_images(_folder(tmp_path, fl_x=30, cx=18, cy=12), max_size=20)
    assert posed.size == (10, 20)
    assert _pixel(posed) == pytest.approx([(18 + 7.5) / 2, (12 - 3.75) / 2], abs=1e-4)
    mean = pixels.reshape(10, 2, 20, 2, 4).mean(axis=(1, 3)) / 255
    assert np.allclose(posed.images[0, 1:].numpy(), mean[1:], atol=1e-6)
    # Transparent pixels lend no colour: only the opaque one of four counts.
    wanted = [*(pixels[0, 0, :3] / 255), 0.25]
    assert posed.images[0, 0, 0].tolist() == pytest.approx(wanted, abs=1e-6)
    for bound in (7, 40, 1):
        shrunk = load_posed_images(tmp_path, max_size=bound)
        assert max(shrunk.size) == bound
        assert float(shrunk.alpha.mean()) == pytest.approx(float(posed.alpha.mean()), abs=1e-6)
    with pytest.raises(ArgumentError, match="max_size"):
        load_posed_images(tmp_path, max_size=0)


def test_other_keys_are_ignored_and_slight_distortion_too(tmp_path):
    other = {"aabb_scale": 16, "k1": 1e-4, "softras": {"a": 1}, "camera_model": "OPENCV"}
    assert len(load_posed_images(_folder(tmp_path, **RIGHT_ANGLE, **other))) == 1


# --- What was saved comes back ---


def _posed(n=3, **camera):
    rng = torch.Generator().manual_seed(0)
    cameras = Camera.orbit(
        distance=2.5, elevation=20.0, azimuth=torch.arange(n) * 77.0, fov=40.0, **camera
    )
    images = torch.rand(n, 6, 9, 4, generator=rng)
    return PosedImages(images=images, cameras=cameras, names=tuple("abcdefgh"[:n]))


def test_saved_folders_come_back(tmp_path):
    posed = _posed()
    written = save_posed_images(tmp_path / "new", posed, extra={"mesh": "spot.obj"})
    loaded = load_posed_images(tmp_path / "new")
    torch.testing.assert_close(loaded.images, posed.images, rtol=0, atol=0.5 / 255 + 1e-6)
    for name in ("view_from_world", "focal", "center"):
        ours, theirs = getattr(loaded.cameras, name), getattr(posed.cameras, name)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert loaded.names[0] == "images/view_000.png"
    tree = json.loads(written.read_text())
    assert tree["softras"] == {"mesh": "spot.obj"}
    # fov 40 is vertical; horizontally tan(a / 2) grows by the aspect, 9 / 6.
    wanted = 2 * math.atan(1.5 * math.tan(math.radians(20)))
    assert tree["camera_angle_x"] == pytest.approx(wanted, abs=1e-6)
    assert (tree["w"], tree["h"], tree["cx"], tree["cy"]) == (9, 6, 4.5, 3)


def test_cameras_that_differ_are_saved_frame_by_frame(tmp_path):
    cameras = Camera.from_matrices(
        K=[[[9.0, 0, 4], [0, 8, 3], [0, 0, 1]], [[7.0, 0, 5], [0, 8, 2], [0, 0, 1]]],
        R=torch.eye(3),
        t=[0.0, 0, 4],
        image_size=(6, 9),
    )
    save_posed_images(
        tmp_path, PosedImages(images=_posed(2).images, cameras=cameras, names=("a", "b"))
    )
    K, R, t = load_posed_images(tmp_path).cameras.to_matrices()
    for ours, theirs in zip((K, R, t), cameras.to_matrices(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_splits_are_saved_beside_each_other(tmp_path):
    save_posed_images(tmp_path, _posed(3), split="train")
    save_posed_images(tmp_path, _posed(2), split="test")
    assert len(load_posed_images(tmp_path, split="train")) == 3
    assert load_posed_images(tmp_path, split="test").names[1] == "test/view_001.png"


def test_what_transforms_json_cannot_say_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="orthographic"):
        save_posed_images(tmp_path, _posed(orthographic_height=2.0))
    posed = _posed()
    bent = replace(posed.cameras, distortion=torch.zeros(len(posed), 8))
    with pytest.raises(ArgumentError, match="lens distortion"):
        save_posed_images(tmp_path, replace(posed, cameras=bent))
    with pytest.raises(ArgumentError, match="extra"):
        save_posed_images(tmp_path, _posed(), extra={"a": torch.ones(2)})
    assert not list(tmp_path.iterdir())


# --- PosedImages ---


def test_composite_lays_straight_alpha_over_a_background():
    posed = _posed()
    posed.images[:] = torch.tensor([1.0, 0.5, 0.0, 0.25])
    assert posed.composite()[0, 0, 0].tolist() == [0.25, 0.125, 0]
    assert posed.composite(1.0)[0, 0, 0].tolist() == [1, 0.875, 0.75]
    assert posed.composite([0, 0, 1])[0, 0, 0].tolist() == [0.25, 0.125, 0.75]


def test_subsets_keep_views_together():
    posed = _posed()
    part = posed.subset([2, 0, -1])
    assert part.names == ("c", "a", "c")
    assert part.images.equal(posed.images[[2, 0, 2]])
    assert part.cameras.eye.equal(posed.cameras.eye[[2, 0, 2]])
    assert len(posed.to(torch.float64).subset([1])) == 1
    with pytest.raises(ArgumentError, match="indices"):
        posed.subset([3])


def test_parts_that_do_not_belong_together_are_refused():
    posed = _posed()
    with pytest.raises(ShapeError, match=r"N, H, W, 4"):
        PosedImages(images=posed.rgb, cameras=posed.cameras, names=posed.names)
    with pytest.raises(ShapeError, match=r"3 views, `cameras` 1 and `names` 3"):
        PosedImages(images=posed.images, cameras=posed.cameras[0], names=posed.names)
    with pytest.raises(ShapeError, match=r"\(5, 5\)"):
        _posed(image_size=(5, 5))


# --- What is wrong is named ---


@pytest.mark.parametrize(
    ("frame", "top", "why"),
    [
        ({"transform_matrix": None}, {}, r"lacks poses: 1 of its 1 frames.*frame 0 \('a\.png'\)"),
        ({"transform_matrix": POSE[:2]}, {}, r"frame 0 \('a\.png'\).*4 x 4 or 3 x 4, got \[2, 4\]"),
        ({"transform_matrix": "x"}, {}, r"frame 0.*no matrix"),
        ({"transform_matrix": [[math.nan] * 4] * 4}, {}, r"frame 0.*NaN"),
        ({"transform_matrix": [*POSE[:3], [0, 0, 1, 1]]}, {}, r"frame 0.*end in \[0, 0, 0, 1\]"),
        ({"transform_matrix": (2 * np.array(POSE[:3])).tolist()}, {}, r"frame 0.*no rigid.*scaled"),
        ({"transform_matrix": [[-1, 0, 0, 0], *POSE[1:]]}, {}, r"frame 0.*reflection"),
        ({"file_path": "b/gone"}, {}, r"frame 0.*b/gone.*does not exist.*\.webp"),
        ({"file_path": None}, {}, r"frame 0.*no `file_path`"),
        ({"mask_path": "gone.png"}, {}, r"frame 0.*mask .*gone\.png.*does not exist"),
        ({}, {"camera_angle_x": 60}, r"frame 0.*radians.*60"),
        ({}, {"camera_angle_x": None}, r"frame 0.*neither `fl_x` nor `camera_angle_x`"),
        ({}, {"fl_x": -3}, r"`fl_x` of frame 0.*positive"),
        ({}, {"fl_x": "long"}, r"`fl_x` of frame 0.*finite number"),
        ({}, {"fl_x": 30, "w": 20, "h": 20}, r"frame 0.*20 x 20.*40 x 20: another aspect"),
        ({}, {"k1": 0.1}, r"frame 0.*distortion.*undistort"),
        ({}, {"camera_model": "OPENCV_FISHEYE"}, r"frame 0.*another lens"),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(tmp_path, frame, top, why):
    with pytest.raises(FileError, match=rf"(?=.*transforms\.json).*{why}"):
        load_posed_images(_folder(tmp_path, frame=frame, **{**RIGHT_ANGLE, **top}))


def test_images_without_a_silhouette_are_refused(tmp_path):
    _picture(tmp_path / "a.png", "RGB")
    with pytest.raises(FileError, match=r"frame 0.*a\.png.*no alpha.*mask_path"):
        load_posed_images(_folder(tmp_path, **RIGHT_ANGLE))
    _picture(tmp_path / "m.png", "L", size=(3, 3))
    with pytest.raises(FileError, match=r"m\.png` is 3 x 3, its image is 40 x 20"):
        load_posed_images(_folder(tmp_path, frame={"mask_path": "m.png"}, **RIGHT_ANGLE))


def test_images_of_two_sizes_and_damaged_ones_are_named(tmp_path):
    _folder(tmp_path)
    frames = [{"file_path": name, "transform_matrix": POSE} for name in ("a", "b")]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames, **RIGHT_ANGLE}))
    _picture(tmp_path / "b.png", size=(8, 4))
    with pytest.raises(FileError, match=r"a\.png` is 40 x 20 and .*b\.png` is 8 x 4"):
        load_posed_images(tmp_path)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(FileError, match=r"b\.png.*cannot be read as an image"):
        load_posed_images(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"frames": [', "no whole JSON"),
        ("[]", "no list `frames`"),
        ('{"frames": []}', "no frames"),
        ('{"frames": [3]}', "no list `frames`"),
        ("\xff\x00", "no whole JSON"),
    ],
)
def test_malformed_json_is_told(tmp_path, text, why):
    (tmp_path / "transforms.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileError, match=rf"transforms\.json.*{why}"):
        load_posed_images(tmp_path)


def test_folders_without_poses_are_told(tmp_path):
    with pytest.raises(FileError, match=r"has no `transforms\.json`.*: none"):
        load_posed_images(tmp_path)
    with pytest.raises(FileError, match="is no folder"):
        load_posed_images(tmp_path / "gone")


def test_pictures_that_no_frame_mentions_are_counted(tmp_path, recwarn):
    _folder(tmp_path, name="transforms_test.json", **RIGHT_ANGLE)
    _picture(tmp_path / "b.png")
    _folder(tmp_path, frame={"file_path": "b"}, **RIGHT_ANGLE)
    for name in ("b_depth.png", "mask_b.png"):
        _picture(tmp_path / name)
    load_posed_images(tmp_path)
    assert not recwarn
    _picture(tmp_path / "c.png")
    _picture(tmp_path / "d.jpg", "RGB")
    with pytest.warns(UserWarning, match=r"leaves out 2 images.*c\.png"):
        load_posed_images(tmp_path)
