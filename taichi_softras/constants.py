"""Small tensors that are the same in every call, made once."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

MOST_KEPT = 64
"""Tensors that are kept of each kind."""


def _keep(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Remember what a function of hashable arguments made, but in graphs that are compiled."""
    kept: dict[tuple[Any, ...], Tensor] = {}

    def keep(*arguments: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*arguments)
        found = kept.get(arguments)
        if found is None:
            # Tensors of inference mode could not take part in training later.
            with torch.inference_mode(False):
                found = make(*arguments)
            if len(kept) >= MOST_KEPT:
                kept.clear()
            if type(found) is Tensor:  # not one that stands for others while somebody traces
                kept[arguments] = found
        return found

    return keep


def zeros(*shape: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return zeros that nobody may write, of the dtype and on the device of another tensor."""
    return _zeros(shape, dtype or like.dtype, like.device)


def view_rows(counts: list[int], shared: bool, device: torch.device) -> Tensor:
    """Return each view's first face, first attribute record, and number of faces.

    Args:
        counts: Faces of each view; they come one view after the other.
        shared: Whether all views have the same attribute records, instead of one for each face.
        device: Where the tensor will be.

    Returns:
        A tensor that nobody may write. [B, 3] int32
    """
    return _view_rows(tuple(counts), shared, device)


@_keep
def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


@_keep
def _view_rows(counts: tuple[int, ...], shared: bool, device: torch.device) -> Tensor:
    first = accumulate(counts, initial=0)
    rows = [[n, 0 if shared else n, count] for n, count in zip(first, counts, strict=False)]
    return torch.tensor(rows, dtype=torch.int32, device=device)
