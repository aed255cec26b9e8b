"""Drawing with PIL: text, controls, curves, arrows and heat maps."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from taichi_softras.viewer.controls import Box, Buttons, Choice, Heading, Placed, Slider
from taichi_softras.viewer.state import ViewState

INK, DIM, FAINT = "#e8eaed", "#9aa0a6", "#4a4f57"
GROUND, RAISED, ACCENT, ALERT = "#1f2329", "#343a43", "#5b9dff", "#c5352b"
CURVES = ("#5b9dff", "#9aa0a6", "#f2a33c")


@cache
def font(size: int = 13, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the typeface that comes with matplotlib, so that it is there on every machine."""
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)


def paint_control(draw: ImageDraw.ImageDraw, placed: Placed, state: ViewState) -> None:
    """Draw one control with the state's value."""
    control, (x, y, width, height) = placed.control, placed.box
    if isinstance(control, Heading):
        draw.text((x, y + height - 2), control.text, DIM, font(12, bold=True), "ls")
    elif isinstance(control, Slider):
        value, track = getattr(state, control.field), placed.track
        draw.text((x, y + 9), control.label, INK, font(), "lm")
        draw.text((x + width, y + 9), control.scale.text(value), INK, font(), "rm")
        draw.rounded_rectangle(_corners(track), 4, RAISED)
        knob = round(track.x + control.scale.fraction(value) * (track.width - 1))
        draw.rounded_rectangle((track.x, track.y, knob, track.y + track.height - 1), 4, ACCENT)
        middle = track.y + track.height // 2
        draw.ellipse((knob - 6, middle - 7, knob + 6, middle + 5), INK)
    elif isinstance(control, Choice):
        if control.label:
            draw.text((x, y + height // 2), control.label, INK, font(), "lm")
        for option, cell in zip(control.options, placed.cells, strict=True):
            chosen = getattr(state, control.field) == option
            _button(draw, cell, option, ACCENT if chosen else RAISED, "#0b1626" if chosen else INK)
    elif isinstance(control, Buttons):
        for (_, label), cell in zip(control.actions, placed.cells, strict=True):
            _button(draw, cell, label, RAISED, INK)


def _button(draw: ImageDraw.ImageDraw, box: Box, label: str, fill: str, ink: str) -> None:
    draw.rounded_rectangle(_corners(box), 4, fill)
    size = next((s for s in (13, 12, 11, 10) if font(s).getlength(label) <= box.width - 4), 9)
    middle = (box.x + box.width / 2, box.y + box.height / 2)
    draw.text(middle, label, ink, font(size), "mm")


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.x, box.y, box.x + box.width - 1, box.y + box.height - 1


def wrapped(text: str, width: int, size: int = 13) -> list[str]:
    """Break text into lines that fit a width in pixels; long words are cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while font(size).getlength(word) > width and len(word) > 1:
            cut = next(
                n for n in range(len(word), 0, -1) if font(size).getlength(word[:n]) <= width
            )
            lines[-1], word = word[:cut], word[cut:]  # noqa: PLW2901
            lines.append("")
        lines[-1] = word
    return lines


def paint_help(draw: ImageDraw.ImageDraw, area: Box, keys: Sequence[tuple[str, str]]) -> None:
    """Draw a box over the picture that says what each key does."""
    height, width = 26 * len(keys) + 74, 500
    x, y = area.x + (area.width - width) // 2, area.y + (area.height - height) // 2
    draw.rounded_rectangle((x, y, x + width, y + height), 10, GROUND, ACCENT)
    draw.text((x + 24, y + 28), "Keys and mouse", INK, font(16, bold=True), "lm")
    for i, (key, meaning) in enumerate(keys):
        at = y + 60 + 26 * i
        draw.text((x + 24, at), key, ACCENT, font(14, bold=True), "lm")
        draw.text((x + 190, at), meaning, INK, font(14), "lm")


def paint_alert(draw: ImageDraw.ImageDraw, area: Box, text: str) -> None:
    """Draw a red box at the top of an area that holds a message, however long."""
    lines = wrapped(text, area.width - 64, 14)[:8]
    box = (area.x + 16, area.y + 44, area.x + area.width - 16, area.y + 60 + 22 * len(lines))
    draw.rounded_rectangle(box, 8, ALERT)
    for i, line in enumerate(lines):
        draw.text((area.x + 32, area.y + 63 + 22 * i), line, "#ffffff", font(14), "lm")


def paint_title(draw: ImageDraw.ImageDraw, area: Box, title: str, note: str = "") -> Box:
    """Write a title above a picture and return what is left of the area."""
    draw.text((area.x + 8, area.y + 14), title, INK, font(14, bold=True), "lm")
    draw.text((area.x + area.width - 8, area.y + 14), note, DIM, font(13), "rm")
    return Box(area.x, area.y + 28, area.width, area.height - 28)


def stretched(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Take bytes [H, W, 3] as a picture, enlarged to (width, height) if need be."""
    if pixels.shape[:2] != size[::-1]:
        # a view in which channels are last: 1 ms, against 3 in any other layout and 8 with PIL
        planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2)
        larger = torch.nn.functional.interpolate(planes, size[::-1], mode="bilinear")
        pixels = larger[0].permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))


def heat(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour signed numbers: blue below zero, red above, near white at zero.

    Args:
        values: Of any scale; the largest magnitude gets the full colour. [H, W]

    Returns:
        Bytes. [H, W, 3]
    """
    largest = float(np.abs(values).max(initial=0.0))
    # a square root, for a few large values must not hide all others
    t = np.sign(values) * np.sqrt(np.abs(values) / largest) if largest > 0.0 else 0.0 * values
    white, red, blue = (np.array(c) for c in ((246, 246, 246), (190, 30, 45), (33, 84, 182)))
    end = np.where(t[..., None] > 0.0, red, blue)
    mixed = white + np.abs(t)[..., None] * (end - white)
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def paint_arrows(
    draw: ImageDraw.ImageDraw, starts: NDArray[Any], ends: NDArray[Any], color: str
) -> None:
    """Draw arrows between points in pixels. [N, 2], [N, 2]."""
    for (x0, y0), (x1, y1) in zip(starts.tolist(), ends.tolist(), strict=True):
        draw.line((x0, y0, x1, y1), color, 2)
        length = float(np.hypot(x1 - x0, y1 - y0))
        if length < 3.0:
            continue
        ux, uy, head = (x1 - x0) / length, (y1 - y0) / length, min(8.0, 0.5 * length)
        back = (x1 - head * ux, y1 - head * uy)
        left = (back[0] - 0.5 * head * uy, back[1] + 0.5 * head * ux)
        right = (back[0] + 0.5 * head * uy, back[1] - 0.5 * head * ux)
        draw.polygon(((x1, y1), left, right), color)
