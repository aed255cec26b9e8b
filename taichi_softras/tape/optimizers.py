"""Optimisers for fields: they read `.grad`, which a tape has just filled, and step in place."""

from collections.abc import Sequence
from typing import Any

import taichi as ti

from taichi_softras import runtime
from taichi_softras.errors import ArgumentError
from taichi_softras.kernels.optimize import adam_kernel, sgd_kernel
from taichi_softras.tape.fields import Field, float_type, has_gradient


class Adam:
    """Adam (Kingma and Ba, 2015), as `torch.optim.Adam`.

    `lr` may be changed between steps. A tape clears gradients itself: there is no `zero_grad`.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """Keep two running means for each field.

        Args:
            fields: Fields of floats made with needs_grad=True.
            lr: Learning rate: about how far each number moves in a step, in its own unit.
            betas: Decay of the running means of gradient and squared gradient.
            eps: Added to the root of the squared mean.
        """
        self.lr, self.betas, self.eps = _positive("lr", lr), betas, eps
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ArgumentError(f"`betas` must lie in [0, 1), got {betas}.")
        self._fields = _checked(fields)
        self._moments = [(_zeros_like(x), _zeros_like(x)) for x in self._fields]
        self._steps = 0

    def step(self) -> None:
        """Move every field by its gradient."""
        self._steps += 1
        beta1, beta2 = self.betas
        step = self.lr / (1.0 - beta1**self._steps)
        inverse_correction = 1.0 / (1.0 - beta2**self._steps)
        with runtime.launching():
            for x, moments in zip(self._fields, self._moments, strict=True):
                kernel = adam_kernel(float_type(x))
                kernel(x, *moments, beta1, beta2, step, inverse_correction, self.eps)


class SGD:
    """Gradient descent with momentum, as `torch.optim.SGD`; `lr` may be changed between steps."""

    def __init__(self, fields: Sequence[Field], lr: float, momentum: float = 0.0) -> None:
        """Keep a velocity for each field.

        Args:
            fields: Fields of floats made with needs_grad=True.
            lr: Learning rate: what gradients are multiplied by.
            momentum: Share of the last step's velocity that is kept.
        """
        self.lr, self.momentum = _positive("lr", lr), momentum
        if not 0.0 <= momentum < 1.0:
            raise ArgumentError(f"`momentum` must lie in [0, 1), got {momentum}.")
        self._fields = _checked(fields)
        self._velocities = [_zeros_like(x) for x in self._fields]

    def step(self) -> None:
        """Move every field by its gradient."""
        with runtime.launching():
            for x, velocity in zip(self._fields, self._velocities, strict=True):
                sgd_kernel(float_type(x))(x, velocity, self.lr, self.momentum)


def _positive(name: str, value: float) -> float:
    if not value > 0.0:
        raise ArgumentError(f"`{name}` must be positive, got {value}.")
    return value


def _checked(fields: Sequence[Field]) -> list[Field]:
    if isinstance(fields, ti.Field):
        raise ArgumentError("`fields` must be a sequence of fields, got one field; write [field].")
    for i, field in enumerate(fields):
        if not isinstance(field, ti.Field):
            raise ArgumentError(f"`fields[{i}]` must be a field, got {type(field).__name__}.")
        if field.dtype not in (ti.f32, ti.f64) or not has_gradient(field):
            raise ArgumentError(
                f"`fields[{i}]` must be a field of ti.f32 or ti.f64 with needs_grad=True."
            )
    return list(fields)


def _zeros_like(field: Any) -> Field:
    if isinstance(field, ti.MatrixField) and field.ndim == 1:
        return ti.Vector.field(field.n, field.dtype, shape=field.shape)
    if isinstance(field, ti.MatrixField):
        return ti.Matrix.field(field.n, field.m, field.dtype, shape=field.shape)
    return ti.field(field.dtype, shape=field.shape)
