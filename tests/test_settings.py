import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from taichi_softras import ArgumentError, RasterSettings


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("distance", "l2", "'euclidean', 'barycentric', 'hard', got 'l2'"),
        ("alpha", "max", "'prod', 'sum', 'hard', got 'max'"),
        ("color", None, "'softmax', 'hard', 'none', got None"),
        ("clip", "", "'nearest', 'clamp', got ''"),
        ("cull", "both", "'none', 'back', 'front', got 'both'"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(name, value, wanted):
    with pytest.raises(ArgumentError, match=f"`{name}` must be one of {wanted}"):
        RasterSettings(**{name: value})


@pytest.mark.parametrize("tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("value", [0.0, -0.25, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "remedy"), [("sigma", "distance='hard'"), ("gamma", "color='hard'")]
)
def test_softness_must_be_positive_and_finite(name, remedy, value, tensor):
    given = torch.tensor(value, requires_grad=True) if tensor else value
    with pytest.raises(ArgumentError, match=f"`{name}` must be positive.*got {value}.*{remedy}"):
        RasterSettings(**{name: given})


@pytest.mark.parametrize("name", ["sigma", "gamma"])
def test_softness_must_be_one_number(name):
    with pytest.raises(ArgumentError, match=rf"`{name}` must be .* 0-d tensor, got .* \[2\]"):
        RasterSettings(**{name: torch.tensor([1e-4, 1e-3])})


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ({"near": 2.0, "far": 1.0}, r"0 < near < far, got 2\.0 and 1\.0"),
        ({"near": 1.0, "far": 1.0}, "0 < near < far"),
        ({"near": 0.0}, "0 < near < far"),
        ({"near": -1.0}, "0 < near < far"),
        ({"near": math.nan}, "0 < near < far"),
        ({"far": math.inf}, "0 < near < far"),
        ({"far": math.nan}, "0 < near < far"),
        ({"dist_eps": -1e-9}, r"`dist_eps` must lie in \[0, 0\.5\), got -1e-09"),
        ({"dist_eps": 0.5}, "`dist_eps`"),
        ({"dist_eps": math.nan}, "`dist_eps`"),
        ({"eps": math.nan}, "`eps` must be finite, got nan"),
        ({"eps": math.inf}, "`eps`"),
    ],
)
def test_a_number_out_of_range_is_refused(numbers, wanted):
    with pytest.raises(ArgumentError, match=wanted):
        RasterSettings(**numbers)


@pytest.mark.parametrize("value", [None, "1e-4", [1e-4], True], ids=repr)
@pytest.mark.parametrize("name", ["sigma", "gamma", "eps", "dist_eps", "near", "far"])
def test_what_is_no_number_is_refused(name, value):
    with pytest.raises(ArgumentError, match=f"`{name}` must be a .*got"):
        RasterSettings(**{name: value})


def test_numpy_numbers_are_numbers():
    settings = RasterSettings(sigma=np.float32(0.25), near=np.float64(0.5), far=np.int64(7))
    assert (settings.sigma, settings.near, settings.far) == (0.25, 0.5, 7)


def test_settings_are_frozen_and_named():
    settings = RasterSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.sigma = 1.0
    with pytest.raises(TypeError):
        RasterSettings(1e-4)


def test_a_changed_copy_is_checked_too():
    settings = RasterSettings(sigma=1e-3)
    assert dataclasses.replace(settings, gamma=1e-2).sigma == 1e-3
    with pytest.raises(ArgumentError, match="`sigma`"):
        dataclasses.replace(settings, sigma=-1.0)


def test_zero_cutoff_and_tensors_are_fine():
    sigma = torch.tensor(1e-3, requires_grad=True)
    settings = RasterSettings(sigma=sigma, dist_eps=0.0)
    assert settings.sigma is sigma


def test_settings_load_without_torch():
    code = (
        "import importlib.util, sys; sys.modules['torch'] = None\n"
        "import types; package = types.ModuleType('taichi_softras')\n"
        "package.__path__ = [sys.argv[1]]\n"
        "sys.modules['taichi_softras'] = package\n"
        "from taichi_softras.settings import RasterSettings; RasterSettings()"
    )
    package = RasterSettings.__module__.partition(".")[0]
    folder = sys.modules[package].__path__[0]
    subprocess.run([sys.executable, "-c", code, folder], check=True)
