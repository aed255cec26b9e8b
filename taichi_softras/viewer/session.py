"""The viewer without a window: events in, frames out. Every toolkit shows the same."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from taichi_softras import runtime
from taichi_softras.errors import SoftRasError
from taichi_softras.viewer import panel, saving
from taichi_softras.viewer.content import Content
from taichi_softras.viewer.controls import Choice, Hit, Placed, Slider, hit, slid
from taichi_softras.viewer.events import Event, Key, Pointer
from taichi_softras.viewer.fit_view import FitView
from taichi_softras.viewer.frame import Frame
from taichi_softras.viewer.gradient_view import GradientView
from taichi_softras.viewer.render_view import RenderView
from taichi_softras.viewer.scales import GAMMA, SIGMA, Scale
from taichi_softras.viewer.scene import Scene
from taichi_softras.viewer.state import ViewState

_KEY_STEP = 0.03
_ORBIT_STEP = 0.04
# What takes longer than this beside rendering does so once: typefaces, the window's first frame.
_SLOW_FRAME = 0.03


class Session:
    """A scene, a state, and the frame that shows both.

    Args:
        scene: What is looked at.
        state: Where to begin.
        out: Folder that pictures are saved in.
    """

    def __init__(
        self, scene: Scene, state: ViewState | None = None, out: Path = Path("out/view")
    ) -> None:
        runtime.init()  # in this thread, for the fit launches its kernels from another one
        self.scene, self.out = scene, out
        self.start = state or ViewState()
        self.state = self.start
        self.running = True
        self.message = ""
        self.alert = ""
        self.frame_seconds = 0.0
        self._frame = Frame()
        self.fit = FitView(scene, panel.PICTURE)
        self.contents: dict[str, Content] = {
            "render": RenderView(scene, panel.PICTURE),
            "gradient": GradientView(scene, panel.PICTURE),
            "fit": self.fit,
        }
        self._fixed = self._paint_seconds = 0.0
        self._held: Placed | str | None = None
        self._pointer = (0.0, 0.0)
        self._job: Iterator[str] | None = None
        self._painted: object = None
        self._actions = self._named_actions()

    @property
    def image(self) -> Image.Image:
        """The frame as it was last painted; the next `advance` paints over it."""
        return self._frame.image

    @property
    def content(self) -> Content:
        """The view that is shown."""
        return self.contents[self.state.view]

    def handle(self, event: Event) -> None:
        """React to the pointer or a key."""
        if isinstance(event, Key):
            if event.name in panel.KEYS:
                self.act(panel.KEYS[event.name][0])
            return
        if event.kind == "press":
            self._press(event)
        elif event.kind == "move":
            self._drag(event)
        elif event.kind == "release":
            self._held = None
        elif event.kind == "wheel":
            self._wheel(event)
        self._pointer = (event.x, event.y)

    def act(self, name: str) -> None:
        """Do what a button or key is for."""
        self.alert = ""
        verb, _, what = name.partition(" ")
        if verb == "preset":
            self.state = self.state.preset(what)
        elif verb == "view":
            self.state = replace(self.state, view=what)  # type: ignore[arg-type]
        else:
            self._actions[name]()

    def set(self, field: str, value: float | str) -> None:
        """Set a field of the state, as a slider or a choice does."""
        change: dict[str, object] = {field: value}
        if field in ("fit_sigma", "fit_gamma"):
            change["softness"] = "sliders"
        self.state = replace(self.state, **change)  # type: ignore[arg-type]

    def advance(self) -> bool:
        """Work for about one frame; say whether `image` changed."""
        start = time.perf_counter()
        moving = self._held is not None
        working = self._work()
        try:
            self._follow_schedule()
            drawn = self.content.update(self.state, moving=moving, fixed=self._fixed)
        except SoftRasError as error:  # such as a sigma that makes too many tile entries
            self.alert, drawn = str(error), False
        rendered = time.perf_counter()
        now = (self.state, self.message, self.alert)
        if not (drawn or working or now != self._painted):
            return False
        self._paint()
        self._painted = now
        self._paint_seconds = time.perf_counter() - rendered
        self.frame_seconds = time.perf_counter() - start
        return True

    def presented(self, seconds: float) -> None:
        """Hear how long the window took to show a frame."""
        self.frame_seconds += seconds
        fixed = min(self._paint_seconds + seconds, _SLOW_FRAME)
        self._fixed = fixed if self._fixed == 0.0 else 0.7 * self._fixed + 0.3 * fixed

    @property
    def busy(self) -> bool:
        """Whether `advance` has anything to do before the next event."""
        return self._job is not None or not self.content.resting

    def settle(self, seconds: float = 60.0) -> Image.Image:
        """Advance until nothing changes any more, and return the frame."""
        end = time.perf_counter() + seconds
        self.advance()
        while self.busy and time.perf_counter() < end:
            self.advance()
        self.advance()
        return self.image

    def close(self) -> None:
        """End what runs in the background."""
        self.running = False
        self.fit.close()

    def _named_actions(self) -> dict[str, Callable[[], None]]:
        fit = self.fit
        return {
            "sigma down": lambda: self._soften("sigma", SIGMA, -_KEY_STEP),
            "sigma up": lambda: self._soften("sigma", SIGMA, _KEY_STEP),
            "gamma down": lambda: self._soften("gamma", GAMMA, -_KEY_STEP),
            "gamma up": lambda: self._soften("gamma", GAMMA, _KEY_STEP),
            "orbit left": lambda: self._orbit(-_ORBIT_STEP, 0.0),
            "orbit right": lambda: self._orbit(_ORBIT_STEP, 0.0),
            "orbit up": lambda: self._orbit(0.0, _ORBIT_STEP),
            "orbit down": lambda: self._orbit(0.0, -_ORBIT_STEP),
            "zoom in": lambda: self._zoom(1.0),
            "zoom out": lambda: self._zoom(-1.0),
            "reset view": self._reset,
            "picture": lambda: self._save("picture", ".png", saving.write_picture),
            "sigma gif": lambda: self._save("sigma", ".gif", saving.write_sigma_sweep),
            "gamma gif": lambda: self._save("gamma", ".gif", saving.write_gamma_sweep),
            "sheet": lambda: self._save("sheet", ".png", saving.write_sheet),
            "python": lambda: self._save("settings", ".py", saving.write_python),
            "play": lambda: fit.toggle(self.state),
            "step": lambda: fit.step_once(self.state),
            "reset fit": lambda: fit.reset(self.state),
            "help": self._toggle_help,
            "quit": self.close,
        }

    def _press(self, event: Pointer) -> None:
        if not panel.PANEL.holds(event.x, event.y):
            self._held = "orbit" if event.button == "left" else "zoom"
            return
        found: Hit | None = hit(panel.placed_controls(self.state.view), event.x, event.y)
        if found is None:
            return
        control = found.placed.control
        if isinstance(control, Slider):
            self._held = found.placed
            self.set(control.field, slid(found.placed, event.x))
        elif isinstance(control, Choice):
            self.set(control.field, found.value)
        else:
            self.act(found.value)

    def _drag(self, event: Pointer) -> None:
        held, side = self._held, min(panel.PICTURE.width, panel.PICTURE.height)
        right = (event.x - self._pointer[0]) / side
        up = (self._pointer[1] - event.y) / side
        if isinstance(held, Placed) and isinstance(held.control, Slider):
            self.set(held.control.field, slid(held, event.x))
        elif held == "orbit":
            self._orbit(right, up)
        elif held == "zoom":
            self._zoom(20.0 * up)

    def _wheel(self, event: Pointer) -> None:
        found = hit(panel.placed_controls(self.state.view), event.x, event.y)
        if panel.PICTURE.holds(event.x, event.y):
            self._zoom(event.notches)
        elif found is not None and isinstance(found.placed.control, Slider):
            control = found.placed.control
            self._nudge(control.field, control.scale, _KEY_STEP * event.notches)

    def _orbit(self, right: float, up: float) -> None:
        self.state = self.state.orbited(right, up)

    def _zoom(self, notches: float) -> None:
        self.state = self.state.zoomed(notches)

    def _nudge(self, field: str, scale: Scale, by: float) -> None:
        self.set(field, scale.value(scale.fraction(getattr(self.state, field)) + by))

    def _soften(self, field: str, scale: Scale, by: float) -> None:
        self._nudge(f"fit_{field}" if self.state.view == "fit" else field, scale, by)

    def _reset(self) -> None:
        self.state = replace(self.start, view=self.state.view)

    def _toggle_help(self) -> None:
        self.state = replace(self.state, help=not self.state.help)

    def _save(
        self, stem: str, suffix: str, write: Callable[[Path, Scene, ViewState], Iterator[str]]
    ) -> None:
        self._job = write(saving.free_name(self.out, stem, suffix), self.scene, self.state)

    def _work(self) -> bool:
        """Do the next part of what is being saved."""
        if self._job is None:
            return False
        try:
            self.message = next(self._job)
        except StopIteration:
            self._job = None
        except (SoftRasError, OSError) as error:
            self._job, self.alert = None, f"Not saved: {error}"
        return True

    def _follow_schedule(self) -> None:
        """Move the sliders with a fit that sets its own softness."""
        if self.state.view == "fit" and self.state.softness == "schedule":
            sigma, gamma = self.fit.softness(self.state)
            self.state = replace(self.state, fit_sigma=sigma, fit_gamma=gamma)

    def _paint(self) -> None:
        lines = [f"frame {1e3 * self.frame_seconds:.0f} ms"]
        if self.frame_seconds > 0.0:
            lines[0] += f", {1.0 / self.frame_seconds:.0f} a second"
        lines += [*self.content.status(self.state), self.message or "h: help"]
        alert = self.alert or (self.fit.error if self.state.view == "fit" else "")
        self._frame.paint(self.content, self.state, lines, alert)
