"""Each test that starts Taichi does so in a process of its own."""

import os
import subprocess
import sys

import pytest

from taichi_softras import ArgumentError, BackendError, runtime

RENDER = (
    "import torch, taichi as ti, taichi_softras as tsr\n"
    "corners = torch.tensor([[[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]]])\n"
    "colors = torch.rand(1, 1, 3, 3)\n"
    "def render():\n"
    "    out = tsr.rasterize(corners, colors, size=4)\n"
    "    want = tsr.reference.rasterize(corners, colors, size=4)\n"
    "    assert (out.image - want.image).abs().max() < 2e-5\n"
)


def run(code, **environment):
    environment = {k: v for k, v in os.environ.items() if k != "SOFTRAS_ARCH"} | environment
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_an_unknown_backend_is_refused():
    with pytest.raises(ArgumentError, match=r"`arch` must be one of 'auto', 'cpu'.*got 'abacus'"):
        runtime.init("abacus")


def test_starting_twice_keeps_what_runs(arch):
    assert runtime.init() == runtime.init(arch) == runtime.backend() == arch
    assert runtime.thread_count() >= 1


def test_another_backend_than_the_running_one_is_refused(arch):
    other = "vulkan" if arch == "cpu" else "cpu"
    with pytest.raises(BackendError, match=f"`arch` is '{other}', but Taichi runs on '{arch}'"):
        runtime.init(other)


def test_importing_starts_nothing_and_the_first_render_starts_taichi():
    done = run(
        RENDER + "assert ti.lang.impl.get_runtime().prog is None\n"
        "render()\n"
        "assert ti.lang.impl.get_runtime().prog is not None\n"
        "assert tsr.init() == 'cpu'\n"
    )
    assert done.returncode == 0, done.stderr


def test_later_processes_find_what_an_earlier_one_compiled(tmp_path):
    # Results that are alive at the end keep all of Taichi alive, and addresses change each time.
    train = RENDER + (
        "corners.requires_grad_()\n"
        "out = tsr.rasterize(corners, colors, size=4)\n"
        "out.image.sum().backward()\n"
    )
    kept = []
    for _ in range(4):
        done = run(train, SOFTRAS_ARCH="cpu", TI_OFFLINE_CACHE_FILE_PATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        kept.append({path.name for path in tmp_path.glob("*.tic")})
    assert len(kept[0]) >= 2  # forward and back
    assert kept == kept[:1] * 4


def test_a_host_s_taichi_and_its_fields_are_left_alone():
    done = run(
        "import taichi as ti\n"
        "ti.init(arch=ti.cpu, cpu_max_num_threads=1, random_seed=7, default_fp=ti.f64)\n"
        "field = ti.field(ti.f32, 3); field.fill(5.0)\n" + RENDER + "render()\n"
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


def test_a_host_may_start_its_taichi_anew():
    done = run(
        RENDER + "render()\n"
        "ti.init(arch=ti.cpu, log_level=ti.ERROR)\n"
        "render()\n"
        "field = ti.field(ti.f32, 3); field.fill(5.0)\n"
        "render()\n"
        "assert field[1] == 5.0\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arch_name", ["cuda", "vulkan", "opengl", "metal"])
def test_a_missing_backend_raises_a_sentence_and_nothing_else_starts(arch_name):
    """Where the backend is there, hiding its drivers makes it missing."""
    done = run(
        "import taichi as ti, taichi_softras as tsr\n"
        "try:\n"
        f"    tsr.init({arch_name!r})\n"
        "except tsr.BackendError as error:\n"
        "    print(error)\n"
        "assert ti.lang.impl.get_runtime().prog is None\n"
        "assert tsr.init() == 'cpu'\n",
        VK_ICD_FILENAMES="/nonexistent",
        VK_DRIVER_FILES="/nonexistent",
        DISPLAY=":4711",
        CUDA_VISIBLE_DEVICES="",
        TI_ENABLE_CUDA="0",
        TI_ENABLE_METAL="0",
    )
    assert done.returncode == 0, done.stderr
    assert f"Taichi cannot run on {arch_name!r} here: it needs" in done.stdout
    assert "softras doctor" in done.stdout


def test_the_environment_decides_what_auto_means():
    done = run("import taichi_softras as tsr\nprint(tsr.init())", SOFTRAS_ARCH="CPU")
    assert done.stdout.split()[-1] == "cpu", done.stderr
    done = run("import taichi_softras as tsr\nprint(tsr.init())", SOFTRAS_ARCH="abacus")
    assert "`SOFTRAS_ARCH` must be one of 'auto', 'cpu'" in done.stderr
    done = run(
        "import taichi_softras as tsr\nprint(tsr.init())",
        SOFTRAS_ARCH="vulkan",
        VK_ICD_FILENAMES="/nonexistent",
        VK_DRIVER_FILES="/nonexistent",
    )
    assert "cannot run on 'vulkan'" in done.stderr


def test_taichi_s_own_override_does_not_change_what_was_asked_for():
    done = run(
        "import os, taichi_softras as tsr\n"
        "print(tsr.init('cpu'))\n"
        "assert os.environ['TI_ARCH'] == 'vulkan'\n",
        TI_ARCH="vulkan",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "cpu"


def test_tensors_elsewhere_raise_a_sentence_that_says_what_to_do():
    done = run(
        RENDER + "try:\n"
        "    tsr.rasterize(corners.to('meta'), size=4)\n"
        "except tsr.BackendError as error:\n"
        "    print(error)\n"
    )
    assert "`corners_ndc` is on meta, but Taichi runs on 'cpu'" in done.stdout, done.stderr
