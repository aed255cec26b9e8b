"""Torch's tensors as memory of the kernels: in place where Taichi runs on their device."""

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

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

    def __init__(self, like: Tensor) -> None:
        self._like = like

    def reals(self, *shape: int) -> Tensor:
        """Return an uninitialised tensor of the rendering's dtype."""
        return self._like.new_empty(shape if 0 not in shape else _filled(shape))

    def integers(self, *shape: int) -> Tensor:
        """Return an uninitialised int32 tensor."""
        shape = shape if 0 not in shape else _filled(shape)
        return torch.empty(shape, dtype=torch.int32, device=self._like.device)

    def zeros(self, n: int) -> Tensor:
        """Return n int32 zeros."""
        return torch.zeros(n, dtype=torch.int32, device=self._like.device)

    def nothing(self, ndim: int, *, integers: bool = False) -> Tensor:
        """Return a tensor that kernels take and do not touch, the same one each time."""
        return _nothing(ndim, torch.int32 if integers else self._like.dtype, self._like.device)

    def scratch(self) -> "TorchMemory":
        """Return memory for part of the work: torch takes tensors back when they are not used."""
        return self

    def read_integer(self, array: Tensor, index: int) -> int:
        """Return one number of an int32 tensor, once everything that writes it has run."""
        return int(array[index])

    def upload(self, tensor: Tensor) -> Tensor:
        """Return the tensor itself; empty ones are replaced by one that kernels may be given."""
        return tensor if tensor.numel() else tensor.new_zeros([1] * tensor.ndim)

    def tensor(self, array: Tensor, *shape: int) -> Tensor:
        """Return the array as a tensor of this shape: itself, unless that is empty."""
        return array if 0 not in shape else array.new_empty(shape)


def _filled(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(n, 1) for n in shape)


@cache
def _nothing(ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros([1] * ndim, dtype=dtype, device=device)


class CopiedMemory(DeviceMemory):
    """Taichi's own arrays, for tensors that its backend cannot reach."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(runtime.taichi_dtype(dtype_name(like.dtype)))
        self._like = like

    def tensor(self, array: Any, *shape: int) -> Tensor:
        """Copy an array's elements to a new tensor."""
        dtype = torch.int32 if array.dtype == ti.i32 else self._like.dtype
        target: Tensor = self.download(array, self._like.new_empty(shape, dtype=dtype))
        return target


def memory_for(like: Tensor) -> TorchMemory | CopiedMemory:
    """Return memory for a rendering of tensors like this one."""
    if like.device.type == runtime.backend():
        return TorchMemory(like)
    return CopiedMemory(like)


def dtype_name(dtype: torch.dtype) -> str:
    """Name a dtype as `runtime.taichi_dtype` does."""
    return str(dtype).removeprefix("torch.")


@contextlib.contextmanager
def launching(device: torch.device) -> Iterator[None]:
    """Hold the launch lock, and order Taichi's work with torch's.

    Taichi launches on CUDA's legacy default stream, as torch does by default. Work on another
    stream of torch's would race with it, so both are waited for.
    """
    with runtime.launching():
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        aside = stream is not None and stream != torch.cuda.default_stream(device)
        if stream is not None and aside:
            stream.synchronize()
        yield
        if aside:
            ti.sync()
