"""Lists that would be too long are made for some rows of tiles at a time."""

import pytest
import torch
from soups import soup

from taichi_softras import RasterSettings, rasterize, runtime
from taichi_softras.kernels.types import CPU_TILE, GPU_TILE
from taichi_softras.pipeline import adjoint_drivers, binning, leases, passes, workspace

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]


def drawn(color, most, monkeypatch, views=2):
    """Images and gradients with lists of at most `most` entries where rows can be parted."""
    monkeypatch.setattr(binning, "MOST_ENTRIES", most)
    # What has longer lists already would not be parted.
    monkeypatch.setattr(leases, "_waiting", [])
    monkeypatch.setattr(workspace, "_rooms", {})
    triangles = soup(3, 30, views=views, dtype=torch.float32)
    leaves = [triangles.corners.clone(), triangles.attributes.clone(), torch.tensor(1e-2)]
    for leaf in leaves:
        leaf.requires_grad_()
    settings = RasterSettings(sigma=leaves[2], color=color)
    colored = color != "none"
    out = rasterize(leaves[0], leaves[1] if colored else None, size=(37, 20), settings=settings)
    outputs = [out.alpha] + ([out.image, out.depth] if colored else [])
    used = leaves if colored else [leaves[0], leaves[2]]
    rng = torch.Generator().manual_seed(0)
    upstream = [torch.rand(o.shape, generator=rng) for o in outputs]
    gradients = torch.autograd.grad(outputs, used, upstream)
    return outputs, gradients, out.skipped


@pytest.mark.parametrize("color", ["none", "softmax", "hard"])
@pytest.mark.parametrize("most", [1, 40, 150])
def test_bands_change_nothing(color, most, monkeypatch):
    wanted = drawn(color, 2**23, monkeypatch)
    got = drawn(color, most, monkeypatch)
    for a, b in zip(wanted[0], got[0], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(wanted[1], got[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6 * float(a.abs().max()))
    # A face's slots are added in the same order, one band after the other.
    assert torch.equal(wanted[1][0], got[1][0])
    assert wanted[2] == got[2]


def test_no_list_is_longer_than_allowed_unless_one_row_is(monkeypatch):
    lengths = []
    if runtime.backend() == "cpu":
        collect = workspace.Workspace._collect

        def watched(space, launch, rows, *arguments):
            collect(space, launch, rows, *arguments)
            lengths.append((space.n_entries, rows[1] - rows[0]))

        monkeypatch.setattr(workspace.Workspace, "_collect", watched)
    else:
        bands = passes.bands

        def watched(*arguments):
            for tiles, scratch in bands(*arguments):
                lengths.append((tiles.n_entries, tiles.rows[1] - tiles.rows[0]))
                yield tiles, scratch

        for module in (passes, adjoint_drivers):
            monkeypatch.setattr(module, "bands", watched)
    drawn("none", 40, monkeypatch)
    if runtime.backend() == "cpu":
        del lengths[0]  # where it turned out that they are too long
    assert lengths == lengths[: len(lengths) // 2] * 2
    lengths = lengths[: len(lengths) // 2]  # the adjoint goes through the same
    side = CPU_TILE if runtime.backend() == "cpu" else GPU_TILE
    assert len(lengths) > 1
    assert sum(rows for _, rows in lengths) == -(-37 // side)
    assert all(entries <= 40 or rows == 1 for entries, rows in lengths)
