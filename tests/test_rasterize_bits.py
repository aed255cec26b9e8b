"""Same input, same bits: run after run, thread count by thread count, thread beside thread."""

import gc
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from soups import Options, soup
from taichi.lang.kernel_impl import Kernel

from taichi_softras import Camera, RasterSettings, rasterize, render, shapes

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float64")]


def fingerprint(seed, dtype=torch.float32, sigma=1e-2, size=(48, 64)):
    """Hash of everything that one render and its adjoint produce."""
    corners, attributes = (t.requires_grad_() for t in soup(seed, 150, views=2, dtype=dtype))
    background = torch.full((3,), 0.2, dtype=dtype, requires_grad=True)
    soft = [torch.tensor(v, dtype=dtype, requires_grad=True) for v in (sigma, 0.1)]
    settings = Options().settings(sigma=soft[0], gamma=soft[1])
    out = rasterize(corners, attributes, size=size, settings=settings, background=background)
    loss = out.image.square().sum() + out.alpha.square().sum() + out.depth.square().sum()
    gradients = torch.autograd.grad(loss, [corners, attributes, background, *soft])
    digest = hashlib.sha256()
    for value in (*out[:3], *gradients):
        digest.update(value.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_run_gives_the_same_bits(dtype):
    assert len({fingerprint(1, dtype) for _ in range(5)}) == 1


def test_two_threads_that_render_at_once_get_what_one_gets(arch):
    if arch == "opengl":
        pytest.skip("OpenGL works in one thread only, and says so")
    seeds = list(range(6))
    alone = [fingerprint(seed) for seed in seeds]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fingerprint, seeds * 2))
    assert together == alone * 2


COUNT_THREADS = """
import sys
import taichi as ti
ti.init(arch=ti.cpu, cpu_max_num_threads=int(sys.argv[1]), fast_math=True, log_level=ti.ERROR)
import torch
torch.set_num_threads(1)
from test_rasterize_bits import fingerprint
from taichi_softras import runtime
assert runtime.thread_count() == int(sys.argv[1])
print(fingerprint(1))
"""


def test_the_number_of_threads_changes_no_bit(arch):
    if arch != "cpu":
        pytest.skip("threads are the CPU's")
    hashes = [
        subprocess.run(
            [sys.executable, "-c", COUNT_THREADS, str(threads)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        for threads in (1, 2)
    ]
    assert hashes == [fingerprint(1)] * 2


def compiled_kernels():
    return sum(len(k.compiled_kernels) for k in gc.get_objects() if type(k) is Kernel)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what else gc finds
def test_numbers_never_compile_anything():
    fingerprint(1, torch.float32)
    before = compiled_kernels()
    assert before > 0
    for sigma, size in ((1e-3, (48, 64)), (1e-5, (9, 7)), (0.1, (20, 20))):
        fingerprint(2, torch.float32, sigma, size)
    triangles = soup(3, 7, views=5, dtype=torch.float32)
    for gamma, dist_eps, near, far in ((1e-3, 1e-3, 0.5, 50.0), (1.0, 0.0, 1e-3, 5.0)):
        settings = Options().settings(gamma=gamma, dist_eps=dist_eps, near=near, far=far)
        rasterize(*triangles, size=4, settings=settings, background=torch.rand(4, 4, 3))
    assert compiled_kernels() == before


def test_vertex_gradients_have_the_same_bits_with_several_torch_threads(arch):
    # Indexing vertices with faces sums gradients by racing threads from 32768 numbers on.
    mesh = shapes.icosphere(4)
    colors = torch.rand(mesh.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    camera = Camera.orbit(2.7, 20.0, [0.0, 90.0, 180.0], 45.0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(4):
            leaves = [mesh.vertices.clone().requires_grad_(), colors.clone().requires_grad_()]
            moved = mesh.replace(vertices=leaves[0], vertex_colors=leaves[1])
            out = render(moved, camera, 32, settings=RasterSettings(sigma=1e-3, gamma=1e-2))
            gradients.append(
                torch.autograd.grad(out.image.square().sum() + out.alpha.sum(), leaves)
            )
    finally:
        torch.set_num_threads(before)
    for again in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], again, strict=True))
