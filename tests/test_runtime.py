"""Each test that starts Taichi does so in a process of its own."""

import subprocess
import sys

import pytest

from taichi_softras import ArgumentError, runtime


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )


def test_an_unknown_backend_is_refused():
    with pytest.raises(ArgumentError, match=r"`arch` must be one of 'auto', 'cpu'.*got 'abacus'"):
        runtime.init("abacus")


def test_starting_twice_keeps_what_runs(arch):
    assert runtime.init() == runtime.init("cpu") == runtime.backend() == arch
    assert runtime.thread_count() >= 1


def test_importing_starts_nothing_and_the_first_render_starts_taichi():
    done = run(
        "import torch, taichi as ti, taichi_softras as tsr\n"
        "assert ti.lang.impl.get_runtime().prog is None\n"
        "corners = torch.tensor([[[[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.0, 0.5, 2.0]]]])\n"
        "tsr.rasterize(corners, size=4)\n"
        "assert ti.lang.impl.get_runtime().prog is not None\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_host_s_taichi_and_its_fields_are_left_alone():
    done = run(
        "import torch, taichi as ti\n"
        "ti.init(arch=ti.cpu, cpu_max_num_threads=1, random_seed=7, default_fp=ti.f64)\n"
        "field = ti.field(ti.f32, 3); field.fill(5.0)\n"
        "import taichi_softras as tsr\n"
        "corners = torch.tensor([[[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]]])\n"
        "colors = torch.rand(1, 1, 3, 3)\n"
        "out = tsr.rasterize(corners, colors, size=4)\n"
        "want = tsr.reference.rasterize(corners, colors, size=4)\n"
        "assert (out.image - want.image).abs().max() < 2e-5\n"
        "assert field[1] == 5.0\n"
        "config = ti.lang.impl.current_cfg()\n"
        "assert (config.cpu_max_num_threads, config.random_seed) == (1, 7)\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_first_launch_may_come_from_another_thread():
    # Taichi builds its structures at the first launch, and asserts that its own thread does it
    done = run(
        "import threading, torch, taichi_softras as tsr\n"
        "tsr.init()\n"
        "corners = torch.tensor([[[[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.0, 0.5, 2.0]]]])\n"
        "seen = []\n"
        "draw = lambda: seen.append(float(tsr.rasterize(corners, size=4).alpha.sum()))\n"
        "thread = threading.Thread(target=draw)\n"
        "thread.start()\n"
        "thread.join()\n"
        "assert seen[0] > 0.5, seen\n"
    )
    assert done.returncode == 0, done.stderr
