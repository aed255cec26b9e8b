import math

import numpy as np
import pytest
import torch

from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.transforms import (
    check_finite,
    check_rotation,
    normalize,
    promote,
    rigid,
    rigid_inverse,
    rotation_from_axis_angle,
    rotation_looking_along,
    take_rows,
    transform_points,
)


def random_pose(generator: torch.Generator, count: int = 3) -> torch.Tensor:
    axis = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    angle = 180.0 * torch.rand(count, dtype=torch.float64, generator=generator)
    shift = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return rigid(rotation_from_axis_angle(axis, angle), shift)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_quarter_turn_about_y_takes_z_to_x():
    rotation = rotation_from_axis_angle((0.0, 5.0, 0.0), 90.0)
    moved = transform_points(rotation, torch.tensor([[0.0, 0.0, 1.0]]))
    torch.testing.assert_close(moved, torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-7, rtol=0)


def test_axis_angle_matches_the_matrix_exponential(generator):
    axis = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    unit = axis / axis.norm(dim=-1, keepdim=True)
    cross = torch.zeros(4, 3, 3, dtype=torch.float64)
    cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0] = unit.T
    cross = cross - cross.mT
    angles = torch.tensor([1.0, 90.0, 179.0, -30.0], dtype=torch.float64)
    expected = torch.linalg.matrix_exp(cross * torch.deg2rad(angles)[:, None, None])
    torch.testing.assert_close(rotation_from_axis_angle(axis, angles), expected)


def test_rigid_inverse_undoes_a_batch_of_three(generator):
    pose = random_pose(generator)
    identity = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    torch.testing.assert_close(rigid_inverse(pose) @ pose, identity)


def test_points_are_rotated_then_shifted(generator):
    pose = random_pose(generator)
    points = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    moved = transform_points(pose, points)
    for b in range(3):
        for v in range(5):
            expected = pose[b, :3, :3] @ points[v] + pose[b, :3, 3]
            torch.testing.assert_close(moved[b, v], expected)


def test_transform_points_refuses_other_matrices():
    with pytest.raises(ShapeError, match="matrix"):
        transform_points(torch.eye(2), torch.zeros(1, 3))


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1.0, 1e20, 1e37])
def test_normalize_works_at_any_float32_length(length):
    unit = normalize(torch.tensor([[3.0, 0.0, 4.0]]) * length)
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.0, 0.8]]))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_normalize_gives_zero_and_zero_gradient_where_there_is_no_direction(bad):
    vectors = torch.tensor([[bad, bad, bad], [1.0, 2.0, 2.0]], requires_grad=True)
    unit = normalize(vectors)
    unit.sum().backward()
    assert unit[0].tolist() == [0.0, 0.0, 0.0]
    assert vectors.grad[0].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(vectors.grad[1]).all()


def test_normalize_gradient_matches_finite_differences(generator):
    vectors = torch.randn(3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(normalize, vectors)


def test_looking_along_builds_a_right_handed_frame(generator):
    forward = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    rotation = rotation_looking_along(forward, up)
    check_rotation("rotation", rotation)
    torch.testing.assert_close(rotation[:, 2], forward / forward.norm(dim=-1, keepdim=True))
    assert (rotation[:, 1] @ up < 0).all()  # y points down


def test_promote_follows_tensors_and_defaults_to_float32():
    assert [t.dtype for t in promote(a=1, b=np.ones(2), c=[1, 2])] == [torch.float32] * 3
    wide = promote(a=1.0, b=torch.ones(2, dtype=torch.float64), c=torch.ones(2))
    assert [t.dtype for t in wide] == [torch.float64] * 3


def test_promote_keeps_the_graph_of_tensors_inside_a_sequence():
    x = torch.tensor(2.0, requires_grad=True)
    (vector,) = promote(at=(0.0, x, 1.0))
    vector.sum().backward()
    assert x.grad == 1.0


def test_promote_names_what_is_not_a_number():
    with pytest.raises(ArgumentError, match="`eye`"):
        promote(eye="here")
    with pytest.raises(ArgumentError, match="one device"):
        promote(a=torch.ones(1), b=torch.ones(1, device="meta"))


def test_check_finite_names_the_argument():
    with pytest.raises(ArgumentError, match="`eye` must be finite, got nan"):
        check_finite("eye", torch.tensor([0.0, math.nan]))


def test_check_rotation_says_what_the_matrix_was():
    check_rotation("R", torch.eye(3))
    with pytest.raises(ArgumentError, match=r"`R`.*determinant -1.*reflection"):
        check_rotation("R", torch.diag(torch.tensor([1.0, 1.0, -1.0])))
    with pytest.raises(ArgumentError, match=r"determinant 8.*scaled"):
        check_rotation("R", 2 * torch.eye(3))
    with pytest.raises(ArgumentError):
        check_rotation("R", torch.full((3, 3), math.nan))


@pytest.mark.parametrize("shape", [(5, 2), (3, 5, 2)], ids=["one", "batch"])
def test_rows_are_taken_with_the_gradient_of_gather(generator, shape):
    values = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    index = torch.tensor([4, 0, 4, 4, 2])
    rows = take_rows(values, index)
    assert torch.equal(rows, values[..., index, :])
    weights = torch.randn(rows.shape, dtype=torch.float64, generator=generator)
    gathered = values.gather(-2, index[:, None].expand(*shape[:-2], -1, 2))
    (wanted,) = torch.autograd.grad(gathered, values, weights)
    (got,) = torch.autograd.grad(rows, values, weights)
    assert torch.equal(got, wanted)
    assert torch.autograd.gradgradcheck(lambda v: take_rows(v, index).square(), values)


def test_rows_are_taken_in_maps_and_compiled_graphs():
    index = torch.tensor([1, 1, 0])
    values = torch.arange(12.0).reshape(3, 2, 2)

    def total(one):
        return (take_rows(one, index) * torch.tensor([[1.0], [2.0], [4.0]])).sum()

    mapped = torch.func.vmap(torch.func.grad(total))(values)
    assert torch.equal(mapped, torch.tensor([4.0, 3.0]).reshape(1, 2, 1).expand(3, 2, 2))
    compiled = torch.compile(total, backend="eager", fullgraph=True)
    one = values[0].clone().requires_grad_()
    (got,) = torch.autograd.grad(compiled(one), one)
    assert torch.equal(got, mapped[0])
