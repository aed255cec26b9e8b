"""Memory stays O(pixels + faces + tile entries)."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from soups import Options, soup

from taichi_softras import rasterize

pytestmark = pytest.mark.xdist_group("float64")

BUDGET = 1.5 * 2**30

LARGE_RENDER = """
import torch
import taichi_softras as tsr
sphere = tsr.shapes.icosphere(6)  # 81,920 faces
torus = tsr.shapes.torus(n_around=120, n_tube=80)  # 19,200 more
mesh = tsr.Mesh(
    vertices=torch.cat([sphere.vertices, torus.vertices * 1.3]).requires_grad_(),
    faces=torch.cat([sphere.faces, torus.faces + sphere.n_vertices]),
)
mesh = mesh.replace(vertex_colors=mesh.vertices.detach().abs())
assert mesh.n_faces > 100_000
out = tsr.render(mesh, tsr.Camera.orbit(2.7, 30.0, 45.0), 1024)
(out.image.square().mean() + out.alpha.mean()).backward()
assert mesh.vertices.grad.isfinite().all() and mesh.vertices.grad.any()
assert out.alpha.mean() > 0.3
with open("/proc/self/status") as status:  # ru_maxrss would begin with the parent's
    (peak,) = [line for line in status if line.startswith("VmHWM")]
print(int(peak.split()[1]) * 1024)
"""


@pytest.mark.slow
def test_a_megapixel_and_100_000_faces_fit_in_one_and_a_half_gibibytes(arch):
    if arch != "cpu":
        pytest.skip("measured on the CPU")
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LARGE_RENDER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split()[-1])
    print(f"peak {peak / 2**30:.2f} GiB")
    assert peak < BUDGET, f"{peak / 2**30:.2f} GiB"


def test_memory_does_not_grow_with_repetition(arch):
    triangles = [t.requires_grad_() for t in soup(1, 200)]
    settings = Options().settings(sigma=1e-3, gamma=1e-2)

    def peak_after(renders):
        for _ in range(renders):
            out = rasterize(*triangles, size=64, settings=settings)
            torch.autograd.grad(out.image.sum() + out.alpha.sum(), triangles)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before = peak_after(20)
    # One render's tensors alone are 1 MiB; what leaked 50 times would show.
    assert peak_after(50) - before < 16.0


CHANGING_RENDERS = """
import resource, sys, torch
import taichi_softras as tsr
from taichi_softras import device_memory
from soups import Options, soup
tsr.init(sys.argv[1])
meshes = [soup(i, 20 + 60 * i, dtype=torch.float32) for i in range(4)]
settings = Options().settings(sigma=1e-4, gamma=1e-2)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def render(n):
    for i in range(n):
        triangles = [t.requires_grad_() for t in meshes[i % 4]]
        size = (8 + 7 * (i % 5), 16 + 5 * (i % 3))
        out = tsr.rasterize(*triangles, size=size, settings=settings)
        if i % 2:  # some graphs are walked, some are dropped
            torch.autograd.grad(out.image.sum() + out.alpha.sum(), triangles)

render(120)
arrays, before = device_memory.n_arrays(), resident()
render(200)
assert device_memory.n_arrays() == arrays
print(resident() - before)
"""


@pytest.mark.slow
def test_200_renders_of_changing_sizes_and_meshes_leak_nothing(arch):
    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHANGING_RENDERS, arch],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout.split()[-1]) / 2**20
    # One render's arrays are 1 MiB. Taichi's own launches on Vulkan lose 12 KiB a render.
    assert grown < 6.0, f"{grown:.1f} MiB"
