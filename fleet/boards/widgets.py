"""Widgets of a Datadog dashboard (API v1), and how they flow: left to right in rows of twelve columns.

A widget is a JSON object with a size; where it stands is the group's matter. Says nothing about what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Json = dict[str, object]
Comparator = Literal[">", ">=", "<", "<="]
Palette = Literal["white_on_red", "white_on_yellow", "white_on_green"]

_COLUMNS: Final = 12
_TITLE_ROWS: Final = 1


@dataclass(frozen=True, slots=True)
class Widget:
    """`definition` as the API takes it; `width` of twelve columns, `height` in rows."""

    definition: Json
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Marker:
    """A horizontal line, in the unit of the graph."""

    value: float
    label: str
    kind: Literal["error", "warning", "info"] = "error"

    def json(self) -> Json:
        return {"value": f"y = {self.value:g}", "display_type": f"{self.kind} dashed", "label": self.label}


@dataclass(frozen=True, slots=True)
class Rule:
    """Colours a number."""

    comparator: Comparator
    value: float
    palette: Palette

    def json(self) -> Json:
        return {"comparator": self.comparator, "value": self.value, "palette": self.palette}


def note(text: str) -> Widget:
    definition: Json = {"type": "note", "content": text, "background_color": "white", "font_size": "14", "text_align": "left"}
    return Widget(definition | {"vertical_align": "center", "show_tick": False, "has_padding": True}, _COLUMNS, 1)


def number(title: str, queries: Mapping[str, str], formula: str = "", *, rules: Sequence[Rule] = (), unit: str = "") -> Widget:
    """One value for the time shown, with its course behind it. `formula`: of the queries' names; empty: the only query."""
    request: Json = {
        "response_format": "scalar",
        "queries": [_scalar(name, query, "last") for name, query in queries.items()],
        "formulas": [{"formula": formula or next(iter(queries))}],
    }
    if rules:
        request["conditional_formats"] = [rule.json() for rule in rules]
    shown: Json = {"autoscale": not unit, "precision": 2, "timeseries_background": {"type": "area"}} | (
        {"custom_unit": unit} if unit else {}
    )
    return Widget({"type": "query_value", "title": title, "requests": [request], **shown}, 2, 2)


def series(
    title: str,
    queries: Mapping[str, str],
    formulas: Mapping[str, str] | None = None,
    *,
    markers: Sequence[Marker] = (),
    display: Literal["line", "bars", "area"] = "line",
    events: str = "",
    width: int = 6,
) -> Widget:
    """Lines over time. `formulas`: alias -> formula; None: every query as it is. `events`: a search for events laid over it."""
    request: Json = {
        "response_format": "timeseries",
        "queries": [_query(name, query) for name, query in queries.items()],
        "formulas": _formulas(queries, formulas),
        "display_type": display,
    }
    definition: Json = {"type": "timeseries", "title": title, "show_legend": True, "legend_layout": "auto", "requests": [request]}
    if markers:
        definition["markers"] = [marker.json() for marker in markers]
    if events:
        definition["events"] = [{"q": events}]
    return Widget(definition, width, 3)


def log_series(title: str, search: str, by: str, *, width: int = 6) -> Widget:
    """Log lines a bucket, by a facet."""
    group: Json = {"facet": by, "limit": 10, "sort": {"aggregation": "count", "order": "desc"}}
    query: Json = {"data_source": "logs", "name": "a", "indexes": ["*"], "compute": {"aggregation": "count"}}
    query |= {"search": {"query": search}, "group_by": [group]}
    request: Json = {"response_format": "timeseries", "queries": [query], "formulas": [{"formula": "a"}], "display_type": "bars"}
    return Widget({"type": "timeseries", "title": title, "show_legend": True, "requests": [request]}, width, 3)


def top(title: str, queries: Mapping[str, str], formula: str = "", *, width: int = 4) -> Widget:
    request: Json = {
        "response_format": "scalar",
        "queries": [_scalar(name, query, "avg") for name, query in queries.items()],
        "formulas": [{"formula": formula or next(iter(queries)), "limit": {"count": 10, "order": "desc"}}],
    }
    return Widget({"type": "toplist", "title": title, "requests": [request]}, width, 3)


def events(title: str, search: str, *, width: int = 12) -> Widget:
    columns = [{"field": "timestamp", "width": "auto"}, {"field": "message", "width": "auto"}]
    query: Json = {"data_source": "event_stream", "query_string": search, "event_size": "s"}
    request: Json = {"response_format": "event_list", "columns": columns, "query": query}
    return Widget({"type": "list_stream", "title": title, "requests": [request]}, width, 4)


def monitors(title: str, search: str, *, width: int = 8) -> Widget:
    """The monitors that a search finds, worst first."""
    shown: Json = {"display_format": "countsAndList", "color_preference": "text", "hide_zero_counts": True}
    shown |= {"summary_type": "monitors", "sort": "status,asc", "show_last_triggered": True, "show_priority": True}
    return Widget({"type": "manage_status", "title": title, "query": search, **shown}, width, 4)


def objectives(title: str, search: str, *, width: int = 4) -> Widget:
    request: Json = {"request_type": "slo_list", "query": {"query_string": search, "limit": 10}}
    return Widget({"type": "slo_list", "title": title, "requests": [request]}, width, 4)


def group(title: str, colour: str, widgets: Sequence[Widget]) -> Widget:
    """A group as wide as the board, its widgets flowing in rows."""
    placed, height = _flow(widgets)
    definition: Json = {"type": "group", "title": title, "background_color": colour, "layout_type": "ordered", "show_title": True}
    return Widget(definition | {"widgets": placed}, _COLUMNS, height + _TITLE_ROWS)


def column(groups: Sequence[Widget]) -> list[Json]:
    """Groups, one below the other."""
    return _flow(groups)[0]


def _flow(widgets: Sequence[Widget]) -> tuple[list[Json], int]:
    """The widgets with their places, and how many rows they take."""
    placed: list[Json] = []
    x = y = row = 0
    for widget in widgets:
        if x + widget.width > _COLUMNS:
            x, y, row = 0, y + row, 0
        layout: Json = {"x": x, "y": y, "width": widget.width, "height": widget.height}
        placed.append({"definition": widget.definition, "layout": layout})
        x, row = x + widget.width, max(row, widget.height)
    return placed, y + row


def _query(name: str, query: str) -> Json:
    return {"data_source": "metrics", "name": name, "query": query}


def _scalar(name: str, query: str, level: Literal["last", "avg"]) -> Json:
    """`level`: what stands for a gauge over the time shown; counts are added up, percentiles taken anew over all of it."""
    aggregator = "sum" if query.endswith(".as_count()") else "percentile" if query.startswith("p") else level
    return _query(name, query) | {"aggregator": aggregator}


def _formulas(queries: Mapping[str, str], formulas: Mapping[str, str] | None) -> list[Json]:
    if formulas is None:
        return [{"formula": name, "alias": name.replace("_", " ")} for name in queries]
    return [{"formula": formula, "alias": alias} for alias, formula in formulas.items()]
