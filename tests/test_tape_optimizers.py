"""Steps on fields are those of torch's optimisers."""

import numpy as np
import pytest
import taichi as ti
import torch

import taichi_softras as tsr

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("tape")]

FIELDS = {
    "number": (lambda: ti.field(ti.f32, (), needs_grad=True), ()),
    "grid": (lambda: ti.field(ti.f32, (2, 3), needs_grad=True), (2, 3)),
    "vectors": (lambda: ti.Vector.field(3, ti.f32, 5, needs_grad=True), (5, 3)),
    "matrices": (lambda: ti.Matrix.field(2, 2, ti.f32, 4, needs_grad=True), (4, 2, 2)),
    "vector": (lambda: ti.Vector.field(3, ti.f32, (), needs_grad=True), (3,)),
}


def assign(field, values):
    if values.shape == ():
        field[None] = float(values)
    else:
        field.from_numpy(values)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_steps_match_torch(kind, name):
    make, shape = FIELDS[kind]
    rng = np.random.default_rng(0)
    field, start = make(), np.asarray(rng.normal(size=shape), np.float32)
    assign(field, start)
    leaf = torch.from_numpy(start.copy()).requires_grad_()
    if name == "adam":
        ours = tsr.tape.Adam([field], lr=0.1, betas=(0.8, 0.95))
        theirs = torch.optim.Adam([leaf], lr=0.1, betas=(0.8, 0.95))
    else:
        ours = tsr.tape.SGD([field], lr=0.1, momentum=0.7)
        theirs = torch.optim.SGD([leaf], lr=0.1, momentum=0.7)
    for step in range(5):
        gradient = np.asarray(rng.normal(size=shape), np.float32)
        assign(field.grad, gradient)
        leaf.grad = torch.from_numpy(gradient.copy())
        if step == 3:
            ours.lr = theirs.param_groups[0]["lr"] = 0.02
        ours.step()
        theirs.step()
    np.testing.assert_allclose(field.to_numpy(), leaf.detach().numpy(), rtol=2e-5, atol=2e-6)
