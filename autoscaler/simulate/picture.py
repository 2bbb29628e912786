"""A replay as an SVG picture: demand, warm and billed replicas over time, one band per scored day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.trace import MINUTES_PER_DAY

_WIDTH = 1440
_DAY_HEIGHT = 120
_EVERY_MIN = 2
_STYLE = (("billed", "#d9d9d9", "fill"), ("warm", "#8fb8de", "fill"), ("demand", "#b2182b", "line"))

Floats = npt.NDArray[np.float64]


def svg(demand: Floats, warm: Floats, billed: Floats) -> str:
    """Three series per minute, in replicas, as a standalone SVG document."""
    days = -(-len(demand) // MINUTES_PER_DAY)
    top = max(1.0, float(max(demand.max(), billed.max())))
    bands = [_band(day, top, (billed, warm, demand)) for day in range(days)]
    size = f'width="{_WIDTH}" height="{days * _DAY_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n' + "\n".join(bands) + "\n</svg>\n"


def _band(day: int, top: float, series: tuple[Floats, Floats, Floats]) -> str:
    minutes = slice(day * MINUTES_PER_DAY, (day + 1) * MINUTES_PER_DAY)
    shapes = [_shape(values[minutes], top, colour, kind) for values, (_, colour, kind) in zip(series, _STYLE, strict=True)]
    legend = " ".join(f'<tspan fill="{colour}">{name}</tspan>' for name, colour, _ in _STYLE)
    label = f'<text x="4" y="12">day {day + 1}, full height {top:.0f} replicas: {legend}</text>'
    return f'<g transform="translate(0 {day * _DAY_HEIGHT})">{"".join(shapes)}{label}</g>'


def _shape(values: Floats, top: float, colour: str, kind: str) -> str:
    points = [(at, _height(value, top)) for at, value in enumerate(values.tolist()) if at % _EVERY_MIN == 0]
    path = " ".join(f"{x},{y:.1f}" for x, y in points)
    if kind == "line":
        return f'<polyline points="{path}" fill="none" stroke="{colour}"/>'
    return f'<polygon points="0,{_DAY_HEIGHT} {path} {points[-1][0]},{_DAY_HEIGHT}" fill="{colour}"/>'


def _height(value: float, top: float) -> float:
    return _DAY_HEIGHT * (1 - 0.95 * value / top)
