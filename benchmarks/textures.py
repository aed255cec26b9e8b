"""What does a texture cost, and do meshes without one pay for it?

python benchmarks/textures.py --baseline CHECKOUT [--rounds 15]

CHECKOUT is one of before textures were rendered, such as `git worktree add CHECKOUT 7c26e77`. Its
vertex colours and this checkout's run in turns, in two processes; the kinds of texture run in
turns in one. Nothing is timed before images and gradients agree: with the other checkout, and with
the dense float64 reference.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent.parent
KINDS = ("vertex colours", "UV bilinear", "UV mipmap", "surface nearest", "surface bilinear")
SIZE, SIGMA, LEVELS = 256, 1e-4, (3, 4)
UV_SIDE, SURFACE_SIDE = 256, 4
PASSES = ("forward", "forward + backward")


def scene(level, kind, size):
    """Return leaves that want gradients, and a function that renders what is made of them."""
    import taichi_softras as tsr

    sphere = tsr.shapes.icosphere(level)
    generator = torch.Generator().manual_seed(0)
    vertices = sphere.vertices.clone().requires_grad_()

    def random(*shape):
        return torch.rand(*shape, generator=generator).requires_grad_()

    if kind == "vertex colours":
        paint = random(sphere.n_vertices, 3)
    elif kind.startswith("UV"):
        paint = random(UV_SIDE, UV_SIDE, 3)
        uvs = 0.5 + 0.5 * sphere.vertices[:, :2]  # the image is pinned on, seen from the front
    else:
        paint = random(sphere.n_faces, SURFACE_SIDE**2, 3)

    def mesh():
        if kind == "vertex colours":
            return sphere.replace(vertices=vertices, vertex_colors=paint)
        how = kind.split()[1]
        if kind.startswith("UV"):
            texture = tsr.UVTexture(images=paint, uvs=uvs, filter=how)
        else:
            texture = tsr.SurfaceTexture(texels=paint, filter=how)
        return sphere.replace(vertices=vertices, texture=texture)

    camera = tsr.Camera.orbit(2.7, 20.0, 10.0, image_size=size)
    settings = tsr.RasterSettings(sigma=SIGMA, gamma=1e-3, near=1.5, far=4.0)
    return (vertices, paint), mesh, camera, settings


def step(case):
    """Return a function that renders once, forward or both ways, and its results."""
    import taichi_softras as tsr

    level, kind, passes = case
    leaves, mesh, camera, settings = scene(level, kind, SIZE)
    upstream = torch.rand(1, SIZE, SIZE, 4, generator=torch.Generator().manual_seed(1))

    def run():
        with torch.set_grad_enabled(passes != "forward"):
            out = tsr.render(mesh(), camera, settings=settings)
        if passes == "forward":
            return out.image, out.alpha
        weights = (upstream[..., :3], upstream[..., 3])
        return out.image, out.alpha, *torch.autograd.grad((out.image, out.alpha), leaves, weights)

    return run


def worker():
    """Answer each line of stdin, a case and maybe a file for results, with its milliseconds."""
    import time

    torch.set_num_threads(1)
    steps = {}
    for line in sys.stdin:
        case, path = json.loads(line)
        run = steps.setdefault(tuple(case), step(case))
        start = time.perf_counter()
        results = run()
        taken = 1e3 * (time.perf_counter() - start)
        if path:
            torch.save([value.detach() for value in results], path)
        print(json.dumps(taken), flush=True)


def start(checkout):
    return subprocess.Popen(
        [sys.executable, __file__, "--worker"], cwd=checkout, text=True, stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(checkout)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def ask(process, case, path=None):
    process.stdin.write(json.dumps((case, path)) + "\n")
    process.stdin.flush()
    while not (line := process.stdout.readline().strip())[:1].isdigit():  # Taichi greets
        if not line and process.poll() is not None:
            raise SystemExit("a checkout's process ended; run its worker by hand")
    return json.loads(line)


def check_same(processes, case, folder):
    """Compare what two checkouts make of one case."""
    paths = [str(folder / f"{name}.pt") for name in ("old", "new")]
    for process, path in zip(processes, paths, strict=True):
        ask(process, case, path)
    for old, new in zip(*map(torch.load, paths), strict=True):
        worst = (old - new).abs().max() / old.abs().max()
        if not worst < 1e-5:
            raise SystemExit(f"the checkouts differ by {worst:.1e} in {case}: nothing is timed")


def check_right(kind):
    """Compare a kind with the dense reference, small."""
    import taichi_softras as tsr
    from taichi_softras.triangles import project, with_level_of_detail

    leaves, mesh, camera, settings = scene(1, kind, 24)
    ours = tsr.render(mesh(), camera, settings=settings).image
    parts = with_level_of_detail(
        project(mesh(), camera, (24, 24), settings.near), (24, 24), linear=False
    )
    wanted = tsr.reference.rasterize(
        parts.corners_ndc, parts.attributes, size=24, settings=settings, texture=parts.texture
    ).image
    upstream = torch.rand(1, 24, 24, 3, generator=torch.Generator().manual_seed(1))
    got = (ours, *torch.autograd.grad(ours, leaves, upstream))
    true = (wanted, *torch.autograd.grad(wanted, leaves, upstream.double()))
    # on a face's very edge rounding decides which texel is the nearest, so not all can agree
    share = 0.5 if "nearest" in kind else 1.0
    for name, a, b in zip(("image", "vertices", "colours"), got, true, strict=True):
        worst = (a - b).abs().flatten().quantile(share) / b.abs().max()
        if not worst < 1e-3:
            raise SystemExit(f"{kind}: {name} is {worst:.1e} off the reference: nothing is timed")


def rounds(askers, count):
    """Time each in turns, after two turns to warm up; return the lists of milliseconds."""
    times = [[] for _ in askers]
    for turn in range(count + 2):
        for asker, taken in zip(askers, times, strict=True):
            milliseconds = asker()
            if turn >= 2:
                taken.append(milliseconds)
    return times


def ratio(times, base):
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    import tempfile

    sys.path.insert(0, str(HERE))
    for kind in KINDS:
        check_right(kind)
    processes = [start(args.baseline.resolve()), start(HERE)]
    new = processes[1]
    print("| vertex colours | faces | before ms | now ms | ratio |\n|---|---|---|---|---|")
    for level in LEVELS:
        for passes in PASSES:
            case = (level, KINDS[0], passes)
            with tempfile.TemporaryDirectory() as folder:
                check_same(processes, case, Path(folder))
            old_ms, new_ms = rounds([lambda p=p, c=case: ask(p, c) for p in processes], args.rounds)
            middles = f"{statistics.median(old_ms):.1f} | {statistics.median(new_ms):.1f}"
            print(f"| {passes} | {20 * 4**level} | {middles} | {ratio(new_ms, old_ms):.2f} |")
    print("\n| kind | faces | pass | ms | ratio to vertex colours |\n|---|---|---|---|---|")
    for level in LEVELS:
        for passes in PASSES:
            cases = [(level, kind, passes) for kind in KINDS]
            times = rounds([lambda c=case: ask(new, c) for case in cases], args.rounds)
            for kind, taken in zip(KINDS, times, strict=True):
                middle = statistics.median(taken)
                compared = ratio(taken, times[0])
                print(f"| {kind} | {20 * 4**level} | {passes} | {middle:.1f} | {compared:.2f} |")
    for process in processes:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    worker() if "--worker" in sys.argv else main()
