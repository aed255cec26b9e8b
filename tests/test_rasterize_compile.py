"""The rasterizer as an operator of torch.library: fake tensors, opcheck, torch.compile."""

import pytest
import torch
from soups import Options, soup
from test_rasterize_texture import scene as textured_scene
from test_rasterize_texture import with_texels

from taichi_softras import DerivativeError, rasterize, skipped
from taichi_softras.inputs import pack_inputs
from taichi_softras.torch_bridge import operators

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]

NUMBERS = {"sigma": 1e-2, "gamma": 0.1}


def leaves(channels=3):
    corners, attributes = soup(1, 6, views=2, dtype=torch.float32, channels=channels)
    background = torch.linspace(0.0, 1.0, channels)
    return [t.requires_grad_() for t in (corners, attributes, background)]


def scored(options):
    settings = options.settings(**NUMBERS)

    def score(corners, attributes, background):
        out = rasterize(corners, attributes, size=(9, 13), settings=settings, background=background)
        loss = out.alpha.square().sum()
        if out.image is not None:
            loss = loss + out.image.square().sum() + out.depth.sum()
        return loss, out.skipped

    return score


def operator_arguments(options):
    corners, attributes, background = leaves()
    settings = options.settings(**NUMBERS)
    packed = pack_inputs(
        corners,
        attributes,
        size=(9, 13),
        settings=settings,
        background=background,
        face_counts=None,
    )
    return (
        packed.corners.detach().requires_grad_(),
        packed.attributes.detach().requires_grad_(),
        packed.background.detach().requires_grad_(),
        packed.texels,
        *(torch.tensor(number, requires_grad=True) for number in NUMBERS.values()),
        packed.views,
        packed.table,
        list(packed.size),
        " ".join([*(options[i] for i in (0, 1, 2, 3, 5)), "drop"]),
        "",
        True,
        False,
        [settings.eps, settings.dist_eps, settings.near, settings.far],
    )


COLORS = [Options(), Options(color="hard"), Options(color="none")]


@pytest.mark.parametrize("options", COLORS, ids=lambda option: option.name)
def test_the_operator_passes_opcheck(options):
    torch.library.opcheck(operators.rasterize, operator_arguments(options))


@pytest.mark.parametrize("options", COLORS, ids=lambda option: option.name)
def test_compiled_code_is_one_graph_with_eager_s_results(options):
    torch._dynamo.reset()
    score, arguments = scored(options), leaves(channels=11)
    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")
    results = []
    for function in (score, compiled):
        loss, skipped = function(*arguments)
        gradients = torch.autograd.grad(loss, arguments, allow_unused=True)
        filled = [
            torch.zeros_like(t) if g is None else g
            for g, t in zip(gradients, arguments, strict=True)
        ]
        results.append((loss, filled, skipped))
    (eager, mine, counts), (graph, theirs, tensors) = results
    torch.testing.assert_close(graph, eager)
    for a, b in zip(theirs, mine, strict=True):
        # The loss around the operator is summed in another order.
        assert (a - b).norm() <= 1e-5 * b.norm()
    assert [int(n) for n in tensors] == list(counts)


def test_compiled_gradients_of_softness_equal_eager_s():
    arguments = operator_arguments(Options())

    def score(sigma, gamma):
        alpha, image, *_ = operators.rasterize(*arguments[:4], sigma, gamma, *arguments[6:])
        return alpha.square().sum() + image.square().sum()

    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")(*arguments[4:6])
    triangles = [t.detach() for t in leaves()]
    soft = {n: torch.tensor(v, requires_grad=True) for n, v in NUMBERS.items()}
    out = rasterize(
        *triangles[:2],
        size=(9, 13),
        settings=Options().settings(**soft),
        background=triangles[2],
    )
    eager = out.alpha.square().sum() + out.image.square().sum()
    mine = torch.autograd.grad(compiled, arguments[4:6])
    for a, b in zip(mine, torch.autograd.grad(eager, list(soft.values())), strict=True):
        torch.testing.assert_close(a, b)


def test_a_compiled_graph_counts_skipped_faces(monkeypatch):
    torch._dynamo.reset()
    corners, attributes, background = (t.detach().clone() for t in leaves())
    corners[0, 2, 1, 0] = torch.nan
    corners[1, 0, :, 2] = -1.0
    score = torch.compile(scored(Options()), fullgraph=True, backend="aot_eager")
    monkeypatch.setattr(skipped, "_warned_about", set())
    with pytest.warns(UserWarning, match="faces were skipped"):
        _, counts = score(corners, attributes, background)
    assert [int(n) for n in counts] == [1, 1, 0]


def test_a_second_derivative_of_the_operator_raises_a_sentence():
    arguments = operator_arguments(Options())
    alpha, *_ = operators.rasterize(*arguments)
    (first,) = torch.autograd.grad(alpha.square().sum(), arguments[0], create_graph=True)
    with pytest.raises(DerivativeError, match="first derivatives only"):
        first.square().sum().backward()


def test_fake_tensors_have_the_shapes_of_real_ones():
    arguments = operator_arguments(Options(color="hard"))
    real = operators.rasterize(*arguments)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = operators.rasterize(
            *(mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in arguments)
        )
    assert [(t.shape, t.dtype) for t in fake] == [(t.shape, t.dtype) for t in real]


def test_compiled_code_reads_textures():
    corners, attributes, given = textured_scene("bilinear", dtype=torch.float32)

    def score(corners, attributes, texels):
        out = rasterize(
            corners,
            attributes,
            size=(9, 13),
            settings=Options().settings(**NUMBERS),
            texture=with_texels(given, texels),
        )
        return out.image.square().sum()

    arguments = [t.requires_grad_() for t in (corners, attributes, given.texels.clone())]
    torch._dynamo.reset()
    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")
    eager, graph = score(*arguments), compiled(*arguments)
    torch.testing.assert_close(graph, eager)
    mine, theirs = (torch.autograd.grad(loss, arguments) for loss in (eager, graph))
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()
