"""Small tensors are made once, and are fit for whatever comes later."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from taichi_softras import constants


def test_the_same_zeros_come_again():
    like = torch.ones(2, dtype=torch.float64)
    first = constants.zeros(1, 3, like=like)
    assert first is constants.zeros(1, 3, like=like)
    assert first.dtype == torch.float64
    assert first.shape == (1, 3)
    assert not first.any()
    assert constants.zeros(1, 3, like=like.float()) is not first
    assert constants.zeros(4, like=like, dtype=torch.int32).dtype == torch.int32


def test_views_follow_each_other():
    shared = constants.view_rows([3, 0, 2], True, torch.device("cpu"))
    assert shared.tolist() == [[0, 0, 3], [3, 0, 0], [3, 0, 2]]
    apart = constants.view_rows([3, 0, 2], False, torch.device("cpu"))
    assert apart.tolist() == [[0, 0, 3], [3, 3, 0], [3, 3, 2]]
    assert apart.dtype == torch.int32


def test_what_inference_makes_can_be_trained_with():
    with torch.inference_mode():
        made = constants.zeros(7, 5, like=torch.ones(1))
    assert not made.is_inference()
    weight = torch.ones(7, 5, requires_grad=True)
    (weight * made).sum().backward()  # saves `made`


def test_only_so_many_are_kept():
    like = torch.ones(1)
    first = constants.zeros(2, 1, like=like)
    for n in range(constants.MOST_KEPT + 1):
        constants.zeros(n + 100, like=like)
    assert constants.zeros(2, 1, like=like) is not first


def test_nothing_is_kept_of_what_stands_for_other_tensors():
    like = torch.ones(1)
    with FakeTensorMode():
        constants.zeros(11, 13, like=like)
    assert type(constants.zeros(11, 13, like=like)) is torch.Tensor
