from dataclasses import replace

import numpy as np
import pytest
import torch

from taichi_softras import RasterSettings, save_image, shapes
from taichi_softras.errors import ArgumentError
from taichi_softras.viewer import panel
from taichi_softras.viewer.controls import Buttons
from taichi_softras.viewer.events import Key, Pointer
from taichi_softras.viewer.picture import count_pairs, draw
from taichi_softras.viewer.scene import Scene, open_scene, resized
from taichi_softras.viewer.session import Session
from taichi_softras.viewer.state import ViewState

PICTURE = np.s_[:, panel.PICTURE.x :]


@pytest.fixture
def session(arch, tmp_path):
    mesh = shapes.icosphere(2)
    colors = (0.5 + 0.5 * mesh.vertices).clamp(0.05, 0.95)
    scene = Scene(mesh.replace(vertex_colors=colors), "tsr.shapes.icosphere(2)")
    made = Session(scene, ViewState(), tmp_path / "out")
    yield made
    made.close()


def picture(session):
    return np.asarray(session.settle()).astype(float)[PICTURE]


def edge(pixels):
    """Sum of how much neighbouring pixels differ, squared: sharp edges count most."""
    return float((np.diff(pixels, axis=0) ** 2).sum() + (np.diff(pixels, axis=1) ** 2).sum())


def center_of(session, field):
    placed = next(
        p
        for p in panel.placed_controls(session.state.view)
        if getattr(p.control, "field", "") == field
    )
    return placed.track


def press(session, label):
    for placed in panel.placed_controls(session.state.view):
        if isinstance(placed.control, Buttons):
            for (_, text), cell in zip(placed.control.actions, placed.cells, strict=True):
                if text == label:
                    session.handle(Pointer("press", cell.x + 2, cell.y + 2))
                    session.handle(Pointer("release", cell.x + 2, cell.y + 2))
                    return
    raise AssertionError(label)


def drag(session, start, end, button="left"):
    session.handle(Pointer("press", *start, button))
    for t in (0.3, 0.7, 1.0):
        at = [a + t * (b - a) for a, b in zip(start, end, strict=True)]
        session.handle(Pointer("move", *at, button))
        session.advance()
    session.handle(Pointer("release", *end, button))


def test_the_sigma_slider_blurs_the_picture(session):
    crisp = picture(session)
    track = center_of(session, "sigma")
    y = track.y + 3
    drag(session, (track.x + track.width * 0.5, y), (track.x + track.width * 0.8, y))
    assert 1e-3 < session.state.sigma < 1e-2
    assert edge(picture(session)) < 0.5 * edge(crisp)


def test_the_gamma_slider_lets_the_far_side_through(session):
    def seen_through():
        """How much the middle of the ball depends on what is behind it."""
        session.set("background", "white")
        white = picture(session)[400, 488]
        session.set("background", "black")
        return float((white - picture(session)[400, 488]).mean())

    session.set("sigma", 1e-6)
    assert seen_through() == 0.0
    track = center_of(session, "gamma")
    drag(session, (track.x + 9, track.y + 3), (track.x + track.width - 2, track.y + 3))
    assert session.state.gamma > 5.0
    assert seen_through() == pytest.approx(255.0 / 3.0, abs=4.0)  # front, back and background


def test_dragging_turns_the_mesh_and_right_dragging_comes_nearer(session):
    before = picture(session)
    drag(session, (700, 400), (900, 400))
    assert session.state.azimuth == pytest.approx(35.0 - 45.0)
    turned = picture(session)
    assert np.abs(turned - before).mean() > 5.0
    size = (turned.min(axis=-1) < 250).mean()
    drag(session, (700, 500), (700, 300), "right")
    assert session.state.eye_distance < 2.0
    assert (picture(session).min(axis=-1) < 250).mean() > 1.5 * size


def test_the_wheel_zooms_over_the_picture_and_nudges_over_sliders(session):
    session.handle(Pointer("wheel", 700, 400, notches=1.0))
    assert session.state.eye_distance == pytest.approx(2.7)
    track = center_of(session, "sigma")
    session.handle(Pointer("wheel", track.x + 5, track.y, notches=-1.0))
    assert session.state.sigma < 1e-4


def test_the_pointer_alone_changes_nothing(session):
    before = session.state
    session.handle(Pointer("move", 100, 100))
    session.handle(Pointer("move", 700, 400))
    session.handle(Pointer("press", 8, 790))
    session.handle(Pointer("release", 8, 790))
    session.handle(Key("f12"))
    assert session.state == before


def test_every_key_works_in_every_view(session):
    for view in ("render", "gradient"):
        for key, (action, _) in panel.KEYS.items():
            if action not in (
                "sigma gif",
                "gamma gif",
                "sheet",
                "quit",
                "play",
                "step",
                "reset fit",
            ):
                session.act(f"view {view}")
                session.handle(Key(key))
                assert session.alert == ""
    session.handle(Key("q"))
    assert not session.running


def test_help_covers_the_picture_and_goes_away(session):
    before = picture(session)
    session.handle(Key("h"))
    assert np.abs(picture(session) - before).mean() > 20.0
    session.handle(Key("h"))
    np.testing.assert_array_equal(picture(session), before)


def test_presets_and_reset(session):
    press(session, "paper")
    assert session.state.raster_settings == RasterSettings(dist_eps=1e-4, near=1.0, far=100.0)
    session.handle(Key("r"))
    assert session.state == ViewState()


def test_what_is_saved_is_what_is_shown(session, capsys):
    for label, name in (
        ("picture", "picture.png"),
        ("GIF of sigma", "sigma.gif"),
        ("GIF of gamma", "gamma.gif"),
        ("contact sheet", "sheet.png"),
        ("copy Python", "settings.py"),
    ):
        press(session, label)
        session.settle()
        assert session.alert == ""
        assert name in session.message
        assert (session.out / name).stat().st_size > 100
    press(session, "picture")
    session.settle()
    assert (session.out / "picture_2.png").is_file()
    assert "tsr.RasterSettings(" in capsys.readouterr().out


def test_what_cannot_be_saved_is_told_in_the_window(session, tmp_path):
    session.out = tmp_path / "file"
    session.out.write_text("in the way")
    press(session, "picture")
    session.settle()
    assert "Not saved: " in session.alert


def test_a_resting_picture_is_not_drawn_again(session):
    session.settle()
    assert not session.advance()
    session.set("sigma", 1e-3)
    assert session.advance()


def test_dragging_draws_fewer_pixels_and_rest_draws_all(session):
    view = session.contents["render"]
    session.settle()
    view.resolution.budget = 1e-3  # so short that no machine draws all pixels in it
    full = view.resolution.full
    session.handle(Pointer("press", 700, 400))
    for i in range(6):
        session.handle(Pointer("move", 700 + 4 * i, 400))
        session.advance()
    assert view._pixels.shape[0] < 0.7 * full[0]
    session.handle(Pointer("release", 720, 400))
    session.settle()
    assert view._pixels.shape[:2] == full


def test_gradients_are_zero_when_hard_and_point_to_the_target_when_soft(session):
    session.act("view gradient")
    session.state = replace(
        session.state, target="shifted", amount=0.3, sigma=1e-3, freedom="shift"
    )
    session.settle()
    view = session.content
    assert view.hard.norm == 0.0
    assert len(view.hard.starts) == 0
    assert view.soft.norm > 0.0
    assert float(-view.soft.d_vertices[:, 0].sum()) > 0.0  # down the loss is along +x
    assert 0 < len(view.soft.starts) <= 18 * 18
    # the landscape's lowest point is where the target is
    curve = view.soft_curve
    assert curve.complete
    assert curve.x[int(np.argmin(curve.y))] == pytest.approx(0.3, abs=0.07)


def test_softness_reshapes_the_landscape(session):
    session.act("view gradient")
    session.state = replace(session.state, target="shifted", amount=1.0, freedom="shift")
    slopes = []
    for sigma in (1e-6, 1e-1):
        session.set("sigma", sigma)
        session.settle()
        x, y = session.content.soft_curve.x, session.content.soft_curve.y
        slopes.append(y[x.index(0.0)] - y[x.index(0.5)])
        assert np.isfinite(y).all()
    assert slopes[1] != pytest.approx(slopes[0], rel=0.2)


def test_a_silhouette_file_is_a_target(arch, tmp_path):
    mask = torch.zeros(30, 40)
    mask[10:20, 15:25] = 1.0
    save_image(tmp_path / "mask.png", mask)
    scene = open_scene("icosphere", tmp_path / "mask.png")
    session = Session(scene, ViewState(view="gradient", target="file"), tmp_path)
    session.settle()
    # a small target wants the ball smaller: vertices move inwards
    view = session.content
    inwards = (view.soft.d_vertices * scene.mesh.vertices).sum()
    assert float(inwards) > 0.0
    session.close()


def test_masks_keep_their_proportions():
    placed = resized(torch.ones(10, 20), (40, 40))
    assert placed.sum() == 20 * 40
    assert placed[:10].sum() == placed[30:].sum() == 0.0


def test_pairs_are_those_in_the_boxes(arch):
    mesh = shapes.plane()  # two faces that share a square
    state = ViewState(azimuth=0.0, elevation=0.0, eye_distance=4.0, fov=90.0)
    hard = RasterSettings(distance="hard", near=1.0)
    assert count_pairs(mesh, state.camera, (64, 64), hard) == 2 * 16 * 16
    soft = RasterSettings(sigma=1e-3, near=1.0)
    reach = (1e-3 * np.log(1e4 - 1.0)) ** 0.5 * 32
    side = 2 * int(np.floor(8.0 + reach + 0.5))
    assert count_pairs(mesh, state.camera, (64, 64), soft) == 2 * side * side
    everywhere = RasterSettings(dist_eps=0.0, near=1.0)
    assert count_pairs(mesh, state.camera, (64, 48), everywhere) == 2 * 64 * 48


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in ("distance", "alpha", "color", "show", "depth_range", "background")
        for value in next(
            placed.control.options
            for placed in panel.placed_controls("render")
            if getattr(placed.control, "field", "") == field
        )
    ],
)
def test_every_choice_draws_a_picture(field, value, arch):
    pixels = draw(shapes.icosphere(1), replace(ViewState(), **{field: value}), (40, 48))
    assert pixels.shape == (40, 48, 3)
    assert pixels.dtype == np.uint8
    assert pixels[20, 24].tolist() != pixels[0, 0].tolist()  # the ball, and what is behind it


def test_depth_is_lighter_where_it_is_nearer(arch):
    pixels = draw(shapes.icosphere(3), ViewState(show="depth"), (64, 64)).astype(int)
    row = pixels[32, :, 0]
    assert row[32] > row[20] > row[14] > row[0] == 0


def test_meshes_without_faces_are_refused(tmp_path):
    (tmp_path / "none.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises((ArgumentError, OSError)):
        open_scene(str(tmp_path / "none.obj"))
