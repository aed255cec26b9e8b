import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taichi_softras import RasterSettings, render, shapes
from taichi_softras.errors import ArgumentError
from taichi_softras.viewer.resolution import ResolutionControl
from taichi_softras.viewer.scales import GAMMA, SIGMA, TURN, Scale
from taichi_softras.viewer.state import PRESETS, ViewState


@pytest.mark.parametrize("scale", [SIGMA, GAMMA, TURN])
@given(fraction=st.floats(0.0, 1.0))
def test_a_knob_stays_where_it_was_put(scale, fraction):
    assert scale.fraction(scale.value(fraction)) == pytest.approx(fraction, abs=1e-9)


def test_equal_ways_on_a_logarithmic_scale_are_equal_factors():
    values = [SIGMA.value(f) for f in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([1e-7, 1e-4, 1e-1])
    assert SIGMA.value(-3.0) == pytest.approx(1e-7)
    assert SIGMA.fraction(1.0) == 1.0
    assert (SIGMA.text(3.2e-4), TURN.text(-12.3)) == ("3.2e-4", "-12°")


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, math.inf)])
def test_scales_without_a_way_are_refused(low, high):
    with pytest.raises(ArgumentError, match="`low`"):
        Scale(low, high, logarithmic=True)


def test_dragging_right_shows_more_of_the_left_side():
    # what is in front moves with the pointer
    point = torch.tensor([[0.0, 0.0, 1.0]])
    before = ViewState(azimuth=0.0, elevation=0.0)
    after = before.orbited(0.1, 0.0)
    x = [s.camera.pixels_from_points(point, 100)[0, 0, 0] for s in (before, after)]
    assert x[1] > x[0] + 5.0
    y = [s.camera.pixels_from_points(point, 100)[0, 0, 1] for s in (before, before.orbited(0, 0.1))]
    assert y[1] < y[0] - 5.0


@given(steps=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), max_size=20))
def test_orbits_and_zooms_stay_where_cameras_work(steps):
    state = ViewState()
    for right, up in steps:
        state = state.orbited(right, up).zoomed(10.0 * up)
    assert -180.0 <= state.azimuth <= 180.0
    assert -90.0 <= state.elevation <= 90.0
    near, far = state.depths
    assert 0.0 < near < far
    assert len(state.camera) == 1


def test_near_and_far_hold_the_unit_sphere():
    for distance in (1.3, 3.0, 12.0):
        near, far = ViewState(eye_distance=distance).depths
        assert near <= max(distance - 1.0, 0.3)
        assert far >= distance + 1.0


def test_the_paper_preset_is_the_default_of_the_original():
    settings = ViewState().preset("paper").raster_settings
    assert settings == RasterSettings(sigma=1e-5, gamma=1e-4, dist_eps=1e-4, near=1.0, far=100.0)
    for name in PRESETS:
        assert ViewState().preset(name).raster_settings.sigma > 0.0
    with pytest.raises(ArgumentError, match="'crisp', 'paper', 'soft', 'glass'"):
        ViewState().preset("blurry")


def test_settings_as_python_render_the_same_picture(arch):
    state = ViewState(sigma=2e-3, gamma=0.2, azimuth=-50.0, ambient=0.3, background="sky")
    scope = {}
    exec(state.as_python("tsr.shapes.icosphere(2)").replace("512", "40"), scope)
    want = render(
        shapes.icosphere(2),
        state.camera,
        40,
        settings=state.raster_settings,
        light=state.light,
        background=(0.55, 0.72, 0.9),
    )
    # four digits are written
    torch.testing.assert_close(scope["out"].image, want.image, atol=2e-3, rtol=0.0)
    assert float(want.image.std()) > 0.05


class Machine:
    """A renderer that takes `fixed` seconds and `each` for a pixel."""

    def __init__(self, fixed, each):
        self.fixed, self.each = fixed, each

    def frames(self, control, count, rest=0.01):
        spent = []
        for _ in range(count):
            height, width = control.size(moving=True)
            seconds = self.fixed + self.each * height * width
            control.observe(seconds, rest)
            spent.append(seconds + rest)
        return spent


@given(each=st.floats(1e-9, 1e-5), fixed=st.floats(0.0, 0.02))
def test_twenty_frames_a_second_are_held_while_moving(each, fixed):
    control = ResolutionControl((800, 976), least=16)
    spent = Machine(fixed, each).frames(control, 12)
    assert max(spent[8:]) <= 1.0 / 20.0


def test_pixels_are_not_given_away():
    control = ResolutionControl((800, 976))
    Machine(0.004, 1e-7).frames(control, 12)
    height, width = control.size(moving=True)
    assert 0.025 < 0.004 + 1e-7 * height * width < 0.04  # of 0.035 left beside the rest
    fast = ResolutionControl((800, 976))
    Machine(0.001, 1e-9).frames(fast, 12)
    assert fast.size(moving=True) == (800, 976)


def test_a_picture_at_rest_becomes_full_in_steps():
    control = ResolutionControl((800, 976))
    Machine(0.0, 1e-5).frames(control, 5)
    assert not control.refined
    sizes = []
    while not control.refined:
        sizes.append(control.size(moving=False))
    assert sizes[-1] == (800, 976)
    assert 2 <= len(sizes) <= 4
    # what rest took does not slow down the next drag beyond what it has learnt
    assert control.size(moving=True)[0] < 200


def test_resolution_control_refuses_what_makes_no_sense():
    with pytest.raises(ArgumentError, match="`frames_per_second`"):
        ResolutionControl((4, 4), frames_per_second=0.0)
    with pytest.raises(ArgumentError, match="`full`"):
        ResolutionControl((0, 4))
