"""A replay as a picture: demand, warm and billed replicas, and what was late, over time; one band per scored day.

SVG is drawn by shapes and has a legend; PNG by pixels, one column per minute, and is read by its colours: grey billed, blue warm,
red line demand, black from above what was late. Both show the same series. No library: a picture of filled columns needs none.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.trace import MINUTES_PER_DAY

_DAY_HEIGHT = 120
_EVERY_MIN = 2
_COLOURS = {"billed": "#d9d9d9", "warm": "#8fb8de", "demand": "#b2182b", "late": "#000000"}

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Series:
    """Per minute, in replicas. `late`: what found no room in time."""

    demand: Floats
    warm: Floats
    billed: Floats
    late: Floats

    @property
    def days(self) -> int:
        return -(-len(self.demand) // MINUTES_PER_DAY)

    @property
    def top(self) -> float:
        return max(1.0, float(max(self.demand.max(), self.billed.max())))


def svg(series: Series) -> bytes:
    """A standalone SVG document."""
    bands = [_band(series, day) for day in range(series.days)]
    size = f'width="{MINUTES_PER_DAY}" height="{series.days * _DAY_HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, *bands, "</svg>\n"]).encode()


def png(series: Series) -> bytes:
    """A PNG file of 24-bit colour."""
    pixels = np.full((series.days * _DAY_HEIGHT, MINUTES_PER_DAY, 3), 255, dtype=np.uint8)
    for day in range(series.days):
        _draw(pixels[day * _DAY_HEIGHT : (day + 1) * _DAY_HEIGHT], series, _minutes(day))
    return _png(pixels)


def _minutes(day: int) -> slice:
    return slice(day * MINUTES_PER_DAY, (day + 1) * MINUTES_PER_DAY)


def _band(series: Series, day: int) -> str:
    minutes, top = _minutes(day), series.top
    fills = [_shape(values[minutes], top, name, "fill") for name, values in (("billed", series.billed), ("warm", series.warm))]
    lost = [_drop(at, value, top) for at, value in enumerate(series.late[minutes].tolist()) if value > 0]
    shapes = [*fills, _shape(series.demand[minutes], top, "demand", "line"), *lost]
    legend = " ".join(f'<tspan fill="{colour}">{name}</tspan>' for name, colour in _COLOURS.items())
    label = f'<text x="4" y="12">day {day + 1}, full height {top:.0f} replicas: {legend}</text>'
    return f'<g transform="translate(0 {day * _DAY_HEIGHT})">{"".join(shapes)}{label}</g>'


def _shape(values: Floats, top: float, name: str, kind: str) -> str:
    points = [(at, _height(value, top)) for at, value in enumerate(values.tolist()) if at % _EVERY_MIN == 0]
    path = " ".join(f"{x},{y:.1f}" for x, y in points)
    if kind == "line":
        return f'<polyline points="{path}" fill="none" stroke="{_COLOURS[name]}"/>'
    return f'<polygon points="0,{_DAY_HEIGHT} {path} {points[-1][0]},{_DAY_HEIGHT}" fill="{_COLOURS[name]}"/>'


def _drop(at: int, lost: float, top: float) -> str:
    return f'<line x1="{at}" x2="{at}" y1="0" y2="{max(2.0, _DAY_HEIGHT - _height(lost, top)):.1f}" stroke="{_COLOURS["late"]}"/>'


def _height(value: float, top: float) -> float:
    return _DAY_HEIGHT * (1 - 0.95 * value / top)


def _draw(band: Pixels, series: Series, minutes: slice) -> None:
    rows = np.arange(_DAY_HEIGHT)[:, None]
    billed, warm, demand = (_DAY_HEIGHT * (1 - 0.95 * v[minutes] / series.top) for v in (series.billed, series.warm, series.demand))
    lost = 0.95 * _DAY_HEIGHT * series.late[minutes] / series.top
    band = band[:, : len(billed)]
    band[rows >= billed] = _rgb("billed")
    band[rows >= warm] = _rgb("warm")
    band[np.abs(rows - demand) < 1] = _rgb("demand")
    band[(rows < np.maximum(lost, 2)) & (lost > 0)] = _rgb("late")


def _rgb(name: str) -> tuple[int, int, int]:
    text = _COLOURS[name]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _png(pixels: Pixels) -> bytes:
    """PNG's law: a signature, then chunks of length, kind, body and checksum; each row of pixels begins with its filter, 0."""
    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), dtype=np.uint8), pixels.reshape(height, -1)], axis=1)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
