"""Adjoints that have no derivative of their own, for whoever asks for one."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from taichi_softras.errors import DerivativeError

Gradients = tuple[Tensor | None, ...]


def first_only(pull_back: Callable[..., Gradients], *d_outputs: Tensor | None) -> Gradients:
    """Call an adjoint; within `create_graph=True`, so that differentiating again is refused."""
    if not torch.is_grad_enabled():
        return pull_back(*d_outputs)
    gradients: Gradients = _FirstOnly.apply(pull_back, *d_outputs)  # type: ignore[no-untyped-call]
    return gradients


class _FirstOnly(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pull_back: Callable[..., Gradients], *d_outputs: Tensor | None
    ) -> Gradients:
        return pull_back(*d_outputs)

    @staticmethod
    def backward(ctx: Any, *d_gradients: Tensor) -> Gradients:
        refuse_second(ctx, *d_gradients)


def refuse_second(ctx: Any, *_: Any) -> NoReturn:
    """Raise, as the backward pass of an adjoint."""
    raise DerivativeError(
        "the rasterizer has first derivatives only; a second derivative (create_graph=True, "
        "torch.autograd.functional.hessian) is not available. `taichi_softras.reference."
        "rasterize` has derivatives of every order, at dense cost."
    )
