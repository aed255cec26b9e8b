"""Pure functions on points, directions and rigid matrices. Angles are in degrees."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from taichi_softras.errors import ArgumentError, ShapeError, check_shape


def promote(**values: Any) -> list[Tensor]:
    """Turn named numbers, sequences, arrays and tensors into tensors of one dtype and device.

    Torch tensors keep their autograd graph and decide: float64 where any of them is float64,
    else float32; on their device. Everything else, NumPy arrays of doubles included, follows.

    Args:
        **values: What the caller was given, under the names that its user wrote.

    Returns:
        One floating-point tensor for each value, in order.

    Raises:
        ArgumentError: A value is not numeric, or tensors sit on different devices.
    """
    if _are_alike(values.values()):
        return list(values.values())
    tensors = {name: _as_tensor(name, value) for name, value in values.items()}
    given = {name: t for name, t in tensors.items() if not _is_foreign(values[name])}
    wide = any(t.dtype == torch.float64 for t in given.values())
    dtype = torch.float64 if wide else torch.float32
    devices = {name: t.device for name, t in given.items()}
    if len(set(devices.values())) > 1:
        where = ", ".join(f"`{name}` on {device}" for name, device in devices.items())
        raise ArgumentError(f"Tensors must be on one device, got {where}.")
    device = next(iter(devices.values()), torch.device("cpu"))
    return [t.to(device=device, dtype=dtype) for t in tensors.values()]


def _are_alike(values: Collection[Any]) -> bool:
    """Tell whether all are tensors of one usable dtype and on one device, as they mostly are."""
    first = next(iter(values), None)
    if not isinstance(first, Tensor) or first.dtype not in (torch.float32, torch.float64):
        return False
    kind = (first.dtype, first.device)
    return all(isinstance(v, Tensor) and (v.dtype, v.device) == kind for v in values)


def promote_batch(**arguments: tuple[Any, str]) -> list[Tensor]:
    """Promote finite arguments, and give them one batch axis.

    Args:
        **arguments: Value and axes of one item, such as `eye=(eye, "3")`; a leading batch axis
            may be missing, or have length 1.

    Returns:
        Tensors with a leading axis of the common length B, in order. [B, ...]
    """
    tensors = promote(**{name: value for name, (value, _) in arguments.items()})
    counts: dict[str, int] = {}
    for i, (name, (_, axes)) in enumerate(arguments.items()):
        value = tensors[i]
        single = value.ndim == len(axes.split())
        check_shape(name, value.shape, axes if single else f"B {axes}")
        value = value[None] if single else value
        check_finite(name, value)
        tensors[i], counts[name] = value, value.shape[0]
    views = max(counts.values(), key=lambda count: (count != 1, count))
    if set(counts.values()) - {1, views}:
        said = ", ".join(f"`{name}` {count}" for name, count in counts.items())
        raise ShapeError(f"Batches must have one length, or be 1, got {said}.")
    return [value.expand(views, *value.shape[1:]) for value in tensors]


def _is_foreign(value: Any) -> bool:
    """Tell whether a value says nothing about dtype and device."""
    if isinstance(value, list | tuple):
        return not any(isinstance(item, Tensor) for item in value)
    return not isinstance(value, Tensor)


def _as_tensor(name: str, value: Any) -> Tensor:
    try:
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            # torch.as_tensor would cut the autograd graph of the items
            return torch.stack(promote(**{f"{name}[{i}]": v for i, v in enumerate(value)}))
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            f"`{name}` must be numbers, an array or a tensor, got {type(value).__name__}: {error}"
        ) from error


def check_finite(name: str, value: Tensor) -> None:
    """Raise `ArgumentError`, naming the argument, where a value is NaN or infinite."""
    finite = torch.isfinite(value.detach())
    if not bool(finite.all()):
        bad = value.detach()[~finite].flatten()[0].item()
        count = int((~finite).sum())
        raise ArgumentError(f"`{name}` must be finite, got {bad} ({count} of {value.numel()}).")


def check_rotation(name: str, rotation: Tensor, tolerance: float = 1e-3) -> None:
    """Raise `ArgumentError` unless each matrix is a rotation.

    Args:
        name: The argument's name, as the caller wrote it.
        rotation: Matrices to check. [..., 3, 3]
        tolerance: Largest accepted entry of |R Rᵀ - 1|, and of |det R - 1| / 3.
    """
    matrix = rotation.detach()
    product = matrix @ matrix.mT
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    stretch = float((product - identity).abs().amax()) if matrix.numel() else 0.0
    determinants = torch.linalg.det(matrix)
    worst = float((determinants - 1.0).abs().amax()) if matrix.numel() else 0.0
    if not (stretch <= tolerance and worst <= 3.0 * tolerance):
        index = int((determinants - 1.0).abs().flatten().argmax())
        value = float(determinants.flatten()[index])
        kind = "a reflection: swap or negate one axis" if value < 0.0 else "scaled or sheared"
        raise ArgumentError(
            f"`{name}` must be a rotation (orthonormal, determinant +1), got determinant "
            f"{value:.4g} and a deviation of {stretch:.2g} from orthonormal; it is {kind}."
        )


def normalize(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1, at any magnitude; zero and non-finite ones become zero.

    The gradient is exact, and zero where the result is zero.

    Args:
        vectors: Directions of any length. [..., N]
    """
    # The result does not depend on the length, so `size` may be taken as a constant.
    size = vectors.detach().abs().amax(dim=-1, keepdim=True)
    usable = torch.isfinite(size) & (size > 0.0)
    scaled = torch.where(usable, vectors, torch.ones_like(vectors))
    scaled = scaled / torch.where(usable, size, torch.ones_like(size))
    unit = scaled / scaled.square().sum(dim=-1, keepdim=True).sqrt()
    return torch.where(usable, unit, torch.zeros_like(unit))


def transform_points(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply rotations or rigid transforms to points.

    Args:
        matrix: Maps column vectors from the points' frame. [..., 3, 3] or [..., 4, 4]
        points: Points; leading axes broadcast against the matrix's. [..., V, 3]

    Returns:
        The points in the new frame. [..., V, 3]
    """
    if matrix.shape[-2:] not in ((3, 3), (4, 4)):
        raise ShapeError(
            f"`matrix` must have shape [..., 3, 3] or [..., 4, 4], got {list(matrix.shape)}."
        )
    # Not a matrix product: on the CPU that wakes threads, which takes longer than so small a sum.
    x, y, z = points[..., 0:1], points[..., 1:2], points[..., 2:3]
    columns = matrix[..., None, :3, :3]
    rotated = x * columns[..., 0] + y * columns[..., 1] + z * columns[..., 2]
    return rotated if matrix.shape[-1] == 3 else rotated + matrix[..., None, :3, 3]


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """Pick rows, `values[..., index, :]`, with a gradient that is summed in one order.

    That of indexing is summed by racing threads.

    Args:
        values: Rows to pick from. [..., V, C]
        index: Which rows, int64. [N]

    Returns:
        The rows. [..., N, C]
    """
    if values.requires_grad and torch.is_grad_enabled():
        if torch.compiler.is_compiling():
            return values.gather(-2, _everywhere(index, values))
        rows: Tensor = _TakeRows.apply(values, index)  # type: ignore[no-untyped-call]
        return rows
    return values.index_select(-2, index)


def take_corners(values: Tensor, faces: Tensor) -> Tensor:
    """Copy vertex values to each face's corners. [..., V, C], [F, 3] -> [..., F, 3, C]."""
    flat = take_rows(values, faces.flatten().long())
    return flat.reshape(*values.shape[:-2], faces.shape[0], 3, values.shape[-1])


def _everywhere(index: Tensor, values: Tensor) -> Tensor:
    return index[:, None].expand(*values.shape[:-2], -1, values.shape[-1])


class _TakeRows(torch.autograd.Function):
    """`index_select`, which is twice as fast as `gather`, with the gradient of `gather`.

    Its own gradient takes five times as long.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, index: Tensor) -> Tensor:
        return values.index_select(-2, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        values, index = inputs
        ctx.save_for_backward(index)
        ctx.shape = values.shape

    @staticmethod
    def backward(ctx: Any, d_rows: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        zeros = d_rows.new_zeros(ctx.shape)
        return zeros.scatter_add_(-2, _everywhere(index, d_rows), d_rows), None


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Join rotation and translation: x ↦ R x + t. [..., 3, 3], [..., 3] -> [..., 4, 4]."""
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    row = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat([top, row.expand(*top.shape[:-2], 1, 4)], dim=-2)


def rigid_inverse(matrix: Tensor) -> Tensor:
    """Invert rigid transforms without a solver. [..., 4, 4] -> [..., 4, 4]."""
    inverse = matrix[..., :3, :3].mT
    return rigid(inverse, -(inverse @ matrix[..., :3, 3:])[..., 0])


def rotation_from_axis_angle(axis: Tensor | Sequence[float], angle: Tensor | float) -> Tensor:
    """Rotate by `angle` about `axis`, counter-clockwise seen from the axis' tip.

    Args:
        axis: Direction of any length above zero. [..., 3]
        angle: Degrees. [...]

    Returns:
        Rotation matrices. [..., 3, 3]
    """
    axis, angle = promote(axis=axis, angle=angle)
    x, y, z = normalize(axis).unbind(dim=-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    cross = rows.reshape(*rows.shape[:-1], 3, 3)
    radians = (angle * (math.pi / 180.0))[..., None, None]
    identity = torch.eye(3, dtype=cross.dtype, device=cross.device)
    rotation: Tensor = identity + radians.sin() * cross + (1.0 - radians.cos()) * (cross @ cross)
    return rotation


def rotation_looking_along(forward: Tensor, up: Tensor) -> Tensor:
    """Build the rotation into a frame with x right, y down and z along `forward`.

    Args:
        forward: Viewing direction, of any length. [..., 3]
        up: Direction that shall point up in the picture; must not be parallel to it. [..., 3]

    Returns:
        `view_from_world`: its rows are the view axes in world coordinates. [..., 3, 3]
    """
    z = normalize(forward)
    x = normalize(torch.linalg.cross(z, normalize(up).expand_as(z), dim=-1))
    y = torch.linalg.cross(z, x, dim=-1)
    return torch.stack([x, y, z], dim=-2)
