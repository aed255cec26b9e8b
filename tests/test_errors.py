import pytest

from taichi_softras import errors


@pytest.mark.parametrize(
    ("shape", "pattern", "sizes"),
    [
        ((2, 5, 3, 3), "B F 3 3", {"B": 2, "F": 5}),
        ((4, 4), "N N", {"N": 4}),
        ((), "", {}),
        ((0, 3), "V 3", {"V": 0}),
    ],
)
def test_a_shape_that_fits_names_its_axes(shape, pattern, sizes):
    assert errors.check_shape("x", shape, pattern) == sizes


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [((2, 5, 4, 3), "B F 3 3"), ((2, 5, 3), "B F 3 3"), ((4, 5), "N N"), ((1,), ""), ((), "N")],
)
def test_a_shape_that_does_not_fit_is_named_wanted_and_given(shape, pattern):
    with pytest.raises(errors.ShapeError) as caught:
        errors.check_shape("points", shape, pattern)
    wanted = ", ".join(pattern.split())
    assert str(caught.value) == f"`points` must have shape [{wanted}], got {list(shape)}."


def test_a_choice_lists_what_there_is():
    errors.check_choice("side", "left", ("left", "right"))
    with pytest.raises(
        errors.ArgumentError, match="`side` must be one of 'left', 'right', got 'up'"
    ):
        errors.check_choice("side", "up", ("left", "right"))


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.ArgumentError, ValueError),
        (errors.BackendError, RuntimeError),
        (errors.DerivativeError, RuntimeError),
        (errors.FileError, OSError),
    ],
)
def test_errors_are_caught_as_ours_and_as_python_s(error, builtin):
    assert issubclass(error, errors.SoftRasError)
    assert issubclass(error, builtin)
