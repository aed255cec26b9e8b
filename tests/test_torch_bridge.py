"""What torch and Taichi share: memory without copies, threads, processes, modes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import taichi as ti
import torch
from renderings import one_rendering
from soups import Options, soup
from torch.profiler import ProfilerActivity, profile

from taichi_softras import BackendError, device_memory, rasterize
from taichi_softras.torch_bridge.memory import CopiedMemory, TorchMemory, check_backend

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]

SETTINGS = Options().settings(sigma=1e-2, gamma=0.1)


def in_place(arch):
    """Does Taichi run where the tests' tensors are?"""
    return arch == "cpu"


def triangles(seed=1, faces=6):
    return [t.requires_grad_() for t in soup(seed, faces, dtype=torch.float32)]


def test_tensors_are_used_in_place_where_taichi_runs_on_their_device(arch):
    if not in_place(arch):
        pytest.skip(f"{arch} cannot reach the tensors")
    given, images, rest = one_rendering()
    assert isinstance(rest.memory, TorchMemory)
    scene, rendered = rest.scene, rest.rendered
    for mine, used in (
        (given.points, scene.points),
        (given.attributes, scene.attributes),
        (given.background, scene.background),
        (given.views, scene.views),
        (images.image, rendered.left.image),
        (images.depth, rendered.left.depth),
    ):
        assert mine.data_ptr() == used.data_ptr()


def test_a_kernel_sees_the_tensor_s_own_memory(arch):
    if not in_place(arch):
        pytest.skip(f"{arch} cannot reach the tensors")

    @ti.kernel
    def touch(x: ti.types.ndarray(dtype=ti.f32, ndim=1)):
        x[1] = 5.0  # Only one element: a copy there and back would show in the others.

    whole = torch.arange(4.0)
    touch(whole[:3])
    assert whole.tolist() == [0.0, 5.0, 2.0, 3.0]


COPIES = ("aten::copy_", "aten::clone", "aten::contiguous", "aten::_to_copy")


def test_a_profiler_sees_no_copy_of_images_or_faces(arch):
    if not in_place(arch):
        pytest.skip(f"{arch} cannot reach the tensors")
    corners, attributes = triangles()
    large = corners.numel() * 4

    def render_and_pull_back():
        out = rasterize(corners, attributes, size=32, settings=SETTINGS)
        torch.autograd.grad(
            (out.image, out.alpha, out.depth),
            (corners, attributes),
            [torch.ones_like(t) for t in out[:3]],
        )

    render_and_pull_back()  # compiles
    with profile(
        activities=[ProfilerActivity.CPU], record_shapes=True, profile_memory=True
    ) as seen:
        render_and_pull_back()
    copied = [
        event.input_shapes
        for event in seen.events()
        if event.name in COPIES
        and any(4 * torch.Size(shape).numel() >= large for shape in event.input_shapes if shape)
    ]
    assert copied == []


def test_results_are_copied_once_and_whole_where_memory_is_not_shared(arch, monkeypatch):
    if in_place(arch):
        pytest.skip(f"{arch} needs no copies")
    log = []
    for name in ("upload", "download"):
        original = getattr(device_memory.DeviceMemory, name)

        def logged(memory, *args, _original=original, _name=name):
            log.append((_name, tuple(args[-1].shape)))
            return _original(memory, *args)

        monkeypatch.setattr(device_memory.DeviceMemory, name, logged)
    corners, attributes = triangles()
    out = rasterize(corners, attributes, size=9, settings=SETTINGS)
    assert sorted(log) == sorted(
        [
            *(("upload", shape) for shape in ((18, 3), (6, 3, 3), (1, 3), (1, 3))),
            *(("download", shape) for shape in ((81,), (243,), (81,), (3,))),
        ]
    )
    log.clear()
    torch.autograd.grad(
        (out.image, out.alpha, out.depth),
        (corners, attributes),
        [torch.ones_like(t) for t in out[:3]],
    )
    assert sorted(log) == sorted(
        [
            *(("upload", shape) for shape in ((81,), (243,), (81,))),
            *(("download", shape) for shape in ((18, 3), (6, 3, 3))),
        ]
    )


def test_uploads_and_downloads_touch_nothing_but_their_rows(arch):
    memory = CopiedMemory(torch.float32)
    source = torch.arange(15.0).reshape(5, 3)
    array = memory.upload(source)
    assert array.shape[0] > 5, "arrays are longer than what is used of them"
    whole = torch.full((7, 3), -1.0)
    memory.download(array, whole[1:6])
    assert torch.equal(whole[1:6], source)
    assert (whole[[0, 6]] == -1.0).all()
    memory.upload(source + 1.0)
    assert torch.equal(memory.tensor(array, 5, 3), source), "lent arrays are not lent twice"


def test_arrays_return_to_the_pool(arch):
    memory = CopiedMemory(torch.float32)
    memory.reals(100, 7)
    before = device_memory.n_arrays()
    del memory
    again = CopiedMemory(torch.float32)
    again.reals(90, 7)
    assert device_memory.n_arrays() == before
    again.reals(90, 7)
    assert device_memory.n_arrays() == before + 1


def gradients_of(corners, attributes):
    out = rasterize(corners, attributes, size=9, settings=SETTINGS)
    loss = out.image.square().sum() + out.alpha.sum() + out.depth.sum()
    return [out.image, *torch.autograd.grad(loss, [corners, attributes])]


def test_inference_mode_renders_without_a_graph(arch):
    corners, attributes = triangles()
    wanted = rasterize(corners, attributes, size=9, settings=SETTINGS)
    with torch.inference_mode():
        out = rasterize(corners, attributes, size=9, settings=SETTINGS)
    assert torch.equal(out.image, wanted.image)
    assert not out.image.requires_grad
    tensor = torch.inference_mode()(lambda: torch.rand(1, 6, 3, 3) + 1.0)()
    assert rasterize(corners.detach(), tensor, size=9).image.isfinite().all()


def test_autocast_leaves_precision_alone(arch):
    wanted = gradients_of(*triangles())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients_of(*triangles())
    assert found[0].dtype == torch.float32
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_a_backward_pass_on_another_thread_gives_the_same_bits(arch):
    wanted = gradients_of(*triangles())
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(gradients_of, *triangles())
    if arch == "opengl":
        with pytest.raises(BackendError, match="in the thread that started it only"):
            elsewhere.result()
    else:
        for a, b in zip(elsewhere.result(), wanted, strict=True):
            assert torch.equal(a, b)


def test_results_changed_in_place_are_noticed_by_autograd(arch):
    corners, attributes = triangles()
    out = rasterize(corners, attributes, size=9, settings=SETTINGS)
    loss = out.image.sum()
    with torch.no_grad():
        out.image.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("color", ["softmax", "hard"])
@pytest.mark.parametrize("looked_at", ["image", "alpha", "depth"])
def test_images_that_no_loss_looks_at_are_as_good_as_zeros(color, looked_at):
    given = triangles()
    settings = Options(color=color).settings(sigma=1e-2, gamma=0.1)
    for _ in range(2):  # the second reads zeros that stay
        out = rasterize(*given, size=9, settings=settings)
        images = {"image": out.image, "alpha": out.alpha, "depth": out.depth}
        d = {name: torch.rand(x.shape) * (name == looked_at) for name, x in images.items()}
        wanted = torch.autograd.grad(
            list(images.values()), given, list(d.values()), retain_graph=True, allow_unused=True
        )
        found = torch.autograd.grad(images[looked_at], given, d[looked_at], allow_unused=True)
        for a, b in zip(found, wanted, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)


def test_a_second_gpu_is_refused_with_the_way_out(arch):
    class OnSecondGpu:
        device = torch.device("cuda:1")

    with pytest.raises(BackendError, match="CUDA_VISIBLE_DEVICES=1"):
        check_backend(OnSecondGpu(), SETTINGS)


def test_cuda_tensors_are_refused_by_other_backends(arch):
    class OnGpu:
        device = torch.device("cuda:0")

    if arch == "cuda":
        pytest.skip("CUDA takes them")
    with pytest.raises(BackendError, match=rf"runs on '{arch}'.*\.cpu\(\).*init\(\"cuda\"\)"):
        check_backend(OnGpu(), SETTINGS)


WORKERS = """
import sys
import torch, taichi_softras as tsr
from torch.utils.data import DataLoader, Dataset

CORNERS = torch.tensor([[[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]]])

class Alphas(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return tsr.rasterize(CORNERS * (0.5 + 0.1 * i), size=8).alpha

if __name__ == "__main__":
    wanted = torch.cat([Alphas()[i] for i in range(4)])  # the parent has started Taichi, too
    try:
        loader = DataLoader(Alphas(), 4, num_workers=1, multiprocessing_context=sys.argv[1])
        (batch,) = loader
        assert torch.equal(batch.squeeze(1), wanted)
        print("equal")
    except Exception as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("context", "says"), [("spawn", "equal"), ("fork", "multiprocessing_context='spawn'")]
)
def test_workers_of_a_data_loader_render_or_say_how(arch, tmp_path, context, says):
    if arch != "cpu":
        pytest.skip("one backend is enough")
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), context],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert says in done.stdout, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device here")
def test_work_on_another_cuda_stream_is_waited_for(arch):
    if arch != "cuda":
        pytest.skip("only CUDA has streams")
    wanted = gradients_of(*(t.detach().cuda().requires_grad_() for t in triangles()))
    with torch.cuda.stream(torch.cuda.Stream()):
        moved = [(t.detach().cuda() * 1.0).requires_grad_() for t in triangles()]
        found = gradients_of(*moved)
    torch.cuda.synchronize()
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
