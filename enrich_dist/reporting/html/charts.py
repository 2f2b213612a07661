"""Charts as plotly figures, which the page's script draws (``data/page.js``).

A colour is the name of a variable in the style sheet: ``var:matched`` stands for ``--matched``, so that charts follow
the light or dark scheme of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_BAR_PIXELS = 30
_AROUND_PIXELS = 30
STATUS_COLOURS = {"matched": "var:matched", "review": "var:review", "unmatched": "var:unmatched"}


@dataclass(frozen=True)
class Chart:
    """A chart with its text alternative (``summary``)."""

    key: str
    title: str
    summary: str
    figure: dict[str, Any]
    height_pixels: int = 320
    square: bool = False


@dataclass(frozen=True)
class Share:
    """A bar with its text; ``detail`` is added on wide screens. ``pale``: too few items to compare."""

    label: str
    value: float
    text: str
    detail: str = ""
    pale: bool = False

    @property
    def colour(self) -> str:
        """Colour of the bar."""
        return "var:unmatched" if self.pale else "var:matched"

    @property
    def whole_text(self) -> str:
        """Text with detail."""
        return f"{self.text} {self.detail}".strip()


def shares(key: str, title: str, summary: str, rows: Sequence[Share]) -> Chart:
    """Return horizontal bars, the first row on top."""
    trace = _bars(
        [row.value for row in rows],
        list(range(len(rows))),
        [row.colour for row in rows],
        orientation="h",
        text=[row.whole_text for row in rows],
        meta={"short": [row.text for row in rows]},  # for narrow screens
        textposition="outside",
        cliponaxis=False,
        customdata=[f"{row.label}: {row.whole_text}" for row in rows],
    )
    # The longest bar needs space for its text.
    width = max(1.7 * max((row.value for row in rows), default=1.0), 0.01)
    layout = {"xaxis": {"range": [0, width], "visible": False}, "yaxis": _labels([row.label for row in rows])}
    return Chart(key, title, summary, {"data": [trace], "layout": layout}, _AROUND_PIXELS + _BAR_PIXELS * len(rows))


def columns_of_shares(key: str, title: str, summary: str, rows: Sequence[Share], axis: str) -> Chart:
    """Return vertical bars of shares in the order given, for many values such as years."""
    trace = _bars(
        [row.label for row in rows],
        [row.value for row in rows],
        [row.colour for row in rows],
        customdata=[f"{row.label}: {row.whole_text}" for row in rows],
    )
    layout = {"xaxis": _axis(axis, type="category", nticks=12), "yaxis": {"tickformat": ".0%"}}
    return Chart(key, title, summary, {"data": [trace], "layout": layout})


def stacked(
    key: str,
    title: str,
    summary: str,
    *,
    bins: Sequence[tuple[float, float]],
    counts: dict[str, Sequence[int]],
    axis: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Return counts by bin, stacked by status; ``marks`` are vertical lines with a text."""
    centres = [(low + high) / 2 for low, high in bins]
    middle = centres[len(centres) // 2]
    data = [
        _bars(
            centres,
            list(values),
            STATUS_COLOURS[status],
            f"%{{customdata}}: %{{y:,}} {status}",
            name=status,
            width=[high - low for low, high in bins],
            customdata=[f"{low:g} to {high:g}" for low, high in bins],
        )
        for status, values in counts.items()
    ]
    layout = {
        "barmode": "stack",
        "xaxis": _axis(axis),
        "yaxis": _axis("companies"),
        "shapes": [_dashed("var:ink", x0=at, x1=at, y0=0, y1=1, yref="paper") for at, _ in marks],
        "annotations": [
            {"x": at, "y": 1 - 0.1 * number, "yref": "paper", "text": text, "showarrow": False, "yanchor": "top",
             "xanchor": "right" if at > middle else "left", "xshift": -4 if at > middle else 4}
            for number, (at, text) in enumerate(marks)
        ],
    }  # fmt: skip
    return Chart(key, title, summary, {"data": data, "layout": layout}, 360)


def calibration(
    key: str,
    title: str,
    summary: str,
    points: Sequence[tuple[float, float, float, float, int]],
    axis: str = "match probability without identifiers",
) -> Chart:
    """Return a calibration curve; a point is (mean probability, share correct, low, high, companies)."""
    line = {"color": "var:muted", "dash": "dash", "width": 1.5}
    diagonal = {"mode": "lines", "name": "calibrated", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip", "line": line}
    measured = {
        "mode": "markers",
        "name": "measured, with 95% interval",
        "x": [mean for mean, *_ in points],
        "y": [share for _, share, *_ in points],
        "error_y": {
            "array": [high - share for _, share, _, high, _ in points],
            "arrayminus": [share - low for _, share, low, _, _ in points],
            "color": "var:matched",
        },
        "customdata": [companies for *_, companies in points],
        "hovertemplate": "probability %{x:.3f}, correct %{y:.1%} of %{customdata:,} companies<extra></extra>",
        "marker": {"color": "var:matched", "size": 10},
    }
    titles = {"xaxis": axis, "yaxis": "share correct"}
    layout = {axis: _axis(title, range=[-0.03, 1.03], tickformat=".0%") for axis, title in titles.items()}
    return Chart(key, title, summary, {"data": [diagonal, measured], "layout": layout}, 420, square=True)


@dataclass(frozen=True)
class Bar:
    """A period on a row of the timeline."""

    row: str
    start_seconds: float
    end_seconds: float
    text: str


def timeline(key: str, title: str, summary: str, *, finished: Sequence[Bar], failed: Sequence[Bar]) -> Chart:
    """Return attempts over time, one row per worker; times in seconds since matching began."""
    rows = sorted({bar.row for bar in (*finished, *failed)}, key=lambda row: (len(row), row))
    place = {row: number for number, row in enumerate(rows)}
    data = [
        _bars(
            [round(bar.end_seconds - bar.start_seconds, 3) for bar in bars],
            [place[bar.row] for bar in bars],
            colour,
            orientation="h",
            name=name,
            base=[bar.start_seconds for bar in bars],
            customdata=[bar.text for bar in bars],
        )
        for name, bars, colour in (("finished", finished, "var:matched"), ("failed", failed, "var:bad"))
        if bars
    ]
    layout = {
        "barmode": "overlay",
        "bargap": 0.35,
        "xaxis": _axis("seconds since matching began", rangemode="tozero"),
        "yaxis": _labels(rows),
        "meta": {"zoom": True},
    }
    return Chart(key, title, summary, {"data": data, "layout": layout}, 130 + 28 * len(rows))


def memory(key: str, title: str, summary: str, rows: Sequence[tuple[str, float, float, float | None]]) -> Chart:
    """Return bars per worker; a row is (label, projected, measured, limit or None), in MB."""
    labels = [label for label, *_ in rows]
    data = [
        _bars(
            [row[column] for row in rows],
            list(range(len(rows))),
            colour,
            f"%{{customdata}}: {name} %{{x:,.0f}} MB",
            orientation="h",
            name=name,
            customdata=labels,
        )
        for name, column, colour in (("measured peak", 2, "var:matched"), ("projected", 1, "var:unmatched"))
    ]
    limits = [(place, limit) for place, (*_, limit) in enumerate(rows) if limit is not None]
    if limits:
        ys, xs = zip(*limits, strict=True)
        data.append(_marks("limit", xs, ys, "limit %{x:,.0f} MB<extra></extra>"))
    layout = {"xaxis": _axis("MB", rangemode="tozero"), "yaxis": _labels(labels)}
    return Chart(key, title, summary, {"data": data, "layout": layout}, 150 + 50 * len(rows))


@dataclass(frozen=True)
class Change:
    """A relative change (0.1: +10%) with its interval, and the limit that it is compared with."""

    label: str
    value: float
    low: float
    high: float
    limit: float | None
    is_bad: bool


def changes(key: str, title: str, summary: str, rows: Sequence[Change]) -> Chart:
    """Return a point with its interval per row, the first row on top, and the limits as marks."""
    colours = ["var:bad" if row.is_bad else "var:matched" for row in rows]
    points = {
        "mode": "markers",
        "name": "change",
        "x": [round(row.value, 4) for row in rows],
        "y": list(range(len(rows))),
        "error_x": {
            "array": [round(row.high - row.value, 4) for row in rows],
            "arrayminus": [round(row.value - row.low, 4) for row in rows],
            "color": "var:muted",
        },
        "customdata": [row.label for row in rows],
        "hovertemplate": "%{customdata}: %{x:+.1%}<extra></extra>",
        "marker": {"color": colours, "size": 10},
    }
    limits = [(place, row.limit) for place, row in enumerate(rows) if row.limit is not None]
    data = [points]
    if limits:
        ys, xs = zip(*limits, strict=True)
        data.append(_marks("limit", xs, ys, "limit %{x:+.0%}<extra></extra>"))
    layout = {"xaxis": _axis("", tickformat="+.0%", zeroline=True), "yaxis": _labels([row.label for row in rows])}
    return Chart(key, title, summary, {"data": data, "layout": layout}, 100 + _BAR_PIXELS * len(rows))


def lines(
    key: str,
    title: str,
    summary: str,
    series: Sequence[tuple[str, Sequence[float | str], Sequence[float | None]]],
    *,
    x_title: str = "",
    y_title: str = "",
    limit: float | None = None,
    share: bool = False,
) -> Chart:
    """Return a line per series (name, x, y); ``limit`` is a horizontal line. Colours repeat after the sixth series."""
    data = [
        {
            "mode": "lines+markers",
            "name": name,
            "x": list(xs),
            "y": list(ys),
            "line": {"color": f"var:line{number % 6}"},
            "marker": {"size": 5},
        }
        for number, (name, xs, ys) in enumerate(series)
    ]
    layout: dict[str, Any] = {
        "xaxis": _axis(x_title),
        "yaxis": _axis(y_title, rangemode="tozero", **({"tickformat": ".0%"} if share else {})),
        "meta": {"zoom": True},
    }
    if limit is not None:
        layout["shapes"] = [_dashed("var:bad", x0=0, x1=1, xref="paper", y0=limit, y1=limit)]
        layout["annotations"] = [
            {"x": 1, "xref": "paper", "y": limit, "text": "limit", "showarrow": False, "xanchor": "right",
             "yanchor": "bottom"}
        ]  # fmt: skip
        # plotly ignores shapes when it sets the range of an axis.
        layout["yaxis"]["range"] = [0, 1.08 * max([limit, *(y for _, _, ys in series for y in ys if y is not None)])]
    return Chart(key, title, summary, {"data": data, "layout": layout}, 340)


def _bars(
    x: Sequence[object], y: Sequence[object], colour: object, hover: str = "%{customdata}", **options: Any
) -> dict[str, Any]:
    """Return a trace of bars, with lines between those that touch."""
    marker = {"color": colour, "line": {"color": "var:paper", "width": 1}}
    return {"type": "bar", "x": x, "y": y, "marker": marker, "hovertemplate": f"{hover}<extra></extra>", **options}


def _marks(name: str, xs: Sequence[float], ys: Sequence[float], hover: str) -> dict[str, Any]:
    """Return a trace of vertical marks across the rows of a chart."""
    marker = {"color": "var:bad", "symbol": "line-ns", "size": 22, "line": {"color": "var:bad", "width": 3}}
    return {"mode": "markers", "name": name, "x": xs, "y": ys, "hovertemplate": hover, "marker": marker}


def _dashed(colour: str, **ends: Any) -> dict[str, Any]:
    return {"type": "line", "line": {"color": colour, "width": 1.5, "dash": "dash"}, **ends}


def _axis(title: str, **options: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **options}


def _labels(labels: Sequence[str]) -> dict[str, Any]:
    """Return a vertical axis of labelled rows, the first on top."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "range": [len(labels) - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
    }
