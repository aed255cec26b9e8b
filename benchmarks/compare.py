"""Is this checkout faster than that one? Both run in turns, so a busy machine slows both alike.

python benchmarks/compare.py OLD_CHECKOUT NEW_CHECKOUT [--rounds 15] [--threads 1 2]
"""

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

# Level of the icosphere, side, views, sigma, colour, and what is given and gets gradients: corners,
# projected vertices, or a mesh and a camera.
CASES = [
    (3, 256, 1, 1e-5, "none", "corners"),
    (4, 256, 1, 1e-5, "none", "corners"),
    (3, 256, 1, 1e-4, "none", "corners"),
    (4, 256, 1, 1e-4, "none", "corners"),
    (3, 256, 1, 1e-4, "softmax", "corners"),
    (4, 256, 1, 1e-4, "softmax", "corners"),
    (3, 256, 1, 1e-4, "hard", "corners"),
    (1, 256, 1, 1e-5, "softmax", "corners"),
    (3, 64, 1, 1e-4, "none", "corners"),
    (3, 64, 8, 1e-4, "none", "corners"),
    (4, 64, 1, 1e-4, "none", "corners"),
    (4, 128, 1, 1e-4, "none", "corners"),
    (3, 256, 1, 1e-2, "none", "corners"),
    (3, 256, 1, 1e-2, "softmax", "corners"),
    (3, 256, 1, 1e-5, "none", "vertices"),
    (4, 256, 1, 1e-4, "none", "vertices"),
    (3, 64, 8, 1e-4, "none", "vertices"),
    (4, 256, 1, 1e-4, "softmax", "vertices"),
    (4, 256, 3, 1e-4, "softmax", "mesh"),
    (3, 64, 1, 1e-4, "none", "mesh"),
    (3, 64, 8, 1e-4, "none", "mesh"),
    (3, 64, 24, 1e-4, "none", "mesh"),
]


def worker():
    """Time the case that each line of stdin names, and print its milliseconds."""
    import time

    import torch

    import taichi_softras as tsr
    from taichi_softras import shapes

    torch.set_num_threads(1)
    takes_faces = "faces" in inspect.signature(tsr.rasterize).parameters
    steps = {}
    for line in sys.stdin:
        level, size, views, sigma, color, given = case = tuple(json.loads(line))
        if case not in steps:
            mesh = shapes.icosphere(level)
            turns = torch.arange(views) / views
            camera = tsr.Camera.orbit(2.7, 20.0 + 20.0 * turns, 360.0 * turns)
            points = camera.ndc_from_view(camera.view_from_points(mesh.vertices), (size, size))
            rng = torch.Generator().manual_seed(0)
            colors = torch.rand(mesh.n_vertices, 3, generator=rng)
            if color != "none":
                mesh = mesh.replace(vertex_colors=colors)
            kinds = {"corners": points[:, mesh.faces], "vertices": points, "mesh": mesh.vertices}
            leaf = kinds[given].clone().requires_grad_()
            settings = tsr.RasterSettings(sigma=sigma, color=color)
            upstream = torch.rand(views, size, size, generator=rng)
            steps[case] = (mesh, camera, leaf, settings, upstream, colors[mesh.faces])
        mesh, camera, leaf, settings, upstream, attributes = steps[case]

        def step(
            mesh=mesh, camera=camera, leaf=leaf, settings=settings, d=upstream, a=attributes,
            size=size, given=given, color=color,
        ):  # fmt: skip
            if given == "mesh":
                out = tsr.render(mesh.replace(vertices=leaf), camera, size, settings=settings)
            else:
                a = None if color == "none" else a
                corners, more = leaf, {}
                if given == "vertices" and takes_faces:
                    more = {"faces": mesh.faces}
                elif given == "vertices":
                    corners = mesh.at_corners(leaf)
                out = tsr.rasterize(corners, a, size=size, settings=settings, **more)
            outputs, gradients = [out.alpha], [d]
            if out.image is not None:
                outputs.append(out.image)
                gradients.append(d[..., None].expand_as(out.image))
            torch.autograd.grad(outputs, [leaf], gradients, allow_unused=True)

        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            step()
            best = min(best, time.perf_counter() - start)
        print(json.dumps(1e3 * best), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs=2, default=(0, 0), help="old, new; 0: all")
    args = parser.parse_args()
    processes = []
    for checkout, threads in zip((args.old, args.new), args.threads, strict=True):
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
        if threads:
            environment["TI_CPU_MAX_NUM_THREADS"] = str(threads)
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                cwd=checkout,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
    print("level size views sigma color given: old min, new min [ms]; median of new / old")
    for case in CASES:
        samples = ([], [])
        for _ in range(args.rounds):
            for process, times in zip(processes, samples, strict=True):
                process.stdin.write(json.dumps(case) + "\n")
                process.stdin.flush()
                # Taichi greets on stdout.
                while not (line := process.stdout.readline().strip())[:1].isdigit():
                    if not line and process.poll() is not None:
                        raise SystemExit("a checkout's process ended; run its worker by hand")
                times.append(json.loads(line))
        ratio = statistics.median(new / old for old, new in zip(*samples, strict=True))
        print(*case, f": {min(samples[0]):.2f} {min(samples[1]):.2f}; {ratio:.2f}", flush=True)
    for process in processes:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    worker() if "--worker" in sys.argv else main()
