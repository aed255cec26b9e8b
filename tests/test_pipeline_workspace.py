"""Workspaces on the CPU: lent again, never to two renderings at once, and only so many kept."""

import subprocess
import sys

import pytest
import torch
from renderings import one_rendering
from soups import Options, soup

from taichi_softras import rasterize
from taichi_softras.pipeline import leases, workspace
from taichi_softras.torch_bridge import launch
from taichi_softras.torch_bridge.nearest import nearest_faces

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]

SETTINGS = Options().settings(sigma=1e-2, gamma=0.1)


@pytest.fixture
def waiting(arch, monkeypatch):
    """What waits for a rendering: nothing at first."""
    if arch != "cpu":
        pytest.skip("GPUs have no workspaces")
    found = []
    monkeypatch.setattr(leases, "_waiting", found)
    return found


def triangles(seed=1, faces=6):
    return [t.requires_grad_() for t in soup(seed, faces, dtype=torch.float32)]


def gradients(out, given, **options):
    loss = out.image.square().sum() + out.alpha.sum() + out.depth.sum()
    return torch.autograd.grad(loss, given, **options)


def test_workspaces_are_lent_again_and_never_twice_at_once(waiting):
    first, second = (one_rendering(seed)[-1].rendered.lease for seed in (1, 2))
    assert first.workspace is not second.workspace
    left = first.workspace
    del first
    assert waiting == [left]
    assert one_rendering(3)[-1].rendered.lease.workspace is left


def test_other_kinds_get_others_and_other_numbers_the_same(waiting):
    given = triangles()
    for options in ({}, {"sigma": 1e-3}, {"gamma": 1e-3}, {"near": 0.5}, {"dist_eps": 1e-3}):
        rasterize(*given, size=17, settings=Options().settings(**{"sigma": 1e-2, **options}))
    (workspace,) = waiting
    rasterize(*given, size=18, settings=SETTINGS)
    rasterize(*given, size=17, settings=Options(color="hard").settings(sigma=1e-2))
    rasterize(*triangles(faces=7), size=17, settings=SETTINGS)
    assert len({id(each) for each in waiting}) == 4
    assert workspace in waiting


def test_numbers_of_the_last_rendering_are_forgotten(waiting):
    given = triangles()
    settings = [Options().settings(sigma=s, gamma=g) for s in (1e-2, 1e-3) for g in (0.1, 0.01)]
    wanted = []
    for each in settings:
        waiting.clear()
        out = rasterize(*given, size=17, settings=each)
        wanted.append((*out[:3], *gradients(out, given)))
        del out
    waiting.clear()
    for each, results in zip(settings * 2, wanted * 2, strict=True):
        out = rasterize(*given, size=17, settings=each)
        for a, b in zip((*out[:3], *gradients(out, given)), results, strict=True):
            assert torch.equal(a, b)
        del out
    assert len(waiting) == 1


def test_nothing_of_longer_arrays_is_passed_on(waiting, monkeypatch):
    monkeypatch.setattr(leases, "MOST_KINDS", 1)
    corners, attributes = triangles()
    sizes = [(64, 64), (50, 50), (17, 20), (33, 33)]
    wanted = []
    for size in sizes:
        waiting.clear()
        wanted.append(nearest_faces(corners, size=size, settings=SETTINGS))
    waiting.clear()
    for size, nearest in zip(sizes, wanted, strict=True):
        assert torch.equal(nearest_faces(corners, size=size, settings=SETTINGS), nearest)

    def score(corners, size):
        return rasterize(corners, attributes, size=size, settings=SETTINGS).image.square().sum()

    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")
    for size in sizes:
        (mine,) = torch.autograd.grad(compiled(corners, size), corners)
        (eager,) = torch.autograd.grad(score(corners, size), corners)
        torch.testing.assert_close(mine, eager, rtol=1e-4, atol=1e-4)


def test_slots_stay_while_they_are_few(waiting, monkeypatch):
    corners, attributes = triangles(faces=12)
    small = (corners * torch.tensor([0.1, 0.1, 1.0])).detach().requires_grad_()
    sharp = Options().settings(sigma=1e-5, gamma=0.1)

    def pulled(points):
        out = rasterize(points, attributes, size=160, settings=sharp)
        return torch.autograd.grad(out.image.square().sum(), points)[0]

    wanted, needed = [], []
    for points in (small, corners):
        waiting.clear()
        wanted.append(pulled(points))
        needed.append(waiting[0].n_entries)
    assert 4 * needed[0] < needed[1]
    width = 18  # x, y and depth of three corners, and their three colours
    monkeypatch.setattr(workspace, "MOST_SLOT_NUMBERS", 2 * needed[0] * width)
    monkeypatch.setattr(workspace, "_rooms", {})
    waiting.clear()
    stayed = []
    for which in (0, 1, 0, 0, 0, 1, 1, 0, 0):
        assert torch.equal(pulled((small, corners)[which]), wanted[which])
        (one,) = waiting
        stayed.append(one._own_slots)
    assert stayed[:2] == [True, False]
    assert True in stayed[2:]


@pytest.mark.parametrize("color", ["softmax", "hard"])
def test_of_many_kinds_each_takes_what_is_left(waiting, monkeypatch, color):
    settings = Options(color=color).settings(sigma=1e-2, gamma=0.1)
    scenes = []
    for seed, (faces, views, size) in enumerate(
        [(6, 1, 17), (40, 1, 9), (3, 2, (33, 20)), (40, 3, 17), (6, 1, 17), (1, 1, 1), (90, 1, 40)]
    ):
        given = [t.requires_grad_() for t in soup(seed, faces, views=views, dtype=torch.float32)]
        waiting.clear()
        out = rasterize(*given, size=size, settings=settings)
        scenes.append((given, size, (*out[:3], *gradients(out, given))))
        del out
    waiting.clear()
    monkeypatch.setattr(leases, "MOST_KINDS", 1)
    for given, size, wanted in scenes * 2:
        out = rasterize(*given, size=size, settings=settings)
        for a, b in zip((*out[:3], *gradients(out, given)), wanted, strict=True):
            assert torch.equal(a, b)
        del out
        assert len(waiting) <= 2


def test_vertices_and_corners_follow_each_other_in_a_workspace(waiting, monkeypatch):
    faces = torch.randint(0, 9, (12, 3), generator=torch.Generator().manual_seed(1))
    points, _ = triangles(faces=3)
    vertices = points.detach().reshape(1, 9, 3).requires_grad_()
    attributes = torch.rand(12, 3, 3)

    def pulled(kind):
        waiting.clear()
        return pulled_again(kind)

    def pulled_again(kind):
        indexed, size = kind
        given = {"faces": faces} if indexed else {}
        points = vertices if indexed else vertices[:, faces]
        out = rasterize(points, attributes, size=size, settings=SETTINGS, **given)
        return gradients(out, [vertices])[0]

    kinds = [(indexed, size) for size in (17, 20) for indexed in (True, False)]
    wanted = [pulled(kind) for kind in kinds]
    torch.testing.assert_close(wanted[0], wanted[1], rtol=1e-4, atol=1e-5)
    waiting.clear()
    monkeypatch.setattr(leases, "MOST_KINDS", 1)
    for kind, before in zip(kinds * 3, wanted * 3, strict=True):
        assert torch.equal(pulled_again(kind), before)
        assert len(waiting) <= 2


def test_a_rendering_may_be_pulled_back_again_and_to_others(waiting):
    given = triangles()
    out = rasterize(*given, size=17, settings=SETTINGS)
    both = gradients(out, given, retain_graph=True)
    rasterize(*triangles(2), size=17, settings=SETTINGS)
    (corners,) = gradients(out, given[:1], retain_graph=True)
    (attributes,) = gradients(out, given[1:], retain_graph=True)
    again = gradients(out, given)
    assert torch.equal(corners, both[0])
    assert torch.equal(attributes, both[1])
    assert all(torch.equal(a, b) for a, b in zip(again, both, strict=True))


@pytest.mark.parametrize("limit", ["MOST_WAITING", "MOST_BYTES"])
def test_only_so_many_wait(waiting, monkeypatch, limit):
    held = [one_rendering(seed)[-1].rendered.lease for seed in range(5)]
    last = [lease.workspace for lease in held[-2:]]
    size = sum(workspace.nbytes for workspace in last)  # lists have more or less room
    monkeypatch.setattr(leases, limit, 2 if limit == "MOST_WAITING" else size)
    while held:
        held.pop(0)
    assert waiting == last
    waiting.clear()
    lease = one_rendering()[-1].rendered.lease
    monkeypatch.setattr(leases, "MOST_BYTES", lease.workspace.nbytes - 1)
    del lease
    assert not waiting


def test_what_a_compiled_graph_keeps_is_not_lent_again(arch):
    _, images, rest = one_rendering()
    left = launch.leftovers(rest, images)
    before = [value.clone() for value in left]
    del rest
    one_rendering(2)
    assert all(torch.equal(a, b) for a, b in zip(left, before, strict=True))


def test_renderings_that_live_at_once_keep_their_gradients(arch):
    alone = []
    for seed in (1, 2, 3):
        given = triangles(seed)
        alone.append(gradients(rasterize(*given, size=17, settings=SETTINGS), given))
    many = [triangles(seed) for seed in (1, 2, 3)]
    drawn = [rasterize(*given, size=17, settings=SETTINGS) for given in many]
    for out, given, wanted in zip(drawn, many, alone, strict=True):
        for a, b in zip(gradients(out, given), wanted, strict=True):
            assert torch.equal(a, b)


def test_working_tensors_of_inference_mode_serve_training(arch):
    with torch.inference_mode():
        rasterize(*(t.detach() for t in triangles(4)), size=23, settings=SETTINGS)
    given = triangles(4)
    rasterize(*given, size=23, settings=SETTINGS).image.sum().backward()
    assert given[0].grad.isfinite().all()


ANOTHER_TAICHI = """
import taichi as ti, torch, taichi_softras as tsr
from taichi_softras.pipeline import leases
corners = torch.tensor([[[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]]])

def drawn():
    leaf = corners.clone().requires_grad_()
    out = tsr.rasterize(leaf, size=9, settings=tsr.RasterSettings(sigma=1e-3, color="none"))
    out.alpha.sum().backward()
    return out.alpha.detach(), leaf.grad

ti.init(arch=ti.cpu, log_level=ti.ERROR)
wanted = [drawn() for _ in range(3)][-1]
(old,) = leases._waiting
ti.init(arch=ti.cpu, log_level=ti.ERROR)
for _ in range(3):
    assert all(torch.equal(a, b) for a, b in zip(drawn(), wanted))
assert len(leases._waiting) == 1 and old not in leases._waiting
print("equal")
"""


def test_they_do_not_outlive_taichi_and_end_in_silence(arch):
    if arch != "cpu":
        pytest.skip("GPUs have no workspaces")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ANOTHER_TAICHI],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "equal" in done.stdout, done.stderr
    assert done.stderr == ""
