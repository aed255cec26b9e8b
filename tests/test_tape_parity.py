"""Both front ends draw the same: the tape's fields against torch's tensors."""

import numpy as np
import pytest
import taichi as ti
import torch
from tapes import FACES, SIZE, SOFT, WeightedSum, assign, numpy_dtype, parameters, renderer

import taichi_softras as tsr
from taichi_softras.tape import renderer as module

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape")]

LIGHT = {
    "ambient_intensity": 0.4,
    "ambient_color": (0.9, 1.0, 0.8),
    "directional_intensity": 0.7,
    "directional_color": (1.0, 0.6, 0.9),
    "direction": (0.2, 1.5, 0.7),
}


def leaf(field):
    """A tensor of a field's values that requires grad."""
    return torch.from_numpy(field.to_numpy()).requires_grad_()


def torch_twin(drawn):
    """Render a tape renderer's fields through torch: the result, and the leaves by name."""
    leaves = {name: leaf(field) for name, field in parameters(drawn).items()}
    light = None
    if drawn.light is not None:
        light = tsr.Light(**{name: leaves[name] for name in LIGHT})
    camera = tsr.Camera.look_at(*(leaves[name] for name in ("eye", "at", "up", "fov")))
    mesh = tsr.Mesh(vertices=leaves["vertices"], faces=FACES, vertex_colors=leaves["colors"])
    settings = tsr.RasterSettings(
        sigma=leaves["sigma"], gamma=leaves["gamma"], near=SOFT.near, far=SOFT.far
    )
    out = tsr.render(mesh, camera, SIZE, settings=settings, background=(0.1, 0.2, 0.3), light=light)
    return out, leaves


def drawn_and_loss(dtype, lit):
    drawn = renderer(dtype=dtype, lit=lit, background=(0.1, 0.2, 0.3))
    if lit:
        drawn.light.set(**LIGHT)
    loss = WeightedSum(drawn)
    with ti.ad.Tape(loss.value):
        drawn.render()
        loss.add(drawn)
    return drawn, loss


@pytest.mark.parametrize("lit", [True, False], ids=["lit", "unlit"])
def test_the_whole_chain_agrees_in_float64(lit):
    drawn, loss = drawn_and_loss("float64", lit)
    out, leaves = torch_twin(drawn)
    for name in ("image", "alpha", "depth"):
        got, want = getattr(drawn, name).to_numpy(), getattr(out, name).detach().numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11, err_msg=name)
    value = (
        (torch.from_numpy(loss.on_alpha.to_numpy()) * out.alpha).sum()
        + (torch.from_numpy(loss.on_image.to_numpy()) * out.image).sum()
        + (torch.from_numpy(loss.on_depth.to_numpy()) * out.depth).sum()
    )
    value.backward()
    for name, field in parameters(drawn).items():
        want = leaves[name].grad.numpy()
        scale = max(np.abs(want).max(), 1.0)
        got = field.grad.to_numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * scale, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_points_give_equal_bits(dtype, monkeypatch):
    """Images, and gradients of points and attributes, of what the tape rasterized."""
    seen = {}

    forward, adjoint = module.pipeline.forward, module.pipeline.adjoint

    def keep_gradients(plan, memory, *args, **kwargs):
        seen.update(gradients=adjoint(plan, memory, *args, **kwargs))
        seen.update(lender=memory)  # or torch's render would be lent the same arrays
        return seen["gradients"]

    def keep_scene(plan, memory, scene):
        seen.update(plan=plan, memory=memory, scene=scene)
        return forward(plan, memory, scene)

    monkeypatch.setattr(module.pipeline, "forward", keep_scene)
    monkeypatch.setattr(module.pipeline, "adjoint", keep_gradients)
    drawn, loss = drawn_and_loss(dtype, lit=True)
    monkeypatch.undo()
    views, faces = 2, len(FACES)

    def tensor(array, *shape):
        numpy = np.empty(shape, numpy_dtype(drawn.alpha))
        return torch.from_numpy(seen["memory"].download(array, numpy))

    points = tensor(seen["scene"].points, views * 4, 3).reshape(views, -1, 3)
    attributes = tensor(seen["scene"].attributes, faces, 3, 3)
    points.requires_grad_()
    attributes.requires_grad_()
    settings = tsr.RasterSettings(
        sigma=drawn.sigma[None], gamma=drawn.gamma[None], near=SOFT.near, far=SOFT.far
    )
    out = tsr.rasterize(
        points, attributes, size=SIZE, settings=settings, background=(0.1, 0.2, 0.3),
        faces=torch.from_numpy(FACES),
    )  # fmt: skip
    for name in ("image", "alpha", "depth"):
        got, want = getattr(drawn, name).to_numpy(), getattr(out, name).detach().numpy()
        np.testing.assert_array_equal(got, want, err_msg=name)
    weights = [
        torch.from_numpy(w.to_numpy()) for w in (loss.on_image, loss.on_alpha, loss.on_depth)
    ]
    torch.autograd.backward([out.image, out.alpha, out.depth], weights)
    d_points = tensor(seen["gradients"].points, views * 4, 3).numpy()
    d_attributes = tensor(seen["gradients"].attributes, faces, 3, 3).numpy()
    scale = np.abs(d_points).max()
    # Not bits: torch asks for no gradient of sigma, which is another variant of the kernel.
    np.testing.assert_allclose(
        points.grad.numpy().reshape(d_points.shape), d_points, rtol=0, atol=1e-6 * scale
    )
    np.testing.assert_allclose(attributes.grad.numpy(), d_attributes, rtol=0, atol=1e-6)


def test_the_same_tape_gives_the_same_bits():
    vertices, faces = dense_sphere()
    drawn = tsr.tape.Renderer(
        n_vertices=len(vertices), faces=faces, size=33, views=3, lit=True, settings=SOFT
    )
    assign(drawn.vertices, vertices)
    loss = WeightedSum(drawn)
    bits = []
    for _ in range(3):
        with ti.ad.Tape(loss.value):
            drawn.render()
            loss.add(drawn)
        bits.append({name: f.grad.to_numpy() for name, f in parameters(drawn).items()})
    for again in bits[1:]:
        for name, want in bits[0].items():
            np.testing.assert_array_equal(again[name], want, err_msg=name)


def dense_sphere():
    """642 vertices, 1280 faces."""
    mesh = tsr.shapes.icosphere(3)
    return mesh.vertices.numpy(), mesh.faces.numpy()
