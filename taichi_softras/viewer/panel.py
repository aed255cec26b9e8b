"""Which controls each view has, where the pictures go, and what the keys do."""

from functools import cache
from typing import get_args

from taichi_softras.settings import Alpha, Color, Distance
from taichi_softras.viewer import scales, state
from taichi_softras.viewer.controls import (
    Box,
    Buttons,
    Choice,
    Control,
    Heading,
    Placed,
    Slider,
    lay_out,
)

FRAME = (1280, 800)
"""Width and height of the whole frame, in pixels."""
PANEL = Box(0, 0, 304, FRAME[1])
PICTURE = Box(PANEL.width, 0, FRAME[0] - PANEL.width, FRAME[1])
STATUS = Box(14, FRAME[1] - 108, PANEL.width - 28, 100)
"""Where the frame time and the like are written."""
STATUS_LINES = 6

_SOFTNESS: tuple[Control, ...] = (
    Heading("Softness"),
    Slider("sigma", "sigma: edges", scales.SIGMA),
    Slider("gamma", "gamma: depths", scales.GAMMA),
)
_RENDER: tuple[Control, ...] = (
    *_SOFTNESS,
    Slider("dist_eps", "dist_eps: least coverage", scales.DIST_EPS),
    Choice("depth_range", "depths", get_args(state.DepthRange)),
    Buttons(tuple((f"preset {name}", name) for name in state.PRESETS)),
    Heading("Blending"),
    Choice("distance", "distance", get_args(Distance)),
    Choice("alpha", "alpha", get_args(Alpha)),
    Choice("color", "colour", get_args(Color)),
    Choice("show", "show", get_args(state.Show)),
    Heading("Light and background"),
    Slider("light_azimuth", "light: about y", scales.TURN),
    Slider("light_elevation", "light: height", scales.LIFT),
    Slider("ambient", "ambient", scales.SHARE),
    Choice("background", "behind", get_args(state.Background)),
    Heading("Save"),
    Buttons((("picture", "picture"), ("sheet", "contact sheet"), ("python", "copy Python"))),
    Buttons((("sigma gif", "GIF of sigma"), ("gamma gif", "GIF of gamma"))),
)
_GRADIENT: tuple[Control, ...] = (
    *_SOFTNESS,
    Heading("Loss against a target"),
    Choice("target", "target", get_args(state.Target)),
    Slider("amount", "how far off", scales.SHARE),
    Choice("loss", "loss", get_args(state.Loss)),
    Heading("Loss along one freedom"),
    Choice("freedom", "freedom", get_args(state.Freedom)),
    Heading("Blending"),
    Choice("distance", "distance", get_args(Distance)),
    Choice("alpha", "alpha", get_args(Alpha)),
    Heading("Save"),
    Buttons((("picture", "picture"), ("python", "copy Python"))),
)
_FIT: tuple[Control, ...] = (
    Heading("Softness of the fit"),
    Slider("fit_sigma", "sigma: edges", scales.SIGMA),
    Slider("fit_gamma", "gamma: depths", scales.GAMMA),
    Choice("softness", "set by", get_args(state.Softness)),
    Heading("Fit"),
    Choice("fit", "what", get_args(state.Fit)),
    Buttons((("play", "run / pause"), ("step", "step"), ("reset fit", "reset"))),
    Heading("Save"),
    Buttons((("picture", "picture"), ("python", "copy Python"))),
)
_CONTROLS: dict[str, tuple[Control, ...]] = {
    "render": _RENDER,
    "gradient": _GRADIENT,
    "fit": _FIT,
}

KEYS: dict[str, tuple[str, str]] = {
    "1": ("view render", "render view"),
    "2": ("view gradient", "gradient view"),
    "3": ("view fit", "fit view"),
    "z": ("sigma down", "less sigma: sharper edges"),
    "x": ("sigma up", "more sigma: softer edges"),
    "v": ("gamma down", "less gamma: more opaque"),
    "b": ("gamma up", "more gamma: more transparent"),
    "left": ("orbit left", "turn the mesh"),
    "right": ("orbit right", "turn the mesh"),
    "up": ("orbit up", "tilt the mesh"),
    "down": ("orbit down", "tilt the mesh"),
    "i": ("zoom in", "nearer"),
    "o": ("zoom out", "farther away"),
    "r": ("reset view", "camera and settings as at the start"),
    "s": ("picture", "save the picture"),
    "g": ("sigma gif", "save a GIF of a sweep of sigma"),
    "t": ("gamma gif", "save a GIF of a sweep of gamma"),
    "c": ("sheet", "save a contact sheet, sigma by gamma"),
    "p": ("python", "copy the settings as Python"),
    " ": ("play", "fit: run or pause"),
    "n": ("step", "fit: one step"),
    "f": ("reset fit", "fit: start again"),
    "h": ("help", "this help"),
    "q": ("quit", "leave"),
    "escape": ("quit", "leave"),
}
"""What each key does, and the line about it in the help."""

TABS = Placed(Choice("view", "", get_args(state.View)), Box(14, 12, PANEL.width - 28, 30))


@cache
def placed_controls(view: str) -> tuple[Placed, ...]:
    """Return the controls of a view, tabs first, with their places in the panel."""
    area = Box(14, 50, PANEL.width - 28, STATUS.y - 56)
    return (TABS, *lay_out(_CONTROLS[view], area))
