"""The private way of launching kernels does what the public one does."""

from functools import wraps

import pytest
import taichi as ti
import torch

from taichi_softras import fast_launch, runtime
from taichi_softras.fast_launch import Launch, launch
from taichi_softras.kernels.types import array

pytestmark = pytest.mark.xdist_group("float32")


@pytest.fixture
def scaled(arch):
    """Return a kernel out = x * factor + n, and how often it was called publicly."""
    assert arch == runtime.init()

    @ti.kernel
    def scale(x: array(ti.f32, 2), factor: ti.f32, n: ti.i32, out: array(ti.f32, 2)):
        for i, j in ti.ndrange(x.shape[0], x.shape[1]):
            out[i, j] = x[i, j] * factor + n

    calls = []

    @wraps(scale)
    def counted(*arguments):
        calls.append(arguments)
        scale(*arguments)

    counted._primal = scale._primal
    return counted, calls


def run(kernel, x, factor=0.5, n=3, out=None):
    out = torch.full(x.shape, torch.nan) if out is None else out
    with runtime.launch_lock:
        launch(kernel, x, factor, n, out)
    torch.testing.assert_close(out, x * factor + n, rtol=0.0, atol=0.0)
    return out


def test_the_first_launch_is_public_and_later_ones_give_the_same(scaled):
    kernel, calls = scaled
    for size in ((3, 4), (1, 1), (70, 9)):
        run(kernel, torch.arange(size[0] * size[1], dtype=torch.float32).reshape(size))
    assert len(calls) == 1


def test_numbers_may_change_between_launches(scaled):
    kernel, calls = scaled
    for n in range(3):
        run(kernel, torch.ones(2, 2), factor=0.25 * n, n=-n)
    assert len(calls) == 1


def test_what_is_not_exactly_as_annotated_goes_the_public_way(scaled):
    kernel, calls = scaled
    run(kernel, torch.ones(2, 2))
    numbers = torch.ones(2, 2).numpy()
    out = numbers * 0
    with runtime.launch_lock:
        launch(kernel, numbers, 2.0, 1, out)
    assert (out == 3.0).all()
    assert len(calls) == 2
    with runtime.launch_lock, pytest.raises(ValueError, match="contiguous"):
        launch(kernel, torch.ones(4, 4).T[:3], 1.0, 1, torch.ones(3, 4))
    with runtime.launch_lock, pytest.raises(ti.TaichiRuntimeTypeError):
        launch(kernel, torch.ones(2, 2), 1.0, 1.5, torch.ones(2, 2))


def test_tensors_that_stay_are_read_anew_and_may_give_way_to_others(scaled):
    kernel, calls = scaled
    x, out = torch.ones(2, 2), torch.zeros(2, 2)
    for n in range(4):
        run(kernel, x.mul_(2.0), n=n, out=out)
    for size in ((2, 2), (5, 1)):
        run(kernel, torch.rand(size), out=torch.zeros(size))
        run(kernel, torch.rand(size))
    run(kernel, x, out=out)
    assert len(calls) == 1
    with runtime.launch_lock, pytest.raises(ti.TaichiRuntimeTypeError):
        launch(kernel, None, 1.0, 1, out)


def test_tensors_with_more_axes_or_gradients_are_taken_as_plain_rows(scaled):
    kernel, calls = scaled
    x = torch.rand(2, 3, 4, requires_grad=True)
    for _ in range(2):
        out = torch.full((2, 3, 4), torch.nan)
        with runtime.launch_lock:
            launch(kernel, x, 2.0, 1, out)
        assert torch.equal(out, x.detach() * 2.0 + 1)
    assert x.grad is None
    assert len(calls) == 1
    assert calls[0][0].shape == (6, 4)


@pytest.mark.parametrize("known", [True, False])
def test_a_launch_keeps_arguments_until_others_are_given(scaled, monkeypatch, arch, known):
    kernel, calls = scaled
    if not known:
        monkeypatch.setattr(fast_launch, "KNOWN_VERSIONS", ())
    x, out = torch.ones(2, 2), torch.zeros(2, 2)
    prepared = Launch(kernel, x=x, n=1)

    def launched(**given):
        with runtime.launch_lock:
            prepared(**given)
        return given.get("out", out)

    assert (launched(factor=2.0, out=out) == 3.0).all()
    x.fill_(5.0)
    assert (launched(factor=2.0, out=out) == 11.0).all()
    prepared.keep(n=3, out=out)
    assert (launched(factor=0.5) == 5.5).all()
    other = torch.zeros(3, 3)
    assert (launched(factor=1.0, x=torch.ones(3, 3), out=other) == 4.0).all()
    prepared.keep(x=torch.full((2, 2), 7.0))
    assert (launched(factor=1.0, out=out) == 10.0).all()
    assert len(calls) == (1 if known and arch == "cpu" else 5)


def test_a_launch_keeps_arrays_of_taichi(scaled, arch):
    kernel, calls = scaled
    x, out = ti.ndarray(ti.f32, (2, 3)), ti.ndarray(ti.f32, (2, 3))
    prepared = Launch(kernel, x=x, out=out, factor=0.5)
    for n in range(3):
        x.fill(4.0 * n)
        with runtime.launch_lock:
            prepared(n=n)
        assert (out.to_numpy() == 3.0 * n).all()
    assert len(calls) == (1 if arch == "cpu" else 3)


@pytest.mark.parametrize("known", [True, False])
def test_what_a_kernel_has_no_use_for_need_not_be_given(arch, monkeypatch, known):
    assert arch == runtime.init()
    if not known:
        monkeypatch.setattr(fast_launch, "KNOWN_VERSIONS", ())

    @ti.kernel
    def count(unread: array(ti.f32, 2, used=False), n: ti.i32, out: array(ti.i32, 1, used=True)):
        for _ in range(1):
            out[0] = n

    prepared = Launch(count, n=5)
    assert set(prepared.parameters) == {"n", "out"}
    for n in (1, 2):
        out = torch.zeros(1, dtype=torch.int32)
        with runtime.launch_lock:
            prepared(n=n, out=out)
        assert out.item() == n


def test_an_unknown_taichi_is_called_publicly(scaled, monkeypatch):
    monkeypatch.setattr(fast_launch, "KNOWN_VERSIONS", ())
    kernel, calls = scaled
    for _ in range(3):
        run(kernel, torch.ones(2, 2))
    assert len(calls) == 3


def test_arrays_of_taichi_are_taken_too(scaled):
    kernel, calls = scaled
    x, out = ti.ndarray(ti.f32, (2, 3)), ti.ndarray(ti.f32, (2, 3))
    x.fill(4.0)
    for _ in range(2):
        with runtime.launch_lock:
            launch(kernel, x, 0.5, 1, out)
        assert (out.to_numpy() == 3.0).all()
        out.fill(0.0)
    assert len(calls) == 1


def test_tapes_hear_of_every_launch(scaled):
    kernel, calls = scaled
    run(kernel, torch.ones(2, 2))
    loss = ti.field(ti.f32, (), needs_grad=True)
    with ti.ad.Tape(loss):
        run(kernel, torch.ones(2, 2))
    assert len(calls) == 2
