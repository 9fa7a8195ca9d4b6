"""What the report tells beside its checks: concentration now and along the chain, and GPU-hours with their levels."""

from commonhold.anchor.audit.report import Row
from commonhold.anchor.audit.series import ACQUIRED, DELIVERED, OWNED, Owned, used
from commonhold.anchor.audit.state import State
from commonhold.anchor.concentration import concentration
from commonhold.units import gpu_hours_text, units_text


def concentrations(state: State) -> list[Row]:
    """How concentrated ownership of every class is."""
    found, population = [], state.groups()
    for class_id, c in state.classes.items():
        try:
            n = concentration(state.held.get(class_id, {}).values(), c.total, population)
        except ValueError:
            continue  # the sums do not add up; a check of its own says so
        found.append(
            {
                "class": c.created.name,
                "groups": n.groups,
                "total": units_text(n.total_units),
                "largest_bps": n.largest_bps_floor,
                "hhi": n.hhi_floor,
                "gini_bps": n.gini_bps_floor,
                "nakamoto": n.nakamoto,
            }
        )
    return found


def series(state: State, owned: Owned) -> list[Row]:
    """Concentration along the chain, per class."""
    points = {OWNED: owned.points, **used(state)}
    levels: dict[object, set[int]] = {}
    for class_id, _, _, level in state.delivered:
        levels.setdefault(class_id, set()).add(level)
    return [
        {
            "class": c.created.name,
            "unit": c.created.unit,
            "delivered_levels": sorted(levels.get(class_id, ())),
            **{
                name: [point.to_json() for point in points[name].get(class_id, ())]
                for name in (OWNED, ACQUIRED, DELIVERED)
            },
        }
        for class_id, c in state.classes.items()
    ]


def gpu_hours(state: State) -> list[Row]:
    """GPU time delivered by class, window, level and policy: never without the two."""
    return [
        {
            "class": state.classes[class_id].created.name,
            "window": window,
            "starts_at": window * state.window_seconds,
            "level": level,
            "policy": policy,
            "gpu_ms": gpu_ms,
            "gpu_hours": gpu_hours_text(gpu_ms),
        }
        for (class_id, window, level, policy), gpu_ms in sorted(state.hours.items())
    ]
