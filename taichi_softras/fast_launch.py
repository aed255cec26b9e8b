"""Kernel launches without Taichi's Python overhead, where that is known to be the same.

Taichi's public call spends some 10 to 30 microseconds on every argument. Once a kernel has been
called publicly, this file puts the arguments straight into a launch context, as that call does. On
the CPU the context is kept: in a loop most arguments are those of the last time. On GPUs each
launch has a new one, because launching puts what belongs to the device in its place. That is
private API: it is used with the Taichi version that it was read in, for arguments of exactly the
annotated types, and outside of tapes. Everything else goes through the public call.

Either way kernels get a torch tensor's memory and nothing of its history. One with more axes than
the kernel's parameter counts as its rows: the first axes are taken for one.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import taichi as ti
from taichi.lang import impl
from taichi.types.ndarray_type import NdarrayType

KNOWN_VERSIONS = ((1, 7, 4),)
"""Taichi versions whose `Kernel.launch_kernel` does what `_Context.start` does."""

UNUSED = int
"""Annotation of what a kernel has no use for: a number, and a `Launch` gives it 0.

Taichi takes half a microsecond for an array in every launch, and kernels have two dozen.
"""

_CPUS = (ti.x64, ti.arm64)
_GPUS = (ti.cuda, ti.vulkan, ti.opengl, ti.metal)

_TORCH_NAMES = {ti.f32: "torch.float32", ti.f64: "torch.float64", ti.i32: "torch.int32"}

_torch_dtypes: dict[str, Any] = {}
"""Torch's dtypes by their names, as they come by: this file knows no torch."""


def launch(kernel: Callable[..., None], *arguments: Any) -> None:
    """Do `kernel(*arguments)`; hold `runtime.launch_lock`."""
    found = _contexts.get(kernel)
    if found is None or not found.is_current():
        _call(kernel, arguments)
        _contexts[kernel] = (_Context if on_cpu() else _NewContext)(kernel)
    elif not found.start(enumerate(arguments), len(arguments)):
        _call(kernel, arguments)


class Launch:
    """A kernel and those of its arguments that stay; hold `runtime.launch_lock` to use it.

    It has a launch context of its own, where they are set once.
    """

    def __init__(self, kernel: Callable[..., None], **kept: Any) -> None:
        """Take arguments by the names of the kernel's parameters."""
        self.kernel, self._kept = kernel, kept
        self._places, self._unused = _places(kernel)
        self.parameters = self._places.keys()
        """Names of those that the kernel has use for."""
        self._context: _Context | None = None

    def keep(self, **kept: Any) -> None:
        """Replace arguments that stay."""
        self._kept |= kept
        if self._context is not None and not self._context.hold(self._placed(kept)):
            self._context = None

    def __call__(self, **given: Any) -> None:
        """Launch with all arguments that do not stay.

        One that stays may be given too; then it has to be given, or kept anew, from now on.
        """
        context = self._context
        if context is None or not context.is_current():
            context = _Context(self.kernel)
            held = [*self._placed(self._kept), *((i, 0) for i in self._unused)]
            self._context = context if context.hold(held) else None
        if self._context is None or not context.start(self._placed(given)):
            by_place = dict(self._placed(self._kept | given)) | dict.fromkeys(self._unused, 0)
            _call(self.kernel, [by_place[i] for i in sorted(by_place)])

    def _placed(self, arguments: dict[str, Any]) -> list[tuple[int, Any]]:
        places = self._places
        return [(places[name], value) for name, value in arguments.items()]


@cache
def _places(kernel: Callable[..., None]) -> tuple[dict[str, int], list[int]]:
    """Return where the parameters are by name, and where those are that are annotated UNUSED."""
    parameters = list(enumerate(inspect.signature(kernel).parameters.items()))
    unused = [i for i, (_, parameter) in parameters if parameter.annotation is UNUSED]
    return {name: i for i, (name, _) in parameters if i not in unused}, unused


def _call(kernel: Callable[..., None], arguments: Any) -> None:
    with _compiling_quickly():
        kernel(*map(_plain, arguments, _axes(kernel)))


@cache
def _axes(kernel: Callable[..., None]) -> list[int]:
    """Return how many axes each parameter has, 0 for numbers."""
    parameters = inspect.signature(kernel).parameters.values()
    return [getattr(p.annotation, "ndim", None) or 0 for p in parameters]


def _plain(value: Any, ndim: int) -> Any:
    """Return a tensor as the public call takes it, and anything else as it is."""
    if not hasattr(value, "requires_grad"):
        return value
    # Taichi would allocate a gradient for a tensor that requires one.
    plain = value.detach()
    return plain if len(plain.shape) <= ndim else plain.view(_rows(plain.shape, ndim))


def _rows(shape: Any, ndim: int) -> tuple[int, ...]:
    first = len(shape) - ndim + 1
    return (math.prod(shape[:first]), *shape[first:])


@contextmanager
def _compiling_quickly() -> Iterator[None]:
    """Leave out what LLVM does again, and what takes most of the time with large local arrays.

    Taichi's own analysis of control flow grows with the square of the stores, and its search for
    common subexpressions (`opt_level` 1) takes a third of the time. The host's other kernels are
    compiled as they were. A GPU's compiler gets Taichi's optimised code.
    """
    config = impl.current_cfg()
    if not on_cpu():
        yield
        return
    before = config.cfg_optimization, config.opt_level
    config.cfg_optimization, config.opt_level = False, 0
    try:
        yield
    finally:
        config.cfg_optimization, config.opt_level = before


def on_cpu() -> bool:
    """Whether Taichi's kernels run on the CPU."""
    return impl.current_cfg().arch in _CPUS


class _Argument(NamedTuple):
    """What the annotation wants."""

    place: tuple[int]
    number: type | None
    """Type of a number, None for an array."""
    torch_name: str = ""
    """Torch's name for the dtype of an array."""
    ndim: int = 0
    dtype: Any = None
    """Taichi's dtype of an array."""


_NOTHING = object()


class _Context:
    """Taichi's launch context of a kernel that has been called publicly, and what is in it."""

    archs: tuple[Any, ...] = _CPUS
    """Where it may be used."""

    def __init__(self, kernel: Callable[..., None]) -> None:
        self._program = impl.get_runtime().prog
        self._code: Any = None  # None where only the public call will do
        # `_primal` is private too.
        primal = getattr(kernel, "_primal", None)
        arch = impl.current_cfg().arch
        if primal is None or ti.__version__ not in KNOWN_VERSIONS or arch not in self.archs:
            return
        instances, wanted = list(primal.compiled_kernels.values()), _wanted(kernel)
        if len(instances) != 1 or wanted is None:  # compiled for tensors with gradients, too
            return
        self._wanted = wanted
        # What is in the context: numbers, arrays that are held, addresses and shapes of others.
        self._held: list[Any] = [_NOTHING] * len(wanted)
        # Taichi's own arrays: launching replaces them by where they are.
        self._again: dict[int, Any] = {}
        program = self._program
        self._code = program.compile_kernel(
            program.config(), program.get_device_caps(), instances[0]
        )
        self._kernel = instances[0]
        self._context = self._kernel.make_launch_context()
        self._reaches_cuda = arch == ti.cuda

    def is_current(self) -> bool:
        """Whether Taichi is still the one that it was made in."""
        return self._program is impl.get_runtime().prog

    def start(self, arguments: Any, expected: int | None = None) -> bool:
        """Set arguments and launch, or return False if only the public call will do."""
        runtime = impl.get_runtime()
        # A tape wants to hear of kernels.
        if (runtime.target_tape and not runtime.grad_replaced) or runtime.fwd_mode_manager:
            return False
        if self._code is None or expected not in (None, len(self._held)):
            return False
        if self._again and not self.set(self._again.items()):
            return False
        if not self.set(arguments):
            return False
        self._program.launch_kernel(self._code, self._context)
        return True

    def hold(self, arguments: Any) -> bool:
        """Do as `set` with what lives as long as this, and whose memory nobody replaces."""
        if self._code is None:
            return False
        for i, value in arguments:
            if not self._set(i, value):
                return False
            if isinstance(value, ti.Ndarray):
                self._again[i] = value
            else:
                self._held[i] = value
        return True

    def set(self, arguments: Any) -> bool:
        """Put (place, value) pairs into the context; False if one is not what is wanted."""
        if self._code is None:
            return False
        held = self._held
        for i, value in arguments:  # noqa: SIM110 - a generator takes longer than what it does
            if value is not held[i] and not self._set(i, value):
                return False
        return True

    def _set(self, i: int, value: Any) -> bool:
        place, number, torch_name, ndim, dtype = self._wanted[i]
        if number is None:
            given = getattr(value, "dtype", None)
            if given is not None and given is _torch_dtypes.get(torch_name):
                return self._set_tensor(i, place, value, ndim)
            if str(given) == torch_name:
                _torch_dtypes[torch_name] = given
                return self._set_tensor(i, place, value, ndim)
            return self._set_ndarray(i, place, value, ndim, dtype)
        if type(value) is not number and not (number is float and type(value) is int):
            return False
        if value != self._held[i]:
            if number is float:
                self._context.set_arg_float(place, value)
            else:
                self._context.set_arg_int(place, value)
        self._held[i] = value
        return True

    def _set_tensor(self, i: int, place: tuple[int], value: Any, ndim: int) -> bool:
        shape = value.shape
        there = value.is_cpu or (self._reaches_cuda and value.is_cuda)
        if len(shape) < ndim or not there or not value.is_contiguous():
            return False
        now = (value.data_ptr(), shape)
        if now != self._held[i]:
            rows = shape if len(shape) == ndim else _rows(shape, ndim)
            self._context.set_arg_external_array_with_shape(place, now[0], value.nbytes, rows, 0)
            self._held[i] = now
        return True

    def _set_ndarray(self, i: int, place: tuple[int], value: Any, ndim: int, dtype: Any) -> bool:
        if (
            not isinstance(value, ti.Ndarray)
            or value.dtype != dtype
            or len(value.shape) != ndim
            or value.grad is not None
        ):
            return False
        self._context.set_arg_ndarray(place, value.arr)
        self._held[i] = _NOTHING
        return True


class _NewContext(_Context):
    """One for each launch: on GPUs."""

    archs = _GPUS

    def start(self, arguments: Any, expected: int | None = None) -> bool:
        """Set arguments and launch, or return False if only the public call will do."""
        if self._code is None:
            return False
        self._context = self._kernel.make_launch_context()
        self._held = [_NOTHING] * len(self._wanted)
        return super().start(arguments, expected)


@cache
def _wanted(kernel: Any) -> list[_Argument] | None:
    """Return what a kernel's annotations want, None if that is something unknown."""
    wanted = [_argument(i, each.annotation) for i, each in enumerate(kernel._primal.arguments)]
    known = [argument for argument in wanted if argument is not None]
    return known if len(known) == len(wanted) else None


def _argument(i: int, annotation: Any) -> _Argument | None:
    if annotation in (ti.f32, ti.f64):
        return _Argument((i,), float)
    if annotation in (ti.i32, UNUSED):
        return _Argument((i,), int)
    if isinstance(annotation, NdarrayType) and annotation.dtype in _TORCH_NAMES:
        dtype = annotation.dtype
        return _Argument((i,), None, _TORCH_NAMES[dtype], annotation.ndim, dtype)
    return None


_contexts: dict[Any, _Context] = {}
