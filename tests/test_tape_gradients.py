"""Gradients of renders on a tape, against finite differences in float64, on every backend."""

import numpy as np
import pytest
import taichi as ti
from tapes import (
    SOFT,
    WeightedSum,
    assert_gradients_match,
    assign,
    parameters,
    renderer,
    tetrahedron,
)

import taichi_softras as tsr

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape")]


def check(drawn):
    loss = WeightedSum(drawn)

    def run():
        drawn.render()
        loss.add(drawn)

    assert_gradients_match(run, loss.value, parameters(drawn))


def test_gradients_reach_every_field_of_a_lit_renderer():
    drawn = renderer(lit=True, background=(0.1, 0.2, 0.3))
    drawn.light.set(0.4, (0.9, 1.0, 0.8), 0.7, (1.0, 0.6, 0.9), (0.2, 1.5, 0.7))
    check(drawn)


def test_gradients_without_light_with_two_channels():
    check(renderer(channels=2, views=3))


def test_gradients_of_silhouettes_alone():
    settings = tsr.RasterSettings(sigma=1e-2, color="none", near=1.0, far=6.0)
    check(renderer(settings=settings, views=1))


@pytest.mark.parametrize("sets", ["vertices", "colors"])
def test_gradients_where_each_view_has_its_own(sets):
    fields = {}
    if sets == "vertices":
        fields["vertices"] = ti.Vector.field(3, ti.f64, shape=(2, 4), needs_grad=True)
        assign(fields["vertices"], tetrahedron(3, sets=(2,)))
    else:
        fields["colors"] = ti.Vector.field(4, ti.f64, shape=(2, 4), needs_grad=True)
        assign(fields["colors"], np.random.default_rng(4).uniform(size=(2, 4, 4)))
    check(renderer(lit=True, **fields))


def test_fields_without_gradients_are_left_out():
    vertices = ti.Vector.field(3, ti.f64, shape=4)
    colors = ti.Vector.field(3, ti.f64, shape=4)
    drawn = renderer(vertices=vertices, colors=colors)
    assign(vertices, tetrahedron())
    assign(colors, np.random.default_rng(0).uniform(size=(4, 3)))
    own = renderer()
    gradients = []
    for each in (drawn, own):
        loss = WeightedSum(each)
        with ti.ad.Tape(loss.value):
            each.render()
            loss.add(each)
        gradients.append(each.camera.eye.grad.to_numpy())
    assert vertices.grad is None or not vertices.snode.ptr.has_adjoint()
    np.testing.assert_allclose(*gradients, rtol=1e-12)  # another variant of the kernel


def test_renders_of_one_renderer_on_one_tape_add_up():
    """Vertices move between two renders, on the tape and in place."""
    drawn = renderer(lit=True)
    push = ti.Vector.field(3, ti.f64, shape=(), needs_grad=True)
    assign(push, [0.02, -0.03, 0.05])
    start = ti.Vector.field(3, ti.f64, shape=4, needs_grad=True)
    assign(start, tetrahedron())
    loss = WeightedSum(drawn)

    @ti.kernel
    def place():
        for v in start:
            drawn.vertices[v] = start[v]

    @ti.kernel
    def move():
        for v in start:
            drawn.vertices[v] += push[None]

    def run():
        place()
        drawn.render()
        loss.add(drawn)
        move()
        drawn.render()
        loss.add(drawn, -2.0)
        move()
        drawn.render()
        loss.add(drawn, 0.5)

    fields = {**parameters(drawn), "start": start, "push": push}
    del fields["vertices"]  # overwritten by `place`
    assert_gradients_match(run, loss.value, fields)


def test_two_renderers_that_share_a_field_add_up():
    first = renderer(lit=True)
    second = renderer(vertices=first.vertices, seed=5, views=3)
    losses = WeightedSum(first), WeightedSum(second, seed=6)
    total = ti.field(ti.f64, shape=(), needs_grad=True)

    @ti.kernel
    def product():
        total[None] = losses[0].value[None] * losses[1].value[None]

    def run():
        for loss in losses:
            _zero(loss.value)
        first.render()
        second.render()
        losses[1].add(second)
        losses[0].add(first)
        product()

    fields = {"vertices": first.vertices, "eye": first.camera.eye, "colors": second.colors}
    assert_gradients_match(run, total, fields)


@ti.kernel
def _zero(value: ti.template()):
    value[None] = 0.0


def test_gradients_start_from_zero_on_each_tape():
    drawn = renderer()
    loss = WeightedSum(drawn)
    seen = []
    for _ in range(2):
        with ti.ad.Tape(loss.value):
            drawn.render()
            loss.add(drawn)
        seen.append({k: f.grad.to_numpy() for k, f in parameters(drawn).items()})
    for name in seen[0]:
        np.testing.assert_array_equal(seen[0][name], seen[1][name])


def test_the_user_s_own_kernel_before_and_after():
    """A nonlinear deformation before, a nonlinear loss after, all on one tape."""
    drawn = renderer(views=1)
    rest = tetrahedron()
    angle = ti.field(ti.f64, shape=(), needs_grad=True)
    angle[None] = 0.3
    loss = ti.field(ti.f64, shape=(), needs_grad=True)
    at_rest = ti.Vector.field(3, ti.f64, shape=4)
    assign(at_rest, rest)

    @ti.kernel
    def twist():
        for v in at_rest:
            p = at_rest[v]
            a = angle[None] * p[1]
            # no ti.sin: Vulkan lacks that of float64
            c, s = 1.0 - a * a / 2.0, a - a * a * a / 6.0
            drawn.vertices[v] = ti.Vector([c * p[0] + s * p[2], p[1], c * p[2] - s * p[0]])

    @ti.kernel
    def squares():
        for i in ti.grouped(drawn.alpha):
            loss[None] += (drawn.alpha[i] - 0.4) ** 2 + drawn.image[i].norm_sqr()

    def run():
        twist()
        drawn.render()
        squares()

    assert_gradients_match(run, loss, {"angle": angle})


def test_sigma_and_gamma_are_read_at_each_render():
    drawn = renderer(views=1)
    drawn.render()
    before = drawn.alpha.to_numpy()
    drawn.sigma[None] = 1e-3
    drawn.render()
    fresh = renderer(views=1, settings=tsr.RasterSettings(
        sigma=1e-3, gamma=SOFT.gamma, near=SOFT.near, far=SOFT.far))  # fmt: skip
    fresh.render()
    assert np.abs(before - fresh.alpha.to_numpy()).max() > 0.1
    np.testing.assert_array_equal(drawn.alpha.to_numpy(), fresh.alpha.to_numpy())
    drawn.gamma[None] = -1.0
    with pytest.raises(tsr.ArgumentError, match="`gamma` must be positive and finite"):
        drawn.render()
