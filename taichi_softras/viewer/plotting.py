"""Curves in a box, drawn with PIL: fast enough for every frame."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import ImageDraw

from taichi_softras.viewer.controls import Box
from taichi_softras.viewer.painting import CURVES, DIM, FAINT, INK, font


class Curve(NamedTuple):
    """A line of a plot."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def paint_plot(
    draw: ImageDraw.ImageDraw,
    area: Box,
    curves: Sequence[Curve],
    *,
    x_label: str,
    mark: float | None = None,
    logarithmic: bool = False,
) -> None:
    """Draw curves with their axes; values that are not finite leave gaps.

    Args:
        draw: Of the frame.
        area: Where.
        curves: Each in its own colour, with the labels in a row above.
        x_label: Under the axis.
        mark: A place on the x axis to mark with a vertical line.
        logarithmic: Equal ways up multiply the values, which must then be positive to be drawn.
    """
    box = Box(area.x + 58, area.y + 26, area.width - 76, area.height - 68)
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for y in curve.y if _drawable(y, logarithmic)]
    draw.rectangle((box.x, box.y, box.x + box.width, box.y + box.height), outline=FAINT)
    middle = box.x + box.width / 2
    draw.text((middle, box.y + box.height + 30), x_label, DIM, font(12), "mm")
    _paint_legend(draw, curves, box)
    if not ys:
        return
    x_range, y_range = _span(xs, pad=0.0), _y_span(ys, logarithmic)
    for i in range(3):
        t = i / 2.0
        value = y_range[0] + t * (y_range[1] - y_range[0])
        shown = 10.0**value if logarithmic else value
        y = box.y + box.height * (1.0 - t)
        draw.line((box.x, y, box.x + box.width, y), FAINT)
        draw.text((box.x - 6, y), f"{shown:.2g}", DIM, font(11), "rm")
        at = x_range[0] + t * (x_range[1] - x_range[0])
        x = box.x + box.width * t
        draw.text((x, box.y + box.height + 11), f"{at:.3g}", DIM, font(11), "mm")
    if mark is not None and x_range[0] <= mark <= x_range[1]:
        x = box.x + box.width * _share(mark, x_range)
        draw.line((x, box.y, x, box.y + box.height), INK)
    for curve, color in zip(curves, CURVES, strict=False):
        run: list[tuple[float, float]] = []
        for x, y in zip(curve.x, curve.y, strict=True):
            if not _drawable(y, logarithmic):
                _paint_run(draw, run, color)
                run = []
                continue
            height = math.log10(y) if logarithmic else y
            across, up = _share(x, x_range), _share(height, y_range)
            run.append((box.x + box.width * across, box.y + box.height * (1.0 - up)))
        _paint_run(draw, run, color)


def _paint_legend(draw: ImageDraw.ImageDraw, curves: Sequence[Curve], box: Box) -> None:
    x = float(box.x)
    for curve, color in zip(curves, CURVES, strict=False):
        draw.line((x, box.y - 13, x + 18, box.y - 13), color, 3)
        draw.text((x + 24, box.y - 13), curve.label, INK, font(12), "lm")
        x += 44 + font(12).getlength(curve.label)


def _paint_run(draw: ImageDraw.ImageDraw, run: list[tuple[float, float]], color: str) -> None:
    if len(run) > 1:
        draw.line(run, color, 2)
    elif run:
        (x, y) = run[0]
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), color)


def _drawable(y: float, logarithmic: bool) -> bool:
    return math.isfinite(y) and (y > 0.0 or not logarithmic)


def _y_span(ys: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return _span([math.log10(y) for y in ys], pad=0.05)
    return _span([0.0, *ys], pad=0.05)


def _span(values: Sequence[float], pad: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = pad * (high - low)
    return (low, high + room) if high > low else (low, low + 1.0)


def _share(value: float, span: tuple[float, float]) -> float:
    return (value - span[0]) / (span[1] - span[0])
