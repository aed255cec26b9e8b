"""Binning: every (tile, face) pair that matters is listed once, in face order."""

from typing import NamedTuple

import pytest
import torch
from soups import Options, soup

from taichi_softras import reference, runtime
from taichi_softras.inputs import pack_inputs
from taichi_softras.kernels.blocks import HEIGHT, WIDTH
from taichi_softras.kernels.types import CPU_TILE, ENTRY, GPU_TILE
from taichi_softras.pipeline import leases, workspace
from taichi_softras.torch_bridge import launch
from taichi_softras.torch_bridge.frames import Frame

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float64")]


class Lists(NamedTuple):
    face_start: torch.Tensor
    tile_start: torch.Tensor
    entry_face: torch.Tensor
    entry_slot: torch.Tensor
    entry_blocks: torch.Tensor | None
    """On CPUs: a bit for each block of the tile that may feel the face."""


def shrunk(triangles, scale):
    center = triangles.corners[..., :2].mean(2, keepdim=True)
    small = center + scale * (triangles.corners[..., :2] - center)
    return triangles._replace(corners=torch.cat([small, triangles.corners[..., 2:]], -1))


def binned(triangles, size, *, distance="euclidean", sigma=1e-3, dist_eps=1e-4):
    settings = Options(distance).settings(sigma=sigma, dist_eps=dist_eps)
    inputs = pack_inputs(
        triangles.corners,
        triangles.attributes,
        size=size,
        settings=settings,
        background=None,
        face_counts=None,
    )
    plan = Frame.of(inputs, settings, orthographic=False).plan
    _, kept = launch.forward(plan, launch.Tensors.of(inputs))
    tiles, memory, n = kept.rendered.lists, kept.memory, kept.rendered.lists.n_entries
    if runtime.backend() == "cpu":
        of = tiles.arguments
        starts = (of["face_start"], of["tile_start"])
        columns = memory.tensor(of["entries"], n * ENTRY)[: n * ENTRY].view(n, ENTRY).unbind(1)
    else:
        starts = (tiles.face_start, tiles.tile_start)
        columns = [memory.tensor(column, n) for column in (tiles.entry_face, tiles.entry_slot)]
        columns.append(None)
    face_start, tile_start = starts
    lists = Lists(
        memory.tensor(face_start, plan.n_faces + 1)[: plan.n_faces + 1],
        memory.tensor(tile_start, plan.n_tiles + 1)[: plan.n_tiles + 1],
        # Lists may have more room than they need.
        *(column if column is None else column[:n] for column in columns),
    )
    return lists, settings


@pytest.mark.parametrize("distance", ["euclidean", "barycentric", "hard"])
@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 1e-1])
@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((1, 1), 1.0),
        ((8, 8), 1.0),
        ((9, 17), 1.0),
        ((40, 24), 1.0),
        ((40, 55), 0.3),
        ((40, 55), 0.1),
    ],
)
def test_no_tile_misses_a_face_that_reaches_one_of_its_pixels(size, scale, sigma, distance):
    views, faces = 2, 25
    triangles = shrunk(soup(13, faces, views=views), scale)
    tiles, settings = binned(triangles, size, distance=distance, sigma=sigma)
    side = CPU_TILE if runtime.backend() == "cpu" else GPU_TILE
    rows, columns = -(-size[0] // side), -(-size[1] // side)
    listed = torch.zeros(views * rows * columns, views * faces, dtype=torch.bool)
    blocks = torch.full(listed.shape, -1, dtype=torch.int32)
    for tile in range(len(listed)):
        entries = tiles.entry_face[tiles.tile_start[tile] : tiles.tile_start[tile + 1]].long()
        assert (entries.diff() > 0).all(), "in face order, each once"
        listed[tile, entries] = True
        if tiles.entry_blocks is not None:
            here = slice(tiles.tile_start[tile], tiles.tile_start[tile + 1])
            blocks[tile, entries] = tiles.entry_blocks[here]
    for view in range(views):
        inside, barycentric, _, distance2 = reference._geometry(
            triangles.corners[view, :, :, :2], reference.pixel_centers(*size)
        )
        _, kept = reference._softness(inside, barycentric, distance2, settings)
        for row in range(size[0]):
            for column in range(size[1]):
                tile = (view * rows + row // side) * columns + column // side
                needed = kept[row * size[1] + column]
                assert listed[tile, view * faces :][:faces][needed].all()
                block = row % side // HEIGHT * (side // WIDTH) + column % side // WIDTH
                assert (blocks[tile, view * faces :][:faces][needed] >> block & 1).all()


def test_slots_are_a_permutation_grouped_by_face():
    tiles, _ = binned(soup(13, 60, views=3), (40, 24))
    slots = tiles.entry_slot.long()
    assert torch.equal(slots.sort().values, torch.arange(len(slots)))
    face_of_slot = torch.empty_like(slots)
    face_of_slot[slots] = tiles.entry_face.long()
    assert torch.equal(face_of_slot, face_of_slot.sort().values)
    counts = torch.bincount(face_of_slot, minlength=180)
    assert torch.equal(tiles.face_start.long().diff(), counts)


def test_small_faces_touch_few_tiles():
    """The lists are tight: two pixels' worth of face is in one tile, and at borders in more."""
    tiles, _ = binned(shrunk(soup(13, 500), 0.05), (64, 64), sigma=1e-7)
    on_screen = int((tiles.face_start.diff() > 0).sum())
    assert on_screen > 200
    assert len(tiles.entry_face) < 1.4 * on_screen


def test_lists_fit_whatever_the_last_ones_were_like():
    """Room is made for as many entries as the last rendering had; more and fewer do as well."""
    few, many = ({"sigma": sigma} for sigma in (1e-7, 1e-1))
    for options in (few, many, few, many, many):
        lists, _ = binned(soup(13, 60, views=3), (40, 24), **options)
        workspace._rooms.clear()
        leases._waiting.clear()
        wanted, _ = binned(soup(13, 60, views=3), (40, 24), **options)
        for a, b in zip(lists, wanted, strict=True):
            assert a is b is None or torch.equal(a, b)
