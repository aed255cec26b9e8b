import time
from dataclasses import replace

import numpy as np
import pytest

from taichi_softras import shapes
from taichi_softras.errors import BackendError
from taichi_softras.viewer import fit_problems, panel
from taichi_softras.viewer.events import Key
from taichi_softras.viewer.fit_problems import PicturesFit, PoseFit, ShapeFit
from taichi_softras.viewer.fit_worker import FitWorker
from taichi_softras.viewer.headless import write_frames
from taichi_softras.viewer.scene import Scene
from taichi_softras.viewer.session import Session
from taichi_softras.viewer.state import ViewState

PATIENCE = 120.0


class Counting:
    """A problem that records the softness of each step, and crashes at one of them."""

    lit = True
    steps = 10

    def __init__(self, crash_at=None):
        self.seen, self._crash_at = [], crash_at

    def schedule(self, step):
        return 0.1 / (step + 1), 0.01

    def step(self, softness):
        if len(self.seen) == self._crash_at:
            raise ZeroDivisionError("the loss went to pieces")
        self.seen.append(softness)
        time.sleep(0.001)
        return 1.0 / len(self.seen)

    def mesh(self):
        return shapes.icosphere(0)

    def goal(self):
        return shapes.cube()


def wait(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def session(arch, tmp_path):
    made = Session(Scene(shapes.icosphere(1), "x"), ViewState(view="fit"), tmp_path)
    yield made
    made.close()


def test_a_worker_pauses_steps_and_goes_on():
    worker = FitWorker(Counting)
    wait(lambda: worker.snapshot is not None)
    assert worker.snapshot.step == 0
    worker.step_once()
    wait(lambda: worker.snapshot.step == 1)
    worker.play(True)
    wait(lambda: worker.snapshot.step > 5)
    worker.play(False)
    time.sleep(0.05)
    paused = worker.snapshot.step
    time.sleep(0.05)
    assert worker.snapshot.step == paused
    assert worker.snapshot.losses == tuple(1.0 / (i + 1) for i in range(paused))
    worker.close()
    assert not worker._thread.is_alive()


def test_softness_follows_the_schedule_until_a_slider_takes_over(session):
    problem = Counting()
    session.fit.problems["pictures"] = lambda: problem
    session.advance()
    for expected in (0.1, 0.05):
        before = len(problem.seen)
        session.handle(Key("n"))
        wait(lambda count=before: len(problem.seen) == count + 1)
        wait(lambda: session.fit.steps_made == len(problem.seen))
        assert problem.seen[-1] == pytest.approx((expected, 0.01))
        session.advance()
        assert session.state.fit_sigma == pytest.approx(expected)
    session.set("fit_sigma", 0.03)
    assert session.state.softness == "sliders"
    session.advance()
    session.handle(Key("n"))
    wait(lambda: len(problem.seen) == 3)
    assert problem.seen[-1] == pytest.approx((0.03, 0.01))
    assert session.state.sigma == ViewState().sigma  # that of the render view is another one


def test_a_crash_shows_its_message_in_the_window(session):
    session.fit.problems["pictures"] = lambda: Counting(crash_at=2)
    session.advance()
    wait(lambda: session.fit.worker.snapshot is not None)
    before = np.asarray(session.settle()).copy()
    session.handle(Key(" "))
    wait(lambda: session.fit.error)
    assert session.fit.error == "The fit stopped: ZeroDivisionError: the loss went to pieces"
    after = np.asarray(session.settle()).astype(int)
    red = (after[..., 0] > 180) & (after[..., 1] < 70) & (after[..., 2] < 70)
    assert red.sum() > 10_000
    assert ((before[..., 0] > 180) & (before[..., 1] < 70)).sum() < 100
    session.handle(Key("f"))
    wait(lambda: session.fit.worker.snapshot is not None)
    assert session.fit.error == ""


def test_a_problem_that_cannot_be_built_is_told_too(session):
    def build():
        raise ValueError("no views")

    session.fit.problems["pictures"] = build
    session.advance()
    wait(lambda: session.fit.error)
    assert "no views" in session.fit.error
    session.settle()


def test_another_kind_of_fit_replaces_the_first(session):
    session.fit.problems = dict.fromkeys(("pictures", "shape"), Counting)
    session.advance()
    first = session.fit.worker
    session.set("fit", "shape")
    session.advance()
    assert session.fit.worker is not first
    assert not first._thread.is_alive()


def test_now_and_target_are_side_by_side_over_the_losses(session):
    session.fit.problems["pictures"] = Counting
    session.handle(Key("n"))
    wait(lambda: session.fit.steps_made == 1)
    frame = np.asarray(session.settle()).astype(int)
    left, right = frame[100:400, 320:780], frame[100:400, 810:1270]
    assert np.abs(left - right).mean() > 2.0
    plot = frame[560:, panel.PICTURE.x :]
    assert ((plot[..., 2] > 200) & (plot[..., 0] < 120)).sum() > 5  # the curve's blue


def test_headless_writes_every_view(session):
    session.fit.problems["pictures"] = Counting
    session.state = replace(session.state, view="render")
    names = [path.name for path in write_frames(session, fit_steps=3)]
    views = [f"view_{name}.png" for name in ("render", "gradient", "fit", "help")]
    assert names == [*views, "picture.png", "sigma.gif", "gamma.gif", "sheet.png", "settings.py"]
    assert all((session.out / name).is_file() for name in names)


def test_headless_says_why_a_fit_crashed(session):
    session.fit.problems["pictures"] = lambda: Counting(crash_at=0)
    with pytest.raises(BackendError, match="went to pieces"):
        list(write_frames(session, fit_steps=3))


def test_a_shape_fit_follows_the_silhouettes(arch):
    problem = ShapeFit(shapes.torus(), views=4, size=32)
    before = problem.step(problem.schedule(0))
    for i in range(30):
        after = problem.step(problem.schedule(i))
    assert after < 0.6 * before
    assert problem.mesh().vertices.shape == (642, 3)


def test_a_picture_fit_is_the_fitter_with_a_softness_from_outside(arch):
    problem = PicturesFit(shapes.icosphere(2), views=5, size=32, steps=20)
    sigma, gamma = problem.schedule(0)
    losses = [problem.step((sigma, gamma)) for _ in range(12)]
    assert losses[-1] < losses[0]
    problem.step((0.02, 0.5))
    report = problem._fitter.history[-1]
    assert (report.sigma, report.gamma) == (0.02, 0.5)


def test_a_pose_fit_finds_the_pose_when_annealed(arch):
    problem = PoseFit(size=64)
    assert problem.degrees_off == pytest.approx(70.0, abs=0.1)
    for i in range(problem.steps):
        problem.step(problem.schedule(i))
    assert problem.degrees_off < 5.0
    assert fit_problems.coloured_cube().face_colors.shape == (12, 3)
