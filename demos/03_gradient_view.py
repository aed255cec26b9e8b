"""What a loss asks of each vertex and pixel, and why hard rasterization cannot tell.

    python demos/03_gradient_view.py              # the gradient view in a window
    python demos/03_gradient_view.py --headless   # its frame as a picture

The target is the mesh itself, shifted to the right. Arrows show where -dL/dvertex leads; below,
the same with hard edges, whose gradient is exactly zero. The number returned is the cosine
between the descent direction, summed over the vertices, and the way to the target.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from taichi_softras import viewer
from taichi_softras.errors import BackendError
from taichi_softras.viewer.gradient_view import GradientView


@dataclass
class Args:
    mesh: str = "duck"
    """A built-in shape or a mesh file."""
    out: Path = Path("out/03_gradient_view.png")
    """Picture to write when headless."""
    shift: float = 0.2
    """How far off the target is, in world units along x."""
    sigma: float = 1e-3
    """Edge softness."""
    headless: bool = False
    """Write a picture instead of opening a window."""


def main(args: Args) -> float:
    torch.set_num_threads(1)
    state = viewer.ViewState(
        view="gradient", target="shifted", amount=args.shift, freedom="shift", sigma=args.sigma,
        azimuth=0.0, elevation=0.0,
    )  # fmt: skip
    session = viewer.Session(viewer.open_scene(args.mesh), state, args.out.parent)
    if not args.headless:
        try:
            window = viewer.open_window()
        except BackendError as error:
            print(f"No window: {error}. Writing {args.out} instead.")
        else:
            viewer.run(session, window)
            session.state = state
    args.out.parent.mkdir(parents=True, exist_ok=True)
    session.settle().save(args.out)
    session.close()
    view = session.content
    assert isinstance(view, GradientView)
    cosine = cosine_with_x(-view.soft.d_vertices)
    print(f"{args.out}: |g| {view.soft.norm:.3g} soft, {view.hard.norm:.3g} hard; "
          f"cosine with the way to the target {cosine:.3f}")  # fmt: skip
    return cosine if view.hard.norm == 0.0 else float("nan")


def cosine_with_x(ways: torch.Tensor) -> float:
    """Cosine between a sum of vectors [V, 3] and the x axis."""
    total = ways.sum(dim=0)
    return float(total[0] / total.norm().clamp_min(1e-30))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
