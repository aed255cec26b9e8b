import json
import re
import time

import pytest
import torch

from taichi_softras.benchmark import cases, contenders, measure, pairs, parity
from taichi_softras.benchmark.cases import Case, small
from taichi_softras.cli import main
from taichi_softras.errors import ArgumentError

pytestmark = [pytest.mark.usefixtures("arch"), pytest.mark.xdist_group("float32")]


def test_the_dense_peer_does_the_same():
    case = small(Case(views=2, sigma=1e-3))
    wanted = contenders.ours(case)()
    peer = contenders.dense(case)
    torch.testing.assert_close(peer.step()[..., :2], wanted[..., :2], rtol=1e-3, atol=1e-4)


def test_deodr_sees_the_same_sphere():
    pytest.importorskip("deodr")
    case = Case(size=128, sigma=1e-5)
    object.__setattr__(case, "upstream", torch.ones(1, 128, 128))
    d_pixels = torch.as_tensor(contenders.deodr(case).step()[0])
    ours = contenders.ours(case)()[0, :, :2].double()
    # Pixel rows run down, NDC's y up.
    theirs = d_pixels * torch.tensor([1.0, -1.0])
    assert torch.cosine_similarity(theirs.flatten(), ours.flatten(), dim=0) > 0.8


def test_a_peer_that_cannot_do_a_case_says_why():
    for name in contenders.PEERS:
        assert contenders.PEERS[name](Case(color="softmax")).reason
    assert "pairs" in contenders.dense(Case(level=6)).reason
    with pytest.raises(ArgumentError, match="peers"):
        contenders.contenders(Case(), ["nobody"])


def test_nothing_is_reported_on_a_wrong_result(monkeypatch, capsys):
    right = parity.rasterize

    def wrong(*args, **kwargs):
        out = right(*args, **kwargs)
        return out._replace(alpha=out.alpha * 1.001)

    monkeypatch.setattr(parity, "rasterize", wrong)
    assert main(["bench", "--suite", "quick", "--seconds", "0"]) == 2
    said = capsys.readouterr()
    assert "differ from the reference" in said.err
    assert "median" not in said.out


def test_a_slow_contender_leaves_the_others_more_passes_a_turn():
    calls = []

    def contender(name, seconds):
        def step():
            calls.append(name)
            time.sleep(seconds)

        return contenders.Contender(name, step)

    both = [contender("fast", 1e-3), contender("slow", 2 * measure.TURN)]
    times = measure.interleaved(both, seconds=0.0)
    assert times["slow"].samples == 3
    assert times["fast"].samples > 6
    warm_up, turns = calls[:2], "".join(name[0] for name in calls[2:])
    assert warm_up == ["fast", "slow"]
    assert re.fullmatch("(f{2,}s){3}", turns)


@pytest.fixture(autouse=True)
def same_threads():
    """`softras bench` sets the process's threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_report_holds_every_case(tmp_path, capsys, monkeypatch):
    few = (small(Case()), small(Case(color="softmax")))
    monkeypatch.setitem(cases.SUITES, "quick", few)
    assert main(["bench", "--suite", "quick", "--seconds", "0", "-o", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "median ms" in text
    assert "RGB + alpha" in text
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [r["case"]["name"] for r in report["results"]] == [case.name for case in few]
    assert report["machine"]["taichi"]
    assert (tmp_path / "bench.png").stat().st_size > 1000


def test_pairs_are_at_least_those_that_count(arch):
    if arch != "cpu":
        pytest.skip("GPUs keep no lists of blocks")
    case = Case(level=1, size=40, sigma=1e-5)
    work = pairs.profile(contenders.ours(case), seconds=0.0).work
    alpha_pixels = int((contenders.rasterize(
        case.mesh.at_corners(case.vertices_ndc), size=40, settings=case.settings
    ).alpha > 0).sum())  # fmt: skip
    assert work.pairs >= 2 * 0.8 * alpha_pixels, "front and back of a sphere"
    assert work.pairs <= case.faces * 40 * 40


def test_summaries_are_order_statistics():
    times = measure.summary([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (times.median, times.minimum, times.samples) == (3.0, 1.0, 5)
    assert times.spread > 0.0
