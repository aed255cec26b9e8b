"""Plans are made once for the same rendering, and again for whatever changes one."""

from dataclasses import replace

import pytest
import torch

from taichi_softras import ArgumentError, RasterSettings, runtime
from taichi_softras.pipeline import Plan, binning

pytestmark = pytest.mark.usefixtures("arch")

SHAPE = {
    "dtype": "float32", "channels": 3, "size": (8, 9), "n_views": 2, "n_faces": 10,
    "n_attributes": 5, "background_rows": 1,
}  # fmt: skip


def test_equal_settings_have_one_plan():
    settings = RasterSettings(sigma=1e-3)
    plan = Plan.of(settings, **SHAPE)
    assert Plan.of(replace(settings), **SHAPE) is plan
    assert Plan.of(replace(settings, sigma=2e-3), **SHAPE).reach > plan.reach
    assert Plan.of(settings, **{**SHAPE, "n_views": 4}).pixels == 2 * plan.pixels


def test_tensors_are_read_each_time():
    sigma = torch.tensor(1e-3)
    settings = RasterSettings(sigma=sigma)
    before = Plan.of(settings, **SHAPE)
    sigma.mul_(4.0)
    after = Plan.of(settings, **SHAPE)
    assert after.sigma == pytest.approx(4.0 * before.sigma)
    assert after.reach == pytest.approx(2.0 * before.reach)


def test_each_backend_has_its_own(monkeypatch):
    settings = RasterSettings(sigma=1e-3)
    names = ("cpu", "vulkan")
    tiles = []
    for name in names * 2:
        monkeypatch.setattr(runtime, "backend", lambda name=name: name)
        plan = Plan.of(settings, **{**SHAPE, "size": (64, 64)})
        assert plan.backend == name
        tiles.append(plan.tiles)
    assert tiles == [(4, 4), (8, 8)] * 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (1, 2**24 + 1)}, "2\\*\\*24 pixels a side, got 1 x 16777217"),
        ({"n_faces": 2**25 + 1}, "33554433 faces in all views, and 2\\*\\*25"),
        ({"size": (2**13, 2**13), "n_views": 6}, "2\\*\\*30 are the most"),
    ],
)
def test_what_has_no_int32_places_is_refused(change, says):
    with pytest.raises(ArgumentError, match=says):
        Plan.of(RasterSettings(), **{**SHAPE, **change})


@pytest.mark.parametrize("channels", [0, 8])
def test_lists_are_as_long_as_their_gradients_have_places(channels):
    color = "none" if channels == 0 else "softmax"
    plan = Plan.of(RasterSettings(color=color), **{**SHAPE, "channels": channels})
    most = 2**30 // (9 + 3 * channels if channels else 6)
    binning.check_length(plan, most)
    with pytest.raises(ArgumentError, match=f"more than {most} "):
        binning.check_length(plan, most + 1)
