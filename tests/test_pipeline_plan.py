"""Plans are made once for the same rendering, and again for whatever changes one."""

from dataclasses import replace

import pytest
import torch

from taichi_softras import RasterSettings, runtime
from taichi_softras.pipeline import Plan

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
