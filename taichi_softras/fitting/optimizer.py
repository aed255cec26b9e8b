"""Adam with one step length for all vertices."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class UniformAdam(torch.optim.Optimizer):
    """Adam whose second moment is its largest entry: the steps keep the gradient's direction.

    Adam divides every coordinate by its own scale, so vertices that hardly feel the images (inside
    a fold, say) walk as far as the others, on noise alone. Here they stay. After Nicolet et al.,
    "Large Steps in Inverse Rendering of Geometry" (SIGGRAPH Asia 2021).

    Args:
        params: As for `torch.optim.Adam`.
        lr: Length of the largest coordinate's step.
        betas: Decay of the first and second moment.
    """

    def __init__(
        self, params: Any, lr: float = 1e-2, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        del closure  # the gradients are there already
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["mean"] = torch.zeros_like(parameter)
                    state["square"] = torch.zeros_like(parameter)
                state["step"] += 1
                mean: Tensor = state["mean"].lerp_(parameter.grad, 1.0 - first)
                square: Tensor = state["square"].lerp_(parameter.grad.square(), 1.0 - second)
                scale = (square.max() / (1.0 - second ** state["step"])).sqrt()
                rate = group["lr"] / (1.0 - first ** state["step"])
                parameter.add_(mean * (-rate / scale.clamp_min(1e-30)))
