"""Torch's tensors as memory of the kernels: in place where Taichi runs on their device."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import taichi as ti
import torch
from torch import Tensor

from taichi_softras import runtime
from taichi_softras.constants import zeros
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


LARGEST_LENT = 2**20
"""Bytes of the largest tensor that is kept for later renderings: a larger one costs little beside
what is done with it."""

MOST_KEPT = 4
"""Renderings of a kind that leave their working tensors to later ones."""

_left: defaultdict[tuple[Any, ...], list[list[Tensor | None]]] = defaultdict(list)
"""Working tensors of renderings that are done, by kind."""


class TorchMemory:
    """Tensors on the device where Taichi runs: kernels take them as they are, without a copy.

    Working tensors are lent again when this object is gone, to the next rendering of its kind, in
    the order in which they were asked for: in a loop each is the one of the last time, which saves
    making it and looking at it at every launch (`fast_launch`). Kernels run in order, so that
    nobody writes what is still read.
    """

    def __init__(self, like: Tensor, kind: str) -> None:
        self._like = like
        self._home = _left[kind, like.dtype, like.device]
        self._tensors: list[Tensor | None] = []
        self._asked = 0
        # Another thread may be faster.
        with suppress(IndexError):
            self._tensors = self._home.pop()

    def __del__(self) -> None:
        """Leave the working tensors to others."""
        if len(self._home) < MOST_KEPT:
            self._home.append(self._tensors)

    def reals(self, *shape: int) -> Tensor:
        """Return an uninitialised working tensor of the rendering's dtype."""
        return self._lend(shape, self._like.dtype)

    def integers(self, *shape: int) -> Tensor:
        """Return an uninitialised int32 working tensor."""
        return self._lend(shape, torch.int32)

    def zeros(self, n: int) -> Tensor:
        """Return n int32 zeros to work with."""
        return self.integers(n).zero_()

    def results(self, *shape: int) -> Tensor:
        """Return an uninitialised tensor of reals for whoever asked for the rendering."""
        return self._make(_filled(shape), self._like.dtype)

    def _lend(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        place, shape = self._asked, _filled(shape)
        self._asked += 1
        if place == len(self._tensors):
            self._tensors.append(None)
        found = self._tensors[place]
        if found is not None and found.shape == shape and found.dtype == dtype:
            return found
        # Tensors of inference mode could not be written later.
        with torch.inference_mode(False):
            made = self._make(shape, dtype)
        self._tensors[place] = made if made.nbytes <= LARGEST_LENT else None
        return made

    def _make(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self._like.device)

    def nothing(self, ndim: int, *, integers: bool = False) -> Tensor:
        """Return a tensor that kernels take and do not touch, the same one each time."""
        return zeros(*[1] * ndim, like=self._like, dtype=torch.int32 if integers else None)

    def scratch(self) -> "TorchMemory":
        """Return memory for part of the work, which is lent again once that is gone."""
        return TorchMemory(self._like, "part")

    def read_integer(self, array: Tensor, index: int) -> int:
        """Return one number of an int32 tensor, once everything that writes it has run."""
        return int(array.item() if array.numel() == 1 else array[index])

    def upload(self, tensor: Tensor) -> Tensor:
        """Return the tensor itself; empty ones are replaced by one that kernels may be given."""
        return tensor if tensor.numel() else zeros(*[1] * tensor.ndim, like=tensor)

    def tensor(self, array: Tensor, *shape: int) -> Tensor:
        """Return the array as a tensor of this shape: itself, unless that is empty."""
        return array if 0 not in shape else array.new_empty(shape)


def _filled(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if 0 not in shape else tuple(max(n, 1) for n in shape)


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


def memory_for(like: Tensor, kind: str) -> TorchMemory | CopiedMemory:
    """Return memory for a pass over tensors like this one; passes of a kind work alike."""
    if like.device.type == runtime.backend():
        return TorchMemory(like, kind)
    return CopiedMemory(like)


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
