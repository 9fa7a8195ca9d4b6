"""The replay has a rule for every event, and says so where it has none. What it finds is test_audit.py's and
test_planted.py's to show."""

from dataclasses import dataclass
from typing import get_args

from commonhold.anchor.audit.replay import replay
from commonhold.anchor.audit.rules import KEPT, Rule
from commonhold.anchor.audit.state import State, add
from commonhold.anchor.audit.step import HANDLERS
from commonhold.chain import events
from commonhold.chain.events import ChainEvent
from commonhold.units import Address
from tests.actors import address_of


def empty() -> State:
    return State(window_seconds=604_800, horizon=4, ledger=Address(b"L" * 20))


def test_every_event_has_a_handler() -> None:
    assert set(HANDLERS) == set(get_args(ChainEvent))


def test_event_without_a_rule_is_a_fault() -> None:
    @dataclass(frozen=True)
    class Surprise:
        pass

    state = empty()
    replay(state, Surprise(), 7, 0)  # type: ignore[arg-type]

    assert list(state.found.faults()) == ["block 7: Surprise is an event that this audit has no rule for"]


def test_event_about_something_unknown_changes_nothing() -> None:
    state = empty()

    replay(state, events.Renewed(address_of("stranger"), 1, 9), 7, 0)

    assert state.found.by_rule[Rule.KNOWN].failed == 1
    assert state.members == {}


def test_faults_are_counted_and_few_are_kept() -> None:
    state = empty()
    for block in range(1_000):
        replay(state, events.Renewed(address_of("stranger"), 1, 9), block, 0)

    looked = state.found.by_rule[Rule.KNOWN]
    assert (looked.failed, len(looked.faults)) == (1_000, KEPT)


def test_what_is_zero_again_is_forgotten() -> None:
    sums: dict[str, int] = {}

    assert add(sums, "a", 5) == 5
    assert add(sums, "a", -5) == 0
    assert sums == {}
