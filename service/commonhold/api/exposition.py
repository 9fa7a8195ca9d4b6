"""Numbers in Prometheus' text format. Pure; for the metrics router.

Source: prometheus.io/docs/instrumenting/exposition_formats, text format 0.0.4.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, Mapping[str, str], int]  # what is appended to the name, labels, value


Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


def gauge(name: str, help_: str, value: int) -> Metric:
    return Metric(name, "gauge", help_, [("", {}, value)])


def counter(name: str, help_: str, value: int) -> Metric:
    return Metric(name, "counter", help_, [("", {}, value)])


def labelled(name: str, kind: Kind, help_: str, label: str, values: Mapping[str, int]) -> Metric:
    """One sample for each value of the label."""
    return Metric(name, kind, help_, [("", {label: key}, value) for key, value in values.items()])


def histogram(name: str, help_: str, observed: Mapping[int, int], buckets: Sequence[int]) -> Metric:
    """`observed`: how often each value was. `buckets`: their upper bounds, growing."""
    samples: list[Sample] = [
        ("_bucket", {"le": str(most)}, sum(times for value, times in observed.items() if value <= most))
        for most in buckets
    ]
    total = sum(observed.values())
    samples.append(("_bucket", {"le": "+Inf"}, total))
    samples.append(("_sum", {}, sum(value * times for value, times in observed.items())))
    samples.append(("_count", {}, total))
    return Metric(name, "histogram", help_, samples)


def text(metrics: Iterable[Metric]) -> str:
    """The page that Prometheus reads."""
    lines: list[str] = []
    for metric in metrics:
        lines += (f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}")
        for suffix, labels, value in metric.samples:
            shown = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
            lines.append(f"{metric.name}{suffix}{'{' + shown + '}' if shown else ''} {value}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
