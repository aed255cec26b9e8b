"""Kernel launches without Taichi's Python overhead, where that is known to be the same.

Taichi's public call spends some 10 to 30 microseconds on every argument. Once a kernel has been
called publicly, this file puts the arguments straight into a launch context, which the kernel
keeps: in a loop most arguments are those of the last time. That is private API: it is used with
the Taichi version that it was read in, on the CPU, for arguments of exactly the annotated types,
and outside of tapes. Everything else goes through the public call.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import taichi as ti
from taichi.lang import impl
from taichi.types.ndarray_type import NdarrayType

KNOWN_VERSIONS = ((1, 7, 4),)
"""Taichi versions whose `Kernel.launch_kernel` does what `_start` does."""

LARGEST_HELD = 2**20
"""Bytes of the largest tensor that a context keeps alive."""

_CPUS = (ti.x64, ti.arm64)

_TORCH_NAMES = {ti.f32: "torch.float32", ti.f64: "torch.float64", ti.i32: "torch.int32"}

_torch_dtypes: dict[str, Any] = {}
"""Torch's dtypes by their names, as they come by: this file knows no torch."""


class _Compiled(NamedTuple):
    """A kernel that has been called publicly in a running Taichi."""

    program: Any
    code: Any = None
    """Taichi's compiled kernel, None where only the public call will do."""
    context: Any = None
    """The arguments of the last launch."""
    wanted: tuple[tuple[tuple[int], type | None, str, int, Any], ...] = ()
    """Of each argument: its place; the type of a number; torch's name for the dtype of an array,
    its number of axes, and Taichi's dtype."""
    held: list[Any] = []  # noqa: RUF012
    """The `_Held` of tensors that `context` holds."""
    same: list[Any] = []  # noqa: RUF012
    """Numbers that `context` holds, and arguments that are in it if the very same are given."""


class _Held(NamedTuple):
    """A tensor in a context."""

    tensor: weakref.ref[Any]
    address: int
    shape: Any


_NOTHING = object()

_compiled: dict[Any, _Compiled] = {}


def launch(kernel: Callable[..., None], *arguments: Any) -> None:
    """Do `kernel(*arguments)`; hold `runtime.launch_lock`."""
    runtime = impl.get_runtime()
    found = _compiled.get(kernel)
    if found is None or found.program is not runtime.prog:
        with _compiling_quickly():
            kernel(*arguments)
            _compiled[kernel] = _look_up(kernel, runtime.prog)
    elif found.code is None or _recorded(runtime) or not _start(found, arguments):
        with _compiling_quickly():
            kernel(*arguments)


@contextmanager
def _compiling_quickly() -> Iterator[None]:
    """Leave out what LLVM does again, and what takes most of the time with large local arrays.

    Taichi's own analysis of control flow grows with the square of the stores, and its search for
    common subexpressions (`opt_level` 1) takes a third of the time. The host's other kernels are
    compiled as they were. A GPU's compiler gets Taichi's optimised code.
    """
    config = impl.current_cfg()
    if config.arch not in _CPUS:
        yield
        return
    before = config.cfg_optimization, config.opt_level
    config.cfg_optimization, config.opt_level = False, 0
    try:
        yield
    finally:
        config.cfg_optimization, config.opt_level = before


def _recorded(runtime: Any) -> bool:
    """Whether a tape wants to hear of kernels."""
    return bool((runtime.target_tape and not runtime.grad_replaced) or runtime.fwd_mode_manager)


def _look_up(kernel: Any, program: Any) -> _Compiled:
    """Find what the public call has compiled."""
    public_only = _Compiled(program)
    # `_primal` is private too.
    primal = getattr(kernel, "_primal", None)
    if (
        primal is None
        or ti.__version__ not in KNOWN_VERSIONS
        or impl.current_cfg().arch not in _CPUS
    ):
        return public_only
    instances = list(primal.compiled_kernels.values())
    if len(instances) != 1:  # compiled for tensors with and without gradients
        return public_only
    wanted: list[tuple[tuple[int], type | None, str, int, Any]] = []
    for i, argument in enumerate(primal.arguments):
        annotation = argument.annotation
        if annotation in (ti.f32, ti.f64):
            wanted.append(((i,), float, "", 0, None))
        elif annotation is ti.i32:
            wanted.append(((i,), int, "", 0, None))
        elif isinstance(annotation, NdarrayType) and annotation.dtype in _TORCH_NAMES:
            dtype = annotation.dtype
            wanted.append(((i,), None, _TORCH_NAMES[dtype], annotation.ndim, dtype))
        else:
            return public_only
    code = program.compile_kernel(program.config(), program.get_device_caps(), instances[0])
    context = instances[0].make_launch_context()
    nothing = [_NOTHING] * len(wanted)
    return _Compiled(program, code, context, tuple(wanted), nothing, nothing.copy())


def _start(found: _Compiled, arguments: tuple[Any, ...]) -> bool:
    """Launch, or return False if an argument is not what the annotation says."""
    same = found.same
    if len(arguments) != len(same):
        return False
    for i, value in enumerate(arguments):
        if value is not same[i] and not _set(found, i, value):
            return False
    found.program.launch_kernel(found.code, found.context)
    return True


def _set(found: _Compiled, i: int, value: Any) -> bool:
    """Put an argument into its place, or return False if it does not fit there."""
    context, same = found.context, found.same
    place, number, name, ndim, dtype = found.wanted[i]
    if number is None:
        before = found.held[i]
        kept = before.tensor() if isinstance(before, _Held) else None
        if kept is not None and kept is value:
            # Given twice, so it is one that is kept: nobody gives it other memory, while of all
            # others callers pass a new object each time (`detach`).
            if kept.nbytes <= LARGEST_HELD:
                same[i] = value
            return True
        given = getattr(value, "dtype", None)
        if given is _torch_dtypes.get(name) or str(given) == name:
            now = _set_tensor(context, place, value, ndim, before)
            _torch_dtypes[name] = given
        else:
            now = _set_ndarray(context, place, value, ndim, dtype)
        if now is None:
            return False
        found.held[i], same[i] = now, _NOTHING
        return True
    if type(value) is not number and not (number is float and type(value) is int):
        return False
    if value != same[i]:
        if number is float:
            context.set_arg_float(place, value)
        else:
            context.set_arg_int(place, value)
    same[i] = value
    return True


def _set_tensor(context: Any, place: tuple[int], value: Any, ndim: int, before: Any) -> Any:
    """Put a torch tensor into its place, and return what then is there; None if it does not fit."""
    shape = value.shape
    if len(shape) != ndim or not value.is_cpu or value.requires_grad or not value.is_contiguous():
        return None
    now = _Held(weakref.ref(value), value.data_ptr(), shape)
    if type(before) is not _Held or before[1:] != now[1:]:
        context.set_arg_external_array_with_shape(place, now.address, value.nbytes, shape, 0)
    return now


def _set_ndarray(context: Any, place: tuple[int], value: Any, ndim: int, dtype: Any) -> Any:
    """Do the same with one of Taichi's arrays."""
    if (
        not isinstance(value, ti.Ndarray)
        or value.dtype != dtype
        or len(value.shape) != ndim
        or value.grad is not None
    ):
        return None
    context.set_arg_ndarray(place, value.arr)
    return "a Taichi array"
