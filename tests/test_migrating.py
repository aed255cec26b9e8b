"""What docs/migrating.md says of our side, done: each program runs, and does what it claims."""

import contextlib
import io
import math
import re
from pathlib import Path

import pytest
import torch

import taichi_softras as tsr

PAGE = (Path(__file__).parent.parent / "docs" / "migrating.md").read_text(encoding="utf-8")
OURS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs(library):
    """Our programs in the section of a library."""
    section = re.search(rf"^## From {library}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return OURS.findall(section[0])


def run(code):
    scope = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "docs/migrating.md", "exec"), scope)
    return scope


def moves(gradient):
    return bool(gradient.isfinite().all()) and bool(gradient.any())


def orbit_of_pytorch3d(distance, elevation, azimuth):
    """Rotation and translation for row vectors, as `look_at_view_transform` is documented."""
    e, a = math.radians(elevation), math.radians(azimuth)
    way = (math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a))
    eye = distance * torch.tensor(way)
    z = -eye / eye.norm()
    x = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), z)
    x = x / x.norm()
    R = torch.stack([x, torch.linalg.cross(z, x), z], dim=1)
    return R, -R.T @ eye


def test_from_pytorch3d(arch):
    fit, pose, skin = programs("PyTorch3D")
    scope = run(fit)
    assert moves(scope["vertices"].grad)
    assert scope["rgba"].shape == (1, 128, 128, 4)
    R, T = orbit_of_pytorch3d(2.7, 20.0, 30.0)
    points = torch.tensor([[0.1, -0.2, 0.3], [0.5, 0.4, -0.2]])
    x, y, z = (points @ R + T).unbind(dim=-1)
    theirs = torch.stack([-x, y], dim=-1) / z[:, None] / math.tan(math.radians(30.0))
    camera = scope["camera"]
    ours = camera.ndc_from_view(camera.view_from_points(points))[0]
    torch.testing.assert_close(ours[:, :2], theirs, atol=1e-5, rtol=0)
    scope = run(pose)
    torch.testing.assert_close(scope["camera"].eye, torch.tensor([[0.0, 0.0, 2.7]]))
    torch.testing.assert_close(scope["there"].R[0], scope["R"])
    torch.testing.assert_close(scope["there"].T[0], scope["T"])
    assert moves(run(skin)["maps"].grad)


def test_from_nvdiffrast(arch):
    by_matrices, by_clip = map(run, programs("nvdiffrast"))
    difference = by_matrices["image"] - by_clip["image"]
    assert difference.abs().max() < 1e-3  # silhouettes of 1e-6 of rounding, at sigma 1e-5
    assert by_clip["image"].mean() > 0.01
    assert moves(by_clip["clip"].grad)


def test_from_kaolin(arch):
    (code,) = programs("Kaolin")
    scope = run(code)
    assert moves(scope["mesh"].vertices.grad)
    assert scope["features"].shape == (1, 128, 128, 3)
    assert 0.0 < scope["loss"].item() < 1.0


def test_programs_are_short():
    codes = OURS.findall(PAGE)
    assert len(codes) >= 5
    for code in codes:
        assert len(code.splitlines()) <= 16


def test_a_blur_radius_has_its_dist_eps(arch):
    sigma, radius = 1e-2, 4e-2
    half_plane = torch.tensor([[[[-9.0, 0.0, 2.0], [0.0, -9.0, 2.0], [0.0, 9.0, 2.0]]]])  # x < 0
    settings = tsr.RasterSettings(sigma=sigma, dist_eps=1.0 / (1.0 + math.exp(radius / sigma)))
    row = tsr.rasterize(half_plane, size=64, settings=settings).alpha[0, 32]
    reach = (2.0 * int((row > 0.0).sum()) - 64.0) / 64.0  # NDC x of the last pixel's right side
    assert reach == pytest.approx(math.sqrt(radius), abs=1.0 / 64.0)
