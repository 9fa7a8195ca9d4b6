"""The report of an audit as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere."""

from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from commonhold.anchor.audit import plots
from commonhold.anchor.audit.report import AuditReport
from commonhold.anchor.audit.series import ACQUIRED, DELIVERED, OWNED
from commonhold.units import LEVELS


def html(report: AuditReport) -> str:
    """The page. Raises PlotsMissing."""
    environment = Environment(
        loader=PackageLoader("commonhold.anchor.audit", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["utc"] = _utc
    classes = [
        {
            "name": row["class"],
            "unit": row["unit"],
            "levels": row["delivered_levels"],
            "over_time": Markup(plots.over_time(row, f"time{at}")),  # noqa: S704, ours: what it has of others is escaped
            "lorenz": Markup(plots.lorenz(row, f"lorenz{at}")),  # noqa: S704
            "series": [(name, row[name]) for name in (OWNED, ACQUIRED, DELIVERED) if row[name]],
        }
        for at, row in enumerate(report.series)
        if any(row[name] for name in (OWNED, ACQUIRED, DELIVERED))
    ]
    by_class = sorted(report.gpu_hours, key=itemgetter("class"))
    hours = [
        {"name": name, "plot": Markup(plots.gpu_hours(list(rows), name, f"hours{at}"))}  # noqa: S704
        for at, (name, rows) in enumerate(groupby(by_class, key=itemgetter("class")))
    ]
    template = environment.get_template("report.html.jinja")
    return template.render(report=report, classes=classes, hours=hours, levels=LEVELS)


def _utc(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
