"""The report as a page: complete, self-contained, readable without seeing colours or plots, and on paper."""

import random
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from commonhold.anchor.audit import numbers, page, plots
from commonhold.anchor.audit.report import AuditReport
from commonhold.anchor.audit.series import Owned
from commonhold.anchor.audit.state import Class, Member, State
from commonhold.chain.events import ClassCreated
from commonhold.signing import ZERO32
from commonhold.units import UNIT, Address, Units, class_id

WEEK_S = 604_800
FIRST = 2_900  # window; 2025
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def report(*, weeks: int = 12, hostile: str = "compute/h100-sxm") -> AuditReport:
    """A pool that grows over some weeks, with a class that bears a hostile name and one that is empty."""
    draw = random.Random(7)
    state, owned = State(WEEK_S, 4, Address(b"L" * 20)), Owned(WEEK_S)
    names = (hostile, "data/text", "model/none")
    for name, kind, unit in zip(names, (2, 0, 1), ("GPU", "MB", "MB"), strict=True):
        created = ClassCreated(class_id(name), name, kind, unit, 3_000, 2_000, 0, Units(100 * UNIT))
        state.classes[created.class_id] = Class(created)
    groups = [Address(bytes([number]) * 20) for number in range(1, 13)]
    for week in range(weeks):
        owned.before(state, (FIRST + week) * WEEK_S)
        root = draw.choice(groups)
        state.members.setdefault(root, Member(ZERO32, 1, 2))
        for name in names[:2]:
            held = state.held.setdefault(class_id(name), {})
            held[root] = held.get(root, 0) + draw.randint(1, 20) * UNIT
            state.classes[class_id(name)].total = sum(held.values()) + 10 * UNIT
        compute, window = class_id(hostile), FIRST + week
        state.acquired[compute, window] = {one: draw.randint(1, 9_000) for one in draw.sample(groups, 4)}
        for one, level in zip(draw.sample(groups, 3), (3, 4, 5), strict=True):
            gpu_ms = draw.randint(1, 900_000_000)
            state.delivered[compute, window, one, level] = gpu_ms
            state.hours[compute, window, level, "nvidia-cc"] = gpu_ms
    time_s = (FIRST + weeks) * WEEK_S
    owned.sample(state, time_s)
    found = AuditReport(1_234, "0x" + "ab" * 32, time_s, 1, {"Ledger": "0x" + "cd" * 20}, 7)
    found.code, found.trust, found.events = {"Ledger": "0x" + "ef" * 32}, ["That the block is the chain's."], 4_321
    found.services = [{"service": "http://127.0.0.1:8000", "block": 1_234, "digest": "0x12"}]
    found.concentration, found.series = numbers.concentrations(state), numbers.series(state, owned)
    found.gpu_hours = numbers.gpu_hours(state)
    for number in range(12):
        found.check(f"check of {number}", [], f"looked at {number * 7} times")
    return found


class Reader(HTMLParser):
    """Tags that are open, ids, and what is loaded from elsewhere."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag == "svg":
            self.images.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def text() -> str:
    """The page of a pool of some weeks."""
    return page.html(report())


def test_page_is_whole_and_loads_nothing(text: str) -> None:
    found = read(text)

    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert all(load.startswith("#") and load[1:] in found.ids for load in found.loads)
    assert "<script" not in text
    assert not re.search(r"url\((?!#)|@import", text)


def test_plots_have_names_and_axes_their_units(text: str) -> None:
    images = read(text).images

    assert len(images) == 2 + 2 + 1  # two classes of which something exists, and GPU-hours of one
    assert all(image["role"] == "img" and len(image["aria-label"] or "") > 40 for image in images)
    for title in (
        "share (%)",
        "HHI (0 to 10,000)",
        "Gini (0 to 1)",
        "time (UTC)",
        "delivered (GPU-hours)",
    ):
        assert title in text


def test_same_numbers_give_the_same_plot() -> None:
    row = report().series[1]
    assert plots.over_time(row, "a") == plots.over_time(row, "a")


def test_verdict_is_said_in_words(text: str) -> None:
    fails = replace(report(), series=[], gpu_hours=[])
    fails.check("balances", ["<b>a</b> differs", "c differs"], "", failed=2)

    assert "✓ Every one of 12 checks holds." in text
    failing = page.html(fails)
    assert "✗ 1 of 13 checks fails:" in failing
    assert "✗ FAILS" in failing
    assert "&lt;b&gt;a&lt;/b&gt; differs" in failing


def test_names_from_the_chain_are_only_text() -> None:
    text = page.html(report(weeks=1, hostile='<img src=x onerror="alert(1)">&"'))

    assert "<img" not in text
    assert read(text).open == []


def test_empty_chain_has_a_page_too() -> None:
    nothing = AuditReport(1, "0x", 0, 1, {}, 1)
    nothing.check("events are read", [], "0 events")

    assert "None yet." in page.html(nothing)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_browser_prints_it_as_pdf_on_a4(text: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    source, printed = tmp_path / "report.html", tmp_path / "report.pdf"
    source.write_text(text, encoding="utf-8")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={tmp_path}/p")

    subprocess.run(
        [CHROMIUM, *quiet, f"--print-to-pdf={printed}", source.as_uri()], check=True, timeout=60, capture_output=True
    )

    data = printed.read_bytes()
    assert data.startswith(b"%PDF-")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert {(round(float(w)), round(float(h))) for w, h in boxes} == {(595, 842)}  # points: 210 mm x 297 mm
    assert 3 <= len(boxes) <= 12
