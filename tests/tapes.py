"""Scenes and losses for the tests of the tape."""

import numpy as np
import taichi as ti

import taichi_softras as tsr

TETRAHEDRON = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.7
FACES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
SOFT = tsr.RasterSettings(sigma=1e-2, gamma=1e-1, near=1.0, far=6.0)
SIZE = (9, 17)  # not square, and not whole tiles


def numpy_dtype(field):
    return np.float64 if field.dtype == ti.f64 else np.float32


def assign(field, values):
    """Fill a field from numbers of any dtype."""
    field.from_numpy(np.asarray(values).astype(numpy_dtype(field)))


def tetrahedron(seed=0, sets=()):
    """Vertices of a bent tetrahedron, or several."""
    rng = np.random.default_rng(seed)
    return TETRAHEDRON + rng.normal(size=(*sets, 4, 3)) * 0.1


def renderer(*, seed=0, views=2, dtype="float64", settings=SOFT, **options):
    """A tetrahedron of random colours, seen from `views` sides."""
    made = tsr.tape.Renderer(
        n_vertices=4, faces=FACES, size=SIZE, views=views, settings=settings,
        dtype=dtype, **options,
    )  # fmt: skip
    if "vertices" not in options:
        assign(made.vertices, tetrahedron(seed))
    if made.colors is not None and "colors" not in options:
        assign(made.colors, np.random.default_rng(seed).uniform(size=(4, made.colors.n)))
    eyes = [(1.0, 0.5, 2.5), (-1.0, 0.8, 2.0), (0.3, -0.7, 2.2)]
    for view in range(views):
        made.camera.look_at(view, eyes[view], at=(0.1 * view, 0.0, 0.0), fov=60.0 + 7.0 * view)
    return made


class WeightedSum:
    """A loss: fixed random weights times everything that a renderer drew."""

    def __init__(self, drawn, seed=1):
        self.value = ti.field(drawn.alpha.dtype, shape=(), needs_grad=True)
        rng = np.random.default_rng(seed)
        shape = tuple(drawn.alpha.shape)
        self.on_alpha = ti.field(drawn.alpha.dtype, shape)
        assign(self.on_alpha, rng.normal(size=shape))
        self.on_depth = ti.field(drawn.alpha.dtype, shape)
        assign(self.on_depth, rng.normal(size=shape))
        self.on_image = None
        if drawn.image is not None:
            self.on_image = ti.Vector.field(drawn.image.n, drawn.alpha.dtype, shape)
            assign(self.on_image, rng.normal(size=(*shape, drawn.image.n)))

    def add(self, drawn, factor=1.0):
        """Add to the loss; several renders may."""
        _add_alpha(self.value, self.on_alpha, drawn.alpha, factor)
        if self.on_image is not None:
            _add_image(self.value, self.on_image, drawn.image, factor)
            _add_alpha(self.value, self.on_depth, drawn.depth, factor)


@ti.kernel
def _add_alpha(value: ti.template(), weights: ti.template(), drawn: ti.template(), factor: ti.f64):
    for i in ti.grouped(drawn):
        value[None] += ti.cast(factor, drawn.dtype) * weights[i] * drawn[i]


@ti.kernel
def _add_image(value: ti.template(), weights: ti.template(), drawn: ti.template(), factor: ti.f64):
    for i in ti.grouped(drawn):
        value[None] += ti.cast(factor, value.dtype) * weights[i].dot(drawn[i])


def parameters(drawn):
    """Every field of a renderer that receives a gradient, by name."""
    found = {"vertices": drawn.vertices, "sigma": drawn.sigma, "gamma": drawn.gamma}
    if drawn.colors is not None:
        found["colors"] = drawn.colors
    for name in ("eye", "at", "up", "fov"):
        found[name] = getattr(drawn.camera, name)
    if drawn.light is not None:
        for name in vars(drawn.light):
            found[name] = getattr(drawn.light, name)
    return found


STEP = {"sigma": 1e-8, "gamma": 1e-7, "fov": 1e-5}


def central_differences(evaluate, field, step):
    """dL/d(field) by moving each number both ways."""
    start = field.to_numpy()
    found = np.zeros(start.size)
    for i in range(start.size):
        values = []
        for sign in (1.0, -1.0):
            moved = start.copy()
            moved.reshape(-1)[i] += sign * step
            field.from_numpy(moved)
            values.append(evaluate())
        found[i] = (values[0] - values[1]) / (2.0 * step)
    field.from_numpy(start)
    return found.reshape(start.shape)


def assert_gradients_match(run, value, fields, tolerance=1e-5):
    """Hold the gradients that a tape round `run` finds to central differences."""
    with ti.ad.Tape(value):
        run()
    gradients = {name: field.grad.to_numpy() for name, field in fields.items()}

    def evaluate():
        value[None] = 0.0
        run()
        return value[None]

    for name, field in fields.items():
        expected = central_differences(evaluate, field, STEP.get(name, 1e-6))
        scale = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(
            gradients[name], expected, rtol=0, atol=tolerance * scale, err_msg=name
        )
