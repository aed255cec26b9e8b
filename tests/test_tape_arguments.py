"""Mistakes with a tape's renderer and optimisers are answered with a sentence."""

import numpy as np
import pytest
import taichi as ti
from tapes import FACES

import taichi_softras as tsr

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape")]

NO_COLOR = tsr.RasterSettings(color="none")


def vectors(n=3, shape=4, dtype=ti.f32):
    return ti.Vector.field(n, dtype, shape=shape, needs_grad=dtype != ti.i32)


# Made inside the test, once Taichi runs: options, and what the error says.
MISTAKES = {
    "no count": (lambda: {}, "`n_vertices` must be given where `vertices` is not"),
    "count": (lambda: {"n_vertices": 0}, "`n_vertices` must be a positive integer, got 0"),
    "views": (lambda: {"n_vertices": 4, "views": 1.5}, "`views` must be a positive integer"),
    "size": (lambda: {"n_vertices": 4, "size": (8, 0)}, r"`size\[1\]` must be a positive integer"),
    "faces": (lambda: {"n_vertices": 3}, "`faces` must name vertices 0 to 2, got 0 to 3"),
    "no faces": (
        lambda: {"n_vertices": 4, "faces": np.zeros((0, 3), int)},
        "`faces` must hold at least one face",
    ),
    "float faces": (
        lambda: {"n_vertices": 4, "faces": np.zeros((1, 3))},
        "`faces` must be integers, got float64",
    ),
    "quads": (
        lambda: {"n_vertices": 4, "faces": np.zeros((1, 4), int)},
        r"`faces` must have shape \[F, 3\], got \[1, 4\]",
    ),
    "channels": (lambda: {"n_vertices": 4, "channels": 9}, "`channels` must be 1 to 8, got 9"),
    "light": (
        lambda: {"n_vertices": 4, "channels": 2, "lit": True},
        "`lit` needs 3 or 4 channels of colour, got 2",
    ),
    "light on nothing": (
        lambda: {"n_vertices": 4, "lit": True, "settings": NO_COLOR},
        "`lit` cannot be given with color='none'",
    ),
    "background": (
        lambda: {"n_vertices": 4, "background": (0.0, 1.0)},
        r"`background` must be a number or have shape \[3\], got \[2\]",
    ),
    "nan background": (
        lambda: {"n_vertices": 4, "background": float("nan")},
        "`background` must be finite",
    ),
    "dtype": (lambda: {"n_vertices": 4, "dtype": "float16"}, "`dtype` must be one of 'float32'"),
    "array": (
        lambda: {"vertices": np.zeros((4, 3), np.float32)},
        r"`vertices` must be a ti.Vector.field\(3, .*, got ndarray; copy it into one",
    ),
    "scalar field": (
        lambda: {"vertices": ti.field(ti.f32, (4, 3))},
        "`vertices` must be .*, got a scalar field",
    ),
    "matrices": (
        lambda: {"vertices": ti.Matrix.field(3, 1, ti.f32, 4)},
        "`vertices` must be .*, got a matrix field of 3 x 1",
    ),
    "integers": (lambda: {"vertices": vectors(dtype=ti.i32)}, "`vertices` must be .* dtype i32"),
    "plane": (lambda: {"vertices": vectors(2)}, "`vertices` must be .*, got vectors of 2"),
    "axes": (
        lambda: {"vertices": vectors(shape=(1, 1, 4))},
        r"`vertices` must .*shape \(1, 1, 4\)",
    ),
    "sets": (
        lambda: {"vertices": vectors(shape=(3, 4)), "views": 2},
        r"`vertices` must have shape \(4,\) or \(2, 4\): .*; got \(3, 4\)",
    ),
    "two counts": (
        lambda: {"vertices": vectors(), "n_vertices": 5},
        r"`n_vertices` must be that of `vertices` \(4,\), got 5",
    ),
    "colours": (
        lambda: {"vertices": vectors(), "colors": vectors(shape=5)},
        r"`colors` must have shape \(4,\) or \(1, 4\)",
    ),
    "dtypes": (
        lambda: {"vertices": vectors(), "colors": vectors(dtype=ti.f64)},
        "Fields must have one dtype, got `vertices` f32, `colors` f64",
    ),
    "unwanted colours": (
        lambda: {"vertices": vectors(), "colors": vectors(), "settings": NO_COLOR},
        "`colors` cannot be given with color='none'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_sentence(mistake):
    make, message = MISTAKES[mistake]
    options = {"faces": FACES, "size": 8, **make()}
    with pytest.raises(tsr.SoftRasError, match=message):
        tsr.tape.Renderer(**options)


def test_taichi_goes_on_after_a_mistake():
    with pytest.raises(tsr.ArgumentError):
        tsr.tape.Renderer(faces=FACES, n_vertices=3)
    field = ti.field(ti.f32, 3)
    field.fill(2.0)
    assert field[1] == 2.0


def test_unplaced_fields_get_a_sentence():
    field = ti.Vector.field(3, ti.f32, needs_grad=True)
    try:
        with pytest.raises(tsr.ArgumentError, match="a field that is not placed yet"):
            tsr.tape.Renderer(faces=FACES, vertices=field)
    finally:
        ti.root.dense(ti.i, 4).place(field, field.grad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tsr.tape.Adam(vectors()), "must be a sequence of fields, got one field"),
        (lambda: tsr.tape.Adam([np.zeros(3)]), r"`fields\[0\]` must be a field, got ndarray"),
        (lambda: tsr.tape.SGD([ti.field(ti.f32, 2)], lr=0.1), "with needs_grad=True"),
        (lambda: tsr.tape.SGD([vectors()], lr=0.0), "`lr` must be positive, got 0.0"),
        (lambda: tsr.tape.SGD([vectors()], lr=1.0, momentum=1.0), "`momentum` must lie in"),
        (lambda: tsr.tape.Adam([vectors()], betas=(0.9, 1.0)), "`betas` must lie in"),
    ],
)
def test_mistakes_with_optimisers(make, message):
    with pytest.raises(tsr.ArgumentError, match=message):
        make()
