"""Steps of optimisers, in place on fields of any shape."""

from functools import cache
from typing import Any

import taichi as ti


@cache
def adam_kernel(dtype: Any) -> Any:
    """Return the kernel of one Adam step."""

    @ti.kernel
    def adam(
        x: ti.template(),
        mean: ti.template(),  # running mean of the gradient
        square: ti.template(),  # running mean of its square
        beta1: dtype,
        beta2: dtype,
        step: dtype,  # learning rate over the bias correction of `mean`
        inverse_correction: dtype,  # of `square`
        eps: dtype,
    ):
        for i in ti.grouped(x):
            mean[i] += (1.0 - beta1) * (x.grad[i] - mean[i])
            square[i] += (1.0 - beta2) * (x.grad[i] * x.grad[i] - square[i])
            x[i] -= step * mean[i] / (ti.sqrt(square[i] * inverse_correction) + eps)

    return adam


@cache
def sgd_kernel(dtype: Any) -> Any:
    """Return the kernel of one step of gradient descent with momentum."""

    @ti.kernel
    def sgd(x: ti.template(), velocity: ti.template(), lr: dtype, momentum: dtype):
        for i in ti.grouped(x):
            velocity[i] = momentum * velocity[i] + x.grad[i]
            x[i] -= lr * velocity[i]

    return sgd
