"""What a renderer keeps and for how long; what it needs, and what ends it."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import taichi as ti
from tapes import FACES, SOFT, WeightedSum, assign, parameters, renderer, tetrahedron

import taichi_softras as tsr
from taichi_softras import device_memory

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape")]

ROOT = Path(__file__).parent.parent

SCENE = """
import numpy as np
import taichi as ti
import taichi_softras as tsr

def scene():
    made = tsr.tape.Renderer(n_vertices=3, faces=[[0, 1, 2]], size=8, lit=True)
    made.vertices.from_numpy(np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]], np.float32))
    loss = ti.field(ti.f32, (), needs_grad=True)

    @ti.kernel
    def add():
        for i in ti.grouped(made.alpha):
            loss[None] += made.alpha[i] + made.image[i].sum()

    return made, loss, add
"""


@pytest.fixture
def run(tmp_path):
    """Run the scene and more code in a process of its own, from a file: Taichi reads sources."""

    def in_process(code):
        script = tmp_path / "script.py"
        script.write_text(SCENE + code, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-W", "ignore", str(script)],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    return in_process


def test_torch_is_never_imported(run):
    done = run(
        "import sys\n"
        "tsr.init('cpu')\n"
        "made, loss, add = scene()\n"
        "with ti.ad.Tape(loss):\n"
        "    made.render()\n"
        "    add()\n"
        "tsr.tape.Adam([made.vertices]).step()\n"
        "assert np.abs(made.vertices.grad.to_numpy()).max() > 0.0\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_taichi_started_anew_is_an_error_with_a_remedy(run):
    done = run(
        "ti.init(arch=ti.cpu)\n"
        "made, loss, add = scene()\n"
        "made.render()\n"
        "ti.init(arch=ti.cpu)\n"
        "try:\n"
        "    made.render()\n"
        "except tsr.BackendError as error:\n"
        "    assert 'make a new renderer' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('no error')\n"
        "del made\n"
        "made, loss, add = scene()\n"
        "with ti.ad.Tape(loss):\n"
        "    made.render()\n"
        "    add()\n"
        "assert loss[None] > 0.0\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_found_before_they_are_loaded(run):
    done = run(
        "import sys\n"
        "assert {'render', 'Mesh', 'tape', 'losses'} <= set(dir(tsr))\n"
        "assert 'torch' not in sys.modules\n"
        "assert tsr.Mesh.__name__ == 'Mesh' and tsr.losses.silhouette_iou\n"
        "assert 'torch' in sys.modules\n"
        "try:\n"
        "    tsr.renderr\n"
        "except AttributeError as error:\n"
        "    assert 'renderr' in str(error)\n"
        "else:\n"
        "    raise AssertionError('no error')\n"
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_where_the_table_says():
    for name in dir(tsr):
        assert getattr(tsr, name) is not None


def test_many_renders_keep_nothing():
    """200 renders, on tapes and outside of them, lend no more arrays than the first few."""
    drawn = renderer(views=1, dtype="float32")
    loss = WeightedSum(drawn)

    def once():
        drawn.render()
        with ti.ad.Tape(loss.value):
            drawn.render()
            loss.add(drawn)
            drawn.render()

    for _ in range(3):
        once()
    gc.collect()
    before = device_memory.n_arrays()
    for _ in range(67):
        once()
    assert device_memory.n_arrays() == before


def test_an_abandoned_tape_leaves_nothing_behind():
    """A tape that ends in an error still runs backwards; the next one must not notice."""
    drawn = renderer(views=1)
    loss = WeightedSum(drawn)

    def gradient():
        with ti.ad.Tape(loss.value):
            drawn.render()
            loss.add(drawn)
        return {name: f.grad.to_numpy() for name, f in parameters(drawn).items()}

    want = gradient()

    def fail():
        drawn.render()
        loss.add(drawn)
        drawn.render()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ti.ad.Tape(loss.value):
        fail()
    for name, got in gradient().items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)


def test_a_render_that_fails_on_a_tape_says_its_own_error():
    drawn = renderer(views=1)
    loss = WeightedSum(drawn)
    drawn.sigma[None] = -1.0
    with pytest.raises(tsr.ArgumentError, match="`sigma` must be positive"), ti.ad.Tape(loss.value):
        drawn.render()


def test_a_render_alone_on_a_tape_has_no_gradient():
    drawn = renderer(views=1)
    loss = WeightedSum(drawn)
    with ti.ad.Tape(loss.value):
        drawn.render()
    assert not drawn.vertices.grad.to_numpy().any()


@pytest.mark.filterwarnings("ignore:.*faces were skipped")
def test_broken_vertices_and_colours_do_not_spread():
    """A NaN vertex, a NaN colour, a face behind the eye: skipped, counted, no gradient."""
    vertices = np.concatenate([tetrahedron()] * 4)
    vertices[4, 0] = np.nan
    vertices[12:] += [0.0, 0.0, 9.0]
    faces = np.concatenate([FACES + 4 * i for i in range(4)])
    drawn = tsr.tape.Renderer(
        n_vertices=16, faces=faces, size=9, lit=True, settings=SOFT, dtype="float64"
    )
    alone = tsr.tape.Renderer(
        n_vertices=4, faces=FACES, size=9, lit=True, settings=SOFT, dtype="float64"
    )
    assign(drawn.vertices, vertices)
    assign(alone.vertices, vertices[:4])
    colors = np.ones((16, 3))
    colors[8:12] = np.nan
    assign(drawn.colors, colors)
    found = []
    for each, kept in ((drawn, slice(0, 4)), (alone, slice(0, 4))):
        loss = WeightedSum(each)
        with ti.ad.Tape(loss.value):
            each.render()
            loss.add(each)
        gradients = {name: f.grad.to_numpy() for name, f in parameters(each).items()}
        assert all(np.isfinite(g).all() for g in gradients.values())
        gradients["vertices"] = gradients["vertices"][kept]
        gradients["colors"] = gradients["colors"][kept]
        found.append((each.image.to_numpy(), gradients))
    # One face of the second tetrahedron has no NaN corner: it may be seen, so only counts agree.
    assert drawn.skipped == tsr.SkippedFaces(non_finite=3 + 4, behind=4)
    assert alone.skipped == tsr.SkippedFaces()


@pytest.mark.slow
def test_many_vertices_pixels_and_views_fit(arch, run):
    """10,242 vertices, 512 x 512 pixels, 4 views: no stack overflows, and memory stays small."""
    if arch != "cpu":
        pytest.skip("too slow for a software GPU; memory is counted in the same arrays")
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    done = run(
        "tsr.init('cpu')\n"
        "import sys; sys.path.insert(0, 'demos')\n"
        "from taped import sphere, orbit\n"
        "points, faces = sphere(72, 144)\n"
        "assert len(points) > 10_000\n"
        "made = tsr.tape.Renderer(n_vertices=len(points), faces=faces, size=512, views=4, lit=True,"
        " settings=tsr.RasterSettings(sigma=1e-5, gamma=1e-2, far=10.0))\n"
        "made.vertices.from_numpy(points)\n"
        "for i in range(4): made.camera.look_at(i, orbit(3.0, 20.0, 90.0 * i), fov=45.0)\n"
        "loss = ti.field(ti.f32, (), needs_grad=True)\n"
        "@ti.kernel\n"
        "def add():\n"
        "    for i in ti.grouped(made.alpha):\n"
        "        loss[None] += made.image[i].norm_sqr()\n"
        "import time\n"
        "for _ in range(3):\n"
        "    start = time.perf_counter()\n"
        "    with ti.ad.Tape(loss):\n"
        "        made.render()\n"
        "        add()\n"
        "    took = time.perf_counter() - start\n"
        "assert np.isfinite(made.vertices.grad.to_numpy()).all()\n"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss would begin with the parent's
        "print(int(status.split('VmHWM:')[1].split()[0]) / 2**20, took)\n"
    )
    assert done.returncode == 0, done.stderr
    gib, seconds = map(float, done.stdout.split()[-2:])
    print(f"{gib:.2f} GiB, {seconds:.2f} s for a render and its adjoint")
    assert gib < 1.5
