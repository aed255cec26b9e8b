"""Wrong arguments of `rasterize` and of the reference: the same sentence from both."""

import math

import pytest
import torch

import taichi_softras as tsr
from taichi_softras import ArgumentError, BackendError, RasterSettings, ShapeError

RASTERIZERS = [tsr.rasterize, tsr.reference.rasterize]
IDS = ["kernels", "reference"]

CORNERS = torch.zeros(2, 5, 3, 3)
COLORS = torch.zeros(2, 5, 3, 4)


def refused(error, wanted, corners=CORNERS, colors=COLORS, size=8, **arguments):
    for rasterizer in RASTERIZERS:
        with pytest.raises(error, match=wanted):
            rasterizer(corners, colors, size=size, **arguments)


@pytest.mark.parametrize(
    "shape", [(5, 3, 3), (2, 5, 4, 3), (2, 5, 3, 2), (3,), (), (1, 2, 5, 3, 3)]
)
def test_corners_of_a_wrong_shape(shape):
    given = str(list(shape)).replace("[", r"\[").replace("]", r"\]")
    refused(
        ShapeError,
        rf"`corners_ndc` must have shape \[B, F, 3, 3\], got {given}",
        corners=torch.zeros(shape),
    )


def test_no_views():
    refused(ShapeError, "at least one view, got a batch of 0", corners=torch.zeros(0, 5, 3, 3))
    refused(
        ShapeError,
        "at least one view",
        corners=torch.zeros(0, 3, 3),
        colors=torch.zeros(0, 3, 4),
        face_counts=[],
    )


@pytest.mark.parametrize(
    "shape", [(2, 4, 3, 4), (3, 5, 3, 4), (2, 5, 4, 4), (6, 3, 4), (5, 2, 4), (2, 5, 3), (5,), ()]
)
def test_attributes_that_do_not_fit_the_corners(shape):
    given = str(list(shape)).replace("[", r"\[").replace("]", r"\]")
    refused(ShapeError, f"`corner_attributes` must have .*got {given}", colors=torch.zeros(shape))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)
def test_corners_of_a_dtype_that_cannot_be_rendered(dtype):
    refused(
        ArgumentError,
        f"`corners_ndc` must be a float32 or float64 tensor, got {dtype}",
        corners=CORNERS.to(dtype),
    )


@pytest.mark.parametrize(
    "corners", [CORNERS.numpy(), [[0.0]], None], ids=["ndarray", "list", "None"]
)
def test_corners_that_are_no_tensor(corners):
    name = type(corners).__name__
    refused(ArgumentError, f"`corners_ndc` must be .* tensor, got {name}", corners=corners)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int32])
def test_attributes_of_a_dtype_that_cannot_be_rendered(dtype):
    refused(ArgumentError, f"`corner_attributes` must be .*got {dtype}", colors=COLORS.to(dtype))


def test_attributes_of_another_precision():
    refused(
        ArgumentError,
        r"`corner_attributes` must have the dtype.*torch\.float32 on cpu.*got torch\.float64",
        colors=COLORS.double(),
    )


def test_attributes_on_another_device():
    refused(
        ArgumentError,
        "`corner_attributes` must have the .*device.* on meta",
        colors=COLORS.to("meta"),
    )


def test_corners_where_taichi_does_not_run():
    with pytest.raises(BackendError, match="`corners_ndc` is on meta"):
        tsr.rasterize(CORNERS.to("meta"), None, size=8)


@pytest.mark.parametrize("size", [0, -3, 2.5, (8, 0), (8, 8, 8), (8.0, 8), "8", None, ()])
def test_a_size_that_is_no_image(size):
    refused(ArgumentError, "`size` must be positive pixels, .*got", size=size)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_background_that_is_not_finite(value):
    refused(ArgumentError, "`background` must be finite", background=value)
    refused(ArgumentError, "`background` must be finite", background=[0.0, 0.0, value, 0.0])
    image = torch.zeros(2, 8, 8, 4)
    image[1, 2, 3, 0] = value
    refused(ArgumentError, "`background` must be finite", background=image)


def test_a_background_with_other_channels():
    refused(ShapeError, "`background` must have 4 channels.*got 3", background=[0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "shape", [(8, 8), (3, 8, 8, 4), (2, 8, 8, 3), (2, 4, 8, 8), (7, 8, 4), (2, 8, 9, 4)]
)
def test_a_background_image_that_does_not_fit(shape):
    given = str(list(shape)).replace("[", r"\[").replace("]", r"\]")
    refused(
        ShapeError,
        rf"`background` must be a number, \[C\] or \[B, H, W, C\] = \[2, 8, 8, 4\], got {given}",
        background=torch.zeros(shape),
    )


@pytest.mark.parametrize("counts", [[4, 5], [11], [-1, 11], [0, 0]])
def test_face_counts_that_do_not_add_up(counts):
    refused(
        ShapeError,
        "`face_counts` must be non-negative and sum to the 10 faces",
        corners=torch.zeros(10, 3, 3),
        colors=torch.zeros(10, 3, 4),
        face_counts=counts,
    )


def test_face_counts_want_packed_corners_and_attributes():
    refused(ShapeError, r"`corners_ndc` must have shape \[N, 3, 3\]", face_counts=[5, 5])
    refused(
        ShapeError,
        "`corner_attributes` must have shape",
        corners=torch.zeros(10, 3, 3),
        face_counts=[5, 5],
    )


def test_arguments_that_are_fine():
    settings = RasterSettings(sigma=1e-2)
    corners = torch.rand(2, 5, 3, 3) + 1.0
    for rasterizer in RASTERIZERS:
        for colors, background in (
            (torch.rand(2, 5, 3, 4), 0.5),
            (torch.rand(5, 3, 4), [0.1, 0.2, 0.3, 0.4]),
            (torch.rand(1, 5, 3, 4), torch.rand(4)),
            (torch.rand(2, 5, 3, 4), torch.rand(6, 7, 4)),
            (torch.rand(2, 5, 3, 4), torch.rand(1, 6, 7, 4)),
            (torch.rand(2, 5, 3, 4), torch.rand(2, 6, 7, 4, dtype=torch.float64)),
            (torch.rand(2, 5, 3, 1), torch.tensor([1.0])),
            (torch.rand(2, 5, 3, 4), 1),
        ):
            out = rasterizer(corners, colors, size=(6, 7), settings=settings, background=background)
            assert out.image.shape == (2, 6, 7, colors.shape[-1])
            assert out.alpha.shape == out.depth.shape == (2, 6, 7)


def test_an_image_is_as_precise_as_its_corners():
    for dtype in (torch.float32, torch.float64):
        corners = CORNERS.to(dtype) + torch.rand(3, 3).to(dtype) + 1.0
        out = tsr.rasterize(corners, COLORS.to(dtype), size=4)
        assert out.image.dtype == out.alpha.dtype == out.depth.dtype == dtype
        assert (
            tsr.reference.rasterize(corners, COLORS.to(dtype), size=4).image.dtype == torch.float64
        )
