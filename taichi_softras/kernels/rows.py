"""Between fields and arrays: the only kernels, beside `vertex`, that know Taichi's fields.

Fields enter as templates, so every renderer compiles its own copies of these small kernels.
"""

from functools import cache
from typing import Any, NamedTuple

import taichi as ti

from taichi_softras.kernels.types import array
from taichi_softras.kernels.vertex import CAMERA, LIGHT


class StageKernels(NamedTuple):
    """Copies between rows [n, K] and scalar fields [n, K]."""

    load: Any
    store: Any
    seed: Any
    store_gradient: Any


@cache
def stage_kernels(dtype: Any) -> StageKernels:
    """Return the kernels for rows of `dtype`."""

    @ti.kernel
    def load(rows: array(dtype, 2), field: ti.template()):
        for i in range(field.shape[0]):
            for k in range(field.shape[1]):
                field[i, k] = rows[i, k]

    @ti.kernel
    def store(field: ti.template(), rows: array(dtype, 2)):
        for i in range(field.shape[0]):
            for k in range(field.shape[1]):
                rows[i, k] = field[i, k]

    @ti.kernel
    def seed(d_rows: array(dtype, 2), results: ti.template(), inputs: ti.template()):
        # Derived adjoints add to the inputs' gradient, so that must start from zero.
        for i in range(results.shape[0]):
            for k in range(results.shape[1]):
                results.grad[i, k] = d_rows[i, k]
        for i in range(inputs.shape[0]):
            for k in range(inputs.shape[1]):
                inputs.grad[i, k] = ti.cast(0.0, dtype)

    @ti.kernel
    def store_gradient(field: ti.template(), d_rows: array(dtype, 2)):
        for i in range(field.shape[0]):
            for k in range(field.shape[1]):
                d_rows[i, k] = field.grad[i, k]

    return StageKernels(load, store, seed, store_gradient)


class FieldKernels(NamedTuple):
    """Reads of a renderer's fields, each followed by the sum into their gradients."""

    read: Any
    add: Any
    read_camera: Any
    add_camera: Any
    read_light: Any
    add_light: Any


@ti.func
def rows_of(vectors: ti.template()):
    """Vectors in a field of one or two axes."""
    count = vectors.shape[0]
    if ti.static(len(vectors.shape) == 2):
        count *= vectors.shape[1]
    return count


@cache
def field_kernels(dtype: Any) -> FieldKernels:
    """Return the kernels for fields of `dtype`."""

    @ti.kernel
    def read(
        vectors: ti.template(),  # [V] or [S, V]
        rows: array(dtype, 2),  # [S * V, n] out
    ):
        for i in range(rows_of(vectors)):
            for k in ti.static(range(vectors.n)):
                if ti.static(len(vectors.shape) == 1):
                    rows[i, k] = vectors[i][k]
                else:
                    rows[i, k] = vectors[i // vectors.shape[1], i % vectors.shape[1]][k]

    @ti.kernel
    def add(
        d_rows: array(dtype, 2),  # [S * V, n]
        vectors: ti.template(),  # [V] or [S, V]
    ):
        for i in range(rows_of(vectors)):
            # Whole vectors: Taichi aborts on `field[i // n, i % n][k] += x`.
            d = ti.Vector([d_rows[i, k] for k in ti.static(range(vectors.n))])
            if ti.static(len(vectors.shape) == 1):
                vectors.grad[i] += d
            else:
                vectors.grad[i // vectors.shape[1], i % vectors.shape[1]] += d

    @ti.kernel
    def read_camera(
        eye: ti.template(),
        at: ti.template(),
        up: ti.template(),
        fov: ti.template(),
        rows: array(dtype, 2),  # [B, CAMERA] out
    ):
        for b in range(fov.shape[0]):
            for k in ti.static(range(3)):
                rows[b, k] = eye[b][k]
                rows[b, 3 + k] = at[b][k]
                rows[b, 6 + k] = up[b][k]
            rows[b, CAMERA - 1] = fov[b]

    @ti.kernel
    def add_camera(
        d_rows: array(dtype, 2),  # [B, CAMERA]
        eye: ti.template(),
        at: ti.template(),
        up: ti.template(),
        fov: ti.template(),
    ):
        for b in range(fov.shape[0]):
            for k in ti.static(range(3)):
                eye.grad[b][k] += d_rows[b, k]
                at.grad[b][k] += d_rows[b, 3 + k]
                up.grad[b][k] += d_rows[b, 6 + k]
            fov.grad[b] += d_rows[b, CAMERA - 1]

    @ti.kernel
    def read_light(
        ambient: ti.template(),
        ambient_color: ti.template(),
        directional: ti.template(),
        directional_color: ti.template(),
        direction: ti.template(),
        rows: array(dtype, 2),  # [1, LIGHT] out
    ):
        rows[0, 0] = ambient[None]
        rows[0, 4] = directional[None]
        for k in ti.static(range(3)):
            rows[0, 1 + k] = ambient_color[None][k]
            rows[0, 5 + k] = directional_color[None][k]
            rows[0, LIGHT - 3 + k] = direction[None][k]

    @ti.kernel
    def add_light(
        d_rows: array(dtype, 2),  # [1, LIGHT]
        ambient: ti.template(),
        ambient_color: ti.template(),
        directional: ti.template(),
        directional_color: ti.template(),
        direction: ti.template(),
    ):
        ambient.grad[None] += d_rows[0, 0]
        directional.grad[None] += d_rows[0, 4]
        for k in ti.static(range(3)):
            ambient_color.grad[None][k] += d_rows[0, 1 + k]
            directional_color.grad[None][k] += d_rows[0, 5 + k]
            direction.grad[None][k] += d_rows[0, LIGHT - 3 + k]

    return FieldKernels(read, add, read_camera, add_camera, read_light, add_light)


@cache
def softness_sum_kernel(dtype: Any) -> Any:
    """Return the kernel that adds to the gradients of sigma and gamma."""

    @ti.kernel
    def add_softness(
        total: array(dtype, 1),  # [2], see `pipeline.Gradients`
        to_sigma: dtype,
        to_gamma: dtype,
        sigma: ti.template(),
        gamma: ti.template(),
    ):
        sigma.grad[None] += total[0] * to_sigma
        gamma.grad[None] += total[1] * to_gamma

    return add_softness


@cache
def pixel_kernels(dtype: Any, channels: int) -> tuple[Any, Any]:
    """Return the kernels that write images [B, H, W] and take their gradients; 0 channels: alpha.

    Taking leaves zeros, as Taichi's own adjoint of a store does: an earlier render of the same
    fields must not see what a later one was given.
    """

    @ti.kernel
    def write(
        alpha: array(dtype, 1),  # [P]
        image: array(dtype, 1),  # [P * C]
        depth: array(dtype, 1),  # [P]
        alpha_field: ti.template(),
        image_field: ti.template(),
        depth_field: ti.template(),
    ):
        for b, r, c in ti.ndrange(*alpha_field.shape):
            q = (b * alpha_field.shape[1] + r) * alpha_field.shape[2] + c
            alpha_field[b, r, c] = alpha[q]
            if ti.static(channels > 0):
                depth_field[b, r, c] = depth[q]
                for k in ti.static(range(channels)):
                    image_field[b, r, c][k] = image[q * channels + k]

    @ti.kernel
    def take(
        alpha_field: ti.template(),
        image_field: ti.template(),
        depth_field: ti.template(),
        d_alpha: array(dtype, 1),  # [P] out
        d_image: array(dtype, 1),  # [P * C] out
        d_depth: array(dtype, 1),  # [P] out
    ):
        for b, r, c in ti.ndrange(*alpha_field.shape):
            q = (b * alpha_field.shape[1] + r) * alpha_field.shape[2] + c
            d_alpha[q] = alpha_field.grad[b, r, c]
            alpha_field.grad[b, r, c] = ti.cast(0.0, dtype)
            if ti.static(channels > 0):
                d_depth[q] = depth_field.grad[b, r, c]
                depth_field.grad[b, r, c] = ti.cast(0.0, dtype)
                for k in ti.static(range(channels)):
                    d_image[q * channels + k] = image_field.grad[b, r, c][k]
                    image_field.grad[b, r, c][k] = ti.cast(0.0, dtype)

    return write, take
