"""How the rasterizer behaves as a citizen of autograd."""

import pytest
import torch
from soups import Options, soup

from taichi_softras import DerivativeError, rasterize, reference

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float64")]

SETTINGS = Options().settings(sigma=1e-2, gamma=0.1)


def leaves(seed=1):
    return [t.requires_grad_() for t in soup(seed, 6)]


def test_a_second_derivative_raises_a_sentence():
    corners, attributes = leaves()
    image = rasterize(corners, attributes, size=7, settings=SETTINGS).image
    (first,) = torch.autograd.grad(image.square().sum(), corners, create_graph=True)
    with pytest.raises(DerivativeError, match=r"first derivatives only.*reference"):
        first.square().sum().backward()


def test_a_graph_of_the_first_derivative_costs_nothing():
    corners, attributes = leaves()
    loss = rasterize(corners, attributes, size=7, settings=SETTINGS).image.square().sum()
    kept = torch.autograd.grad(loss, [corners, attributes], create_graph=True)
    loss = rasterize(corners, attributes, size=7, settings=SETTINGS).image.square().sum()
    plain = torch.autograd.grad(loss, [corners, attributes])
    for a, b in zip(kept, plain, strict=True):
        assert torch.equal(a, b)


def test_the_reference_has_second_derivatives():
    corners, _ = leaves()
    alpha = reference.rasterize(corners, None, size=3, settings=SETTINGS).alpha
    (first,) = torch.autograd.grad(alpha.sum(), corners, create_graph=True)
    first.square().sum().backward()
    assert corners.grad.isfinite().all()
    assert corners.grad.any()


def test_a_graph_that_is_kept_can_be_walked_twice():
    corners, attributes = leaves()
    loss = rasterize(corners, attributes, size=7, settings=SETTINGS).image.square().sum()
    (once,) = torch.autograd.grad(loss, corners, retain_graph=True)
    (again,) = torch.autograd.grad(loss, corners)
    assert torch.equal(once, again)


@pytest.mark.parametrize("softness_too", [False, True], ids=["geometry", "all"])
@pytest.mark.parametrize(
    "outputs", [["image"], ["alpha"], ["depth"], ["image", "alpha"], ["alpha", "depth"]], ids=str
)
def test_outputs_without_a_gradient_count_as_zeros(outputs, softness_too):
    corners, attributes = leaves()
    background = torch.full((3,), 0.3, dtype=torch.float64, requires_grad=True)
    soft = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1e-2, 0.1)]
    settings = Options().settings(sigma=soft[0], gamma=soft[1])
    wanted = [corners, attributes, *([background, *soft] if softness_too else [])]
    gradients = []
    for draw in (rasterize, reference.rasterize):
        out = draw(corners, attributes, size=7, settings=settings, background=background)
        loss = sum(getattr(out, name).square().sum() for name in outputs)
        gradients.append(torch.autograd.grad(loss, wanted, materialize_grads=True))
    for mine, expected in zip(*gradients, strict=True):
        assert (mine - expected).norm() <= 1e-7 * expected.norm()


@pytest.mark.parametrize("color", ["softmax", "hard"])
@pytest.mark.parametrize("alpha", ["prod", "sum"])
def test_pixels_may_feel_alpha_alone_beside_others_that_feel_all(alpha, color):
    """Where only alpha has a gradient, CPUs leave out what colour would cost."""
    triangles = [t.requires_grad_() for t in soup(3, 40)]
    settings = Options(alpha=alpha, color=color).settings(sigma=1e-3, gamma=0.1)
    rng = torch.Generator().manual_seed(0)
    d_alpha = torch.randn(1, 33, 33, dtype=torch.float64, generator=rng)
    d_image = torch.randn(1, 33, 33, 3, dtype=torch.float64, generator=rng)
    d_depth = torch.randn(1, 33, 33, dtype=torch.float64, generator=rng)
    d_image[:, :, 10:] = d_depth[:, 20:] = d_alpha[:, 25:] = 0.0
    gradients = []
    for draw in (rasterize, reference.rasterize):
        out = draw(*triangles, size=33, settings=settings)
        outputs = (out.alpha, out.image, out.depth)
        gradients.append(torch.autograd.grad(outputs, triangles, (d_alpha, d_image, d_depth)))
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


@pytest.mark.parametrize("wanted", ["corners", "attributes", "background", "sigma", "gamma"])
def test_one_argument_alone_gets_the_gradient_that_it_gets_among_others(wanted):
    names = ("corners", "attributes", "background", "sigma", "gamma")
    triangles = soup(1, 6)
    values = [
        *triangles,
        torch.full((3,), 0.3, dtype=torch.float64),
        torch.tensor(1e-2, dtype=torch.float64),
        torch.tensor(0.1, dtype=torch.float64),
    ]

    def gradient(required):
        given = {
            n: v.clone().requires_grad_(n in required) for n, v in zip(names, values, strict=True)
        }
        out = rasterize(
            given["corners"],
            given["attributes"],
            size=7,
            settings=Options().settings(sigma=given["sigma"], gamma=given["gamma"]),
            background=given["background"],
        )
        loss = out.image.square().sum() + out.alpha.sum() + out.depth.sum()
        return torch.autograd.grad(loss, given[wanted])[0]

    torch.testing.assert_close(gradient({wanted}), gradient(set(names)), rtol=1e-12, atol=0.0)


def test_nothing_is_recorded_where_nothing_requires_grad():
    triangles = soup(1, 6)
    out = rasterize(*triangles, size=7, settings=SETTINGS)
    assert not any(t.requires_grad for t in out[:3])
    with torch.no_grad():
        out = rasterize(*leaves(), size=7, settings=SETTINGS)
    assert not any(t.requires_grad for t in out[:3])


def test_tensors_need_not_be_contiguous():
    corners, attributes = soup(1, 6)
    strided = [t.transpose(-1, -2).contiguous().transpose(-1, -2) for t in (corners, attributes)]
    assert not strided[0].is_contiguous()
    upstream = torch.ones(1, 7, 7, 1, dtype=torch.float64).expand(1, 7, 7, 3)
    gradients = []
    for tensors in ((corners, attributes), strided):
        given = [t.detach().requires_grad_() for t in tensors]
        image = rasterize(*given, size=7, settings=SETTINGS).image
        gradients.append(torch.autograd.grad(image, given, upstream))
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_arguments_are_not_changed():
    triangles = leaves()
    before = [t.detach().clone() for t in triangles]
    rasterize(*triangles, size=7, settings=SETTINGS).image.sum().backward()
    for now, then in zip(triangles, before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("name", ["sigma", "gamma"])
def test_softness_of_another_precision_gets_its_own_gradient(name):
    softness = {"sigma": torch.tensor(1e-2), "gamma": torch.tensor(0.1)}
    softness[name].requires_grad_()
    out = rasterize(*soup(1, 6), size=7, settings=Options().settings(**softness))
    (out.image.sum() + out.alpha.sum()).backward()
    assert softness[name].grad.dtype == torch.float32
    assert softness[name].grad != 0.0


def test_sigma_descends_to_the_sharpness_of_a_picture():
    """The whole loop: gradient of sigma, a step, another render."""
    triangles = soup(1, 6)
    target = rasterize(*triangles, size=12, settings=Options().settings(sigma=1e-2)).alpha
    log_sigma = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([log_sigma], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        settings = Options().settings(sigma=log_sigma.exp())
        loss = (rasterize(*triangles, size=12, settings=settings).alpha - target).square().mean()
        loss.backward()
        optimizer.step()
    assert abs(log_sigma.exp().item() - 1e-2) < 2e-3
