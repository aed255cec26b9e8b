from typing import get_args

import numpy as np
import pytest

from taichi_softras.settings import Alpha, Color, Distance
from taichi_softras.viewer import panel
from taichi_softras.viewer.controls import Box, Buttons, Choice, Slider, hit, slid
from taichi_softras.viewer.painting import font, heat, wrapped
from taichi_softras.viewer.panel_image import PanelImage
from taichi_softras.viewer.scales import SIGMA
from taichi_softras.viewer.session import Session
from taichi_softras.viewer.state import PRESETS, View, ViewState

VIEWS = get_args(View)


def by_field(view, field):
    return next(p for p in panel.placed_controls(view) if getattr(p.control, "field", "") == field)


@pytest.mark.parametrize("view", VIEWS)
def test_no_two_widgets_overlap_and_all_fit_the_panel(view):
    placed = panel.placed_controls(view)
    boxes = [item.box for item in placed] + [panel.STATUS]
    for i, a in enumerate(boxes):
        assert panel.PANEL.x <= a.x
        assert a.x + a.width <= panel.PANEL.width
        assert a.y + a.height <= panel.FRAME[1]
        for b in boxes[:i]:
            assert a.y >= b.y + b.height or b.y >= a.y + a.height
    for item in placed:
        for left, right in zip(item.cells, item.cells[1:], strict=False):
            assert left.x + left.width <= right.x
        assert all(item.box.holds(c.x, c.y) for c in item.cells)


@pytest.mark.parametrize("view", VIEWS)
def test_all_words_fit_their_buttons(view):
    for item in panel.placed_controls(view):
        if isinstance(item.control, Choice):
            words = item.control.options
        elif isinstance(item.control, Buttons):
            words = [label for _, label in item.control.actions]
        else:
            continue
        for word, cell in zip(words, item.cells, strict=True):
            assert font(9).getlength(word) <= cell.width


@pytest.mark.parametrize("view", VIEWS)
def test_every_button_and_key_does_something_and_every_field_exists(view):
    session = Session.__new__(Session)
    session.fit = None
    known = set(session._named_actions())
    spoken = {action for action, _ in panel.KEYS.values()}
    for item in panel.placed_controls(view):
        if isinstance(item.control, Buttons):
            spoken |= {action for action, _ in item.control.actions}
        elif isinstance(item.control, Slider | Choice):
            assert hasattr(ViewState(), item.control.field)
    presets = {f"preset {name}" for name in PRESETS}
    assert spoken <= known | presets | {f"view {name}" for name in VIEWS}


def test_the_choices_are_those_of_the_settings():
    for field, choices in (("distance", Distance), ("alpha", Alpha), ("color", Color)):
        assert by_field("render", field).control.options == get_args(choices)


def test_the_pointer_finds_what_is_drawn_under_it():
    placed = panel.placed_controls("render")
    slider = by_field("render", "sigma")
    middle = slider.track.x + slider.track.width / 2
    assert hit(placed, middle, slider.track.y + 2).placed == slider
    assert slid(slider, middle) == pytest.approx(SIGMA.value(0.5), rel=0.05)
    assert slid(slider, -500.0) == SIGMA.low
    choice = by_field("render", "alpha")
    for option, cell in zip(choice.control.options, choice.cells, strict=True):
        assert hit(placed, cell.x + 1, cell.y + 1).value == option
    assert hit(placed, 640.0, 400.0) is None
    with pytest.raises(TypeError, match="must hold a slider"):
        slid(choice, 3.0)


def test_columns_share_the_width():
    cells = Box(10, 0, 100, 20).columns(3, gap=5)
    assert [c.x for c in cells] == [10, 45, 80]
    assert cells[-1].x + cells[-1].width == 110


def test_only_what_changed_is_drawn_anew():
    image = PanelImage()
    state = ViewState()
    image.update(state, ["one"])
    before = np.asarray(image.image).copy()
    image.update(ViewState(sigma=1e-2), ["one"])
    changed = np.argwhere((np.asarray(image.image) != before).any(axis=-1))
    box = by_field("render", "sigma").box
    assert changed[:, 0].min() >= box.y - 2
    assert changed[:, 0].max() <= box.y + box.height + 2
    image.update(state, ["one"])
    np.testing.assert_array_equal(np.asarray(image.image), before)


def test_long_messages_are_broken_into_lines_that_fit():
    lines = wrapped("RuntimeError: " + "x" * 300 + " end", 200)
    assert "".join(lines).replace(" ", "") == "RuntimeError:" + "x" * 300 + "end"
    assert all(font(13).getlength(line) <= 200 for line in lines)


def test_the_heat_map_is_red_above_blue_below_and_pale_at_zero():
    colors = heat(np.array([[-2.0, 0.0, 2.0]])).astype(int)[0]
    assert colors[0, 2] > colors[0, 0] + 50
    assert colors[1].min() > 230
    assert colors[2, 0] > colors[2, 2] + 50
    assert (heat(np.zeros((2, 2))) == 246).all()
