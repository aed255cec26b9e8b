"""Is this checkout faster than that one? Both run in turns, so a busy machine slows both alike.

python benchmarks/compare.py OLD_CHECKOUT NEW_CHECKOUT [--rounds 11] [--threads 1 2]

A turn is a loop of passes; of each its median and its least time count. Sums of images and of
gradients are compared first: nothing is reported of checkouts that differ.
"""

import argparse
import inspect
import json
import math
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

FEWEST = 3
"""Passes of a turn."""

ANSWER = "turn: "
"""Begins a worker's line; Taichi writes others."""


def worker():
    """Time the case that each line of stdin names.

    Prints the median and the least milliseconds of a loop, and sums of what came out.
    """
    import time

    import torch

    import taichi_softras as tsr
    from taichi_softras import shapes

    torch.set_num_threads(1)
    takes_faces = "faces" in inspect.signature(tsr.rasterize).parameters
    steps = {}
    for line in sys.stdin:
        seconds, *rest = json.loads(line)
        level, size, views, sigma, color, given = case = tuple(rest)
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
            of_channels = upstream[..., None].repeat(1, 1, 1, 3)
            gradients = [upstream] if color == "none" else [upstream, of_channels]
            steps[case] = (mesh, camera, leaf, settings, gradients, colors[mesh.faces])
        mesh, camera, leaf, settings, gradients, attributes = steps[case]

        def step(
            mesh=mesh, camera=camera, leaf=leaf, settings=settings, d=gradients, a=attributes,
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
            outputs = [out.alpha] if out.image is None else [out.alpha, out.image]
            return outputs, torch.autograd.grad(outputs, [leaf], d)

        outputs, found = step()
        sums = [float(x.detach().double().abs().sum()) for x in (*outputs, *found)]
        del outputs, found
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < FEWEST:
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        print(ANSWER + json.dumps([statistics.median(times), min(times), sums]), flush=True)


def report(old, new):
    """Compare the turns of a case."""
    for a, b in zip(old[0][2], new[0][2], strict=True):
        if not math.isclose(a, b, rel_tol=1e-3):
            raise SystemExit(f"the checkouts differ: sums of results are {a} and {b}")
    parts = []
    for which in (0, 1):
        ours, theirs = ([turn[which] for turn in turns] for turns in (new, old))
        ratio = statistics.median(b / a for a, b in zip(theirs, ours, strict=True))
        parts.append(f"{statistics.median(theirs):.2f} {statistics.median(ours):.2f}, {ratio:.2f}")
    return "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.15, help="of a turn")
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
    print(
        "level size views sigma color given: old and new medians [ms], new / old; least times too"
    )
    for case in CASES:
        samples = ([], [])
        for _ in range(args.rounds):
            for process, times in zip(processes, samples, strict=True):
                process.stdin.write(json.dumps([args.seconds, *case]) + "\n")
                process.stdin.flush()
                # Taichi greets on stdout.
                while not (line := process.stdout.readline()).startswith(ANSWER):
                    if not line and process.poll() is not None:
                        raise SystemExit("a checkout's process ended; run its worker by hand")
                times.append(json.loads(line.removeprefix(ANSWER)))
        print(*case, ":", report(*samples), flush=True)
    for process in processes:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    worker() if "--worker" in sys.argv else main()
