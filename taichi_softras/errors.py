"""Every complaint of the library: one base class, and the wording of shape errors."""

from collections.abc import Sequence


class SoftRasError(Exception):
    """Base of all errors raised on purpose by taichi_softras."""


class ShapeError(SoftRasError, ValueError):
    """An array has the wrong shape."""


class ArgumentError(SoftRasError, ValueError):
    """An argument has a value, dtype or device that cannot be used."""


class BackendError(SoftRasError, RuntimeError):
    """A Taichi backend is missing, or does not fit the tensors that were given."""


class DerivativeError(SoftRasError, RuntimeError):
    """A derivative was asked for that is not implemented."""


class FileError(SoftRasError, OSError):
    """A mesh, image or pose file is missing, damaged or of an unknown kind."""


def check_shape(name: str, shape: Sequence[int], pattern: str) -> dict[str, int]:
    """Match `shape` against a pattern such as "B F 3 2" and return the named axis lengths.

    Args:
        name: The argument's name, as the caller wrote it.
        shape: What was given.
        pattern: Axis names and literal lengths, separated by spaces; equal names must match.

    Raises:
        ShapeError: The number of axes, a literal length or a repeated axis does not fit.
    """
    sizes: dict[str, int] = {}
    want = pattern.split()
    fits = len(want) == len(shape)
    for axis, n in zip(want, shape, strict=False):
        fits = fits and n == (int(axis) if axis.isdigit() else sizes.setdefault(axis, n))
    if not fits:
        raise ShapeError(f"`{name}` must have shape [{', '.join(want)}], got {list(shape)}.")
    return sizes


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ArgumentError` unless `value` is one of `choices`."""
    if value not in choices:
        wanted = ", ".join(repr(c) for c in choices)
        raise ArgumentError(f"`{name}` must be one of {wanted}, got {value!r}.")
