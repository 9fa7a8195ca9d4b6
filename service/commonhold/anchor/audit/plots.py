"""Plots of an audit's numbers as SVG, to stand inside a page. Needs matplotlib: `pip install "commonhold[report]"`.

Colours are those of Okabe and Ito, which colour-blind people tell apart; lines also differ in dashes and marks, so that
a print in grey can be read. Text stays text: it can be searched, and a screen reader speaks it. `ids` sets the ids of
one plot apart from those of others on the same page.
"""

import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from commonhold.anchor.audit.report import Row
from commonhold.anchor.audit.series import ACQUIRED, DELIVERED, OWNED
from commonhold.errors import CommonholdError
from commonhold.units import LEVELS, MS_PER_HOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Color Universal Design, Okabe and Ito, 2008: https://jfly.uni-koeln.de/color/
STYLES: Final = {
    OWNED: ("#0072B2", "-", "o"),
    ACQUIRED: ("#D55E00", "--", "s"),
    DELIVERED: ("#009E73", ":", "^"),
}
LEVEL_COLOURS: Final = ("#BBBBBB", "#E69F00", "#F0E442", "#56B4E9", "#0072B2", "#009E73")
HATCHES: Final = ("", "//", "\\\\", "..", "xx", "--")  # by level: for prints in grey

DAY_S: Final = 86_400  # matplotlib's dates are days since 1970

# What is plotted over time: field, what to divide it by, title, axis with its unit, its upper end.
MEASURES: Final[tuple[tuple[str, int, str, str, float | None], ...]] = (
    ("largest_bps", 100, "Largest group", "share (%)", 100),
    ("hhi", 1, "Herfindahl-Hirschman index", "HHI (0 to 10,000)", 10_000),
    ("gini_bps", 10_000, "Gini coefficient", "Gini (0 to 1)", 1),
    ("nakamoto", 1, "Nakamoto coefficient", "groups with more than half", None),
)


class PlotsMissing(CommonholdError):
    """The library that plots is not installed."""

    status = 501
    code = "plots_missing"


def check() -> None:
    """Plots can be drawn. Raises PlotsMissing."""
    _figure(1, 1)


def over_time(row: Row, ids: str) -> str:
    """Four measures of one class along the chain: owned, acquired and delivered."""
    figure = _figure(7.2, 5.0)
    for at, (field, scale, title, axis, top) in enumerate(MEASURES, start=1):
        axes = figure.add_subplot(2, 2, at)
        for name, (colour, dash, mark) in STYLES.items():
            points = [(point["time_s"], point[field]) for point in row[name] if point[field] is not None]
            if points:
                times = [time_s / DAY_S for time_s, _ in points]
                values = [value / scale for _, value in points]
                how = "steps-post" if name == OWNED else "default"
                axes.plot(
                    times, values, color=colour, linestyle=dash, marker=mark, markersize=3, label=name, drawstyle=how
                )
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_ylabel(axis, fontsize=8)
        axes.set_ylim(0, top)
        _time_axis(axes)
    _legend(figure)
    return _svg(figure, f"Concentration of {row['class']} over time. {_words(row)}", ids)


def lorenz(row: Row, ids: str) -> str:
    """Lorenz curves of one class, as of each newest point."""
    figure = _figure(3.6, 3.4)
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color="#666666", linewidth=0.8, label="all the same")
    for name, (colour, dash, mark) in STYLES.items():
        if row[name] and (curve := row[name][-1]["lorenz_bps"]):
            across, up = ([value / 100 for value in values] for values in zip(*curve, strict=True))
            axes.plot(across, up, color=colour, linestyle=dash, marker=mark, markersize=3, label=name)
    axes.set_xlabel("poorest groups (% of those that hold some)", fontsize=8)
    axes.set_ylabel("what they hold together (%)", fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return _svg(
        figure, f"Lorenz curves of {row['class']}, newest: the further below the diagonal, the less equal.", ids
    )


def gpu_hours(rows: Sequence[Row], name: str, ids: str) -> str:
    """GPU-hours delivered in a class by window, one colour a level."""
    figure = _figure(7.2, 2.6)
    axes = figure.add_subplot()
    starts = sorted({row["starts_at"] for row in rows})
    below = dict.fromkeys(starts, 0.0)
    for level in sorted({row["level"] for row in rows}):
        hours = dict.fromkeys(starts, 0.0)
        for row in rows:
            if row["level"] == level:
                hours[row["starts_at"]] += row["gpu_ms"] / MS_PER_HOUR
        axes.bar(
            [_time(start).strftime("%Y-%m-%d") for start in starts],
            list(hours.values()),
            bottom=list(below.values()),
            color=LEVEL_COLOURS[level],
            hatch=HATCHES[level],
            edgecolor="#333333",
            linewidth=0.4,
            label=f"level {level} {LEVELS[level]}",
        )
        below = {start: below[start] + hours[start] for start in starts}
    axes.set_xlabel("window that begins on (UTC)", fontsize=8)
    axes.set_ylabel("delivered (GPU-hours)", fontsize=8)
    axes.tick_params(labelsize=7)
    if len(starts) > 12:
        axes.set_xticks(axes.get_xticks()[:: len(starts) // 12 + 1])
    figure.legend(loc="outside upper right", ncols=3, fontsize=7, frameon=False)
    total = sum(row["gpu_ms"] for row in rows) / MS_PER_HOUR
    return _svg(
        figure, f"GPU-hours of {name} delivered by window: {total:.3f} in {len(starts)} windows, by level.", ids
    )


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsMissing('a report needs matplotlib: pip install "commonhold[report]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def _time_axis(axes: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel("time (UTC)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.xaxis.get_offset_text().set_fontsize(7)  # the year or the month, which ticks do not repeat
    axes.grid(visible=True, linewidth=0.3)


def _legend(figure: "Figure") -> None:
    shown = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def _words(row: Row) -> str:
    """The newest values, for who does not see the plot."""
    told = []
    for name in (OWNED, ACQUIRED, DELIVERED):
        if row[name]:
            newest = row[name][-1]
            told.append(f"{name}: largest group {newest['largest_bps'] / 100:g} %, HHI {newest['hhi']}")
    return "; ".join(told) + "." if told else "Nothing was owned or used."


def _time(time_s: int) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)


def _svg(figure: "Figure", alt: str, ids: str) -> str:
    """The figure as an SVG element with a name. The same numbers give the same bytes."""
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "commonhold", "font.family": "sans-serif"}):
        metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=metadata)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{ids}-", svg)
    named = alt.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{named}"', 1)
