"""Torch's tensors as memory of the kernels: in place where Taichi runs on their device."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from typing import Any, NamedTuple

import taichi as ti
import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.device_memory import DeviceMemory
from taichi_softras.errors import BackendError
from taichi_softras.settings import RasterSettings


def check_backend(corners: Tensor, settings: RasterSettings) -> None:
    """Refuse what the running backend cannot reach or compute.

    Raises:
        BackendError: Says what is missing and what to do.
    """
    device, backend = corners.device, runtime.backend()
    if device.type == "cuda" and device.index not in (None, 0):
        raise BackendError(
            f"`corners_ndc` is on {device}, but Taichi uses the first visible GPU only; start the "
            f"process with CUDA_VISIBLE_DEVICES={device.index}, where that GPU is cuda:0."
        )
    if device.type not in ("cpu", backend):
        raise BackendError(
            f"`corners_ndc` is on {device}, but Taichi runs on {backend!r} in this process; move "
            f"the tensors with `.cpu()`{_HOW_TO_REACH.get(device.type, '')}."
        )
    if corners.dtype == torch.float64:
        runtime.check_float64("corners_ndc", "use float32")
    if settings.distance == "barycentric" and backend == "metal":
        runtime.check_float64("distance", "edge functions are float64 there; use 'euclidean'")


_HOW_TO_REACH = {
    "cuda": ', or call `taichi_softras.init("cuda")` before the first render of the process'
}


class TorchMemory:
    """Tensors on the device where Taichi runs: kernels take them as they are, without a copy."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device

    def again(self) -> "TorchMemory":
        """Return memory for another pass over the same: this."""
        return self

    def reals(self, *shape: int) -> Tensor:
        """Return an uninitialised tensor of the rendering's dtype."""
        return self._empty(shape, self._dtype)

    def results(self, *shape: int) -> Tensor:
        """Return an uninitialised tensor for whoever asked for the rendering."""
        return self.reals(*shape)

    def gradients(self, points: Tensor) -> Tensor:
        """Return an uninitialised tensor for the gradients of points, which are contiguous."""
        return torch.empty_like(points)

    def pictures(self, *shape: int) -> Tensor:
        """Do so for what kernels take as one long row."""
        return torch.empty(shape, dtype=self._dtype, device=self._device)

    def integers(self, *shape: int) -> Tensor:
        """Return an uninitialised int32 tensor."""
        return self._empty(shape, torch.int32)

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(_filled(shape), dtype=dtype, device=self._device)

    def zeros(self, n: int) -> Tensor:
        """Return n int32 zeros to work with."""
        return self.integers(n).zero_()

    def nothing(self, ndim: int, *, integers: bool = False) -> Tensor:
        """Return a tensor that kernels take and do not touch, the same one each time."""
        return _nothing(ndim, torch.int32 if integers else self._dtype, self._device)

    def blank(self, n: int) -> Tensor:
        """Return at least n zeros that kernels only read."""
        return _blank(n, self._dtype, self._device)

    def scratch(self) -> "TorchMemory":
        """Return memory for part of the work: this, as tensors are freed one by one."""
        return self

    def lasting(self) -> "TorchMemory":
        """Return memory for what stays when the rendering is done."""
        return _LastingMemory(self._dtype, self._device)

    def read_integer(self, array: Tensor, index: int) -> int:
        """Return one number of an int32 tensor, once everything that writes it has run."""
        return int(array.item() if array.numel() == 1 else array[index])

    def window(self, array: Tensor, first: int) -> "_Window | _DeviceWindow":
        """Return quick access to an int32 tensor, of which so many numbers will be read."""
        return (_Window if array.is_cpu else _DeviceWindow)(array, first)

    def upload(self, tensor: Tensor, *shape: int) -> Tensor:
        """Return a tensor for kernels, which take it in this shape: itself, if it is contiguous.

        An empty one is replaced by one that kernels may be given.
        """
        tensor = tensor.contiguous()
        if tensor.numel():
            return tensor
        return self.nothing(len(shape) or tensor.ndim, integers=not tensor.is_floating_point())

    def tensor(self, array: Tensor, *shape: int) -> Tensor:
        """Return the array as a tensor of this shape: itself, unless that is empty."""
        return array if 0 not in shape else array.new_empty(shape)


class _Window:
    """An int32 tensor on the CPU as bytes of Python's, which takes a tenth of torch's time."""

    def __init__(self, array: Tensor, first: int) -> None:
        self._all: memoryview = array.numpy().data
        self._zeros = memoryview(bytes(self._all.nbytes)).cast("i")
        self._first = self._all[:first]

    def clear(self) -> None:
        """Fill it with zeros."""
        self._all[:] = self._zeros

    def read(self) -> list[int]:
        """Return its first numbers."""
        return self._first.tolist()


class _DeviceWindow(NamedTuple):
    """An int32 tensor elsewhere, and how many of its numbers are read."""

    array: Tensor
    first: int

    def clear(self) -> None:
        """Fill it with zeros."""
        self.array.zero_()

    def read(self) -> list[int]:
        """Return its first numbers, once everything that writes them has run."""
        numbers: list[int] = self.array[: self.first].tolist()
        return numbers


_tensors = lru_cache(TorchMemory)


@cache
def _nothing(ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.zeros([1] * ndim, dtype=dtype, device=device)


MOST_BLANK = 2**20
"""Zeros that are kept, at the most."""


def _blank(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    kept = _blanks.get((dtype, device))
    if kept is not None and kept.shape[0] >= n:
        return kept
    with torch.inference_mode(False):
        kept = torch.zeros(max(n, 1), dtype=dtype, device=device)
    if n <= MOST_BLANK:
        _blanks[dtype, device] = kept
    return kept


_blanks: dict[tuple[torch.dtype, torch.device], Tensor] = {}
"""The longest ones so far."""


class _LastingMemory(TorchMemory):
    """Tensors of inference mode could not be written later, so here are none."""

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if not torch.is_inference_mode_enabled():
            return super()._empty(shape, dtype)
        with torch.inference_mode(False):
            return super()._empty(shape, dtype)


def _filled(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if 0 not in shape else tuple(max(n, 1) for n in shape)


class CopiedMemory(DeviceMemory):
    """Taichi's own arrays, for tensors that its backend cannot reach."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(runtime.taichi_dtype(dtype_name(dtype)))
        self._torch_dtype = dtype

    def again(self) -> "CopiedMemory":
        """Return memory for another pass, with arrays of its own."""
        return CopiedMemory(self._torch_dtype)

    def upload(self, tensor: Tensor, *shape: int) -> Any:
        """Copy a tensor to an array, of this shape if one is given."""
        plain = tensor.detach().contiguous()
        return super().upload(plain.view(shape) if shape else plain)

    def blank(self, n: int) -> Any:
        """Return n zeros."""
        return self.upload(torch.zeros(n, dtype=self._torch_dtype))

    def tensor(self, array: Any, *shape: int) -> Tensor:
        """Copy an array's elements to a new tensor."""
        dtype = torch.int32 if array.dtype == ti.i32 else self._torch_dtype
        target = torch.empty(shape, dtype=dtype)
        self.download(array, target.view(-1, *array.shape[1:]))
        return target


def memory_for(like: Tensor) -> TorchMemory | CopiedMemory:
    """Return memory for a pass over tensors like this one."""
    device = like.device
    if device.type != runtime.backend():
        return CopiedMemory(like.dtype)
    return _tensors(like.dtype, device)


def dtype_name(dtype: torch.dtype) -> str:
    """Name a dtype as `runtime.taichi_dtype` does."""
    return str(dtype).removeprefix("torch.")


def launching(device: torch.device) -> AbstractContextManager[Any]:
    """Hold the launch lock, and order Taichi's work with torch's."""
    lock = runtime.launching()
    return _after_streams(lock, device) if device.type == "cuda" else lock


@contextmanager
def _after_streams(lock: AbstractContextManager[Any], device: torch.device) -> Iterator[None]:
    """Wait for work on another stream of torch's than the default one, and let it wait for ours.

    Taichi launches on CUDA's legacy default stream, as torch does by default, and here always:
    work on another stream would race with it.
    """
    with lock:
        stream, default = torch.cuda.current_stream(device), torch.cuda.default_stream(device)
        if stream == default:
            yield
            return
        stream.synchronize()
        with torch.cuda.stream(default):
            yield
        ti.sync()
