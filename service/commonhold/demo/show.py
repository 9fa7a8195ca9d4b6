"""What the demo prints: numbered steps, facts with their numbers, one clear line when something is not as expected."""

import time

from rich.console import Console
from rich.markup import escape

from commonhold.errors import CommonholdError

STARTED = time.monotonic()
console = Console(highlight=False, soft_wrap=True)


class DemoFailed(CommonholdError):
    """A step of the demo did not do what it should."""

    code = "demo_failed"


def step(number: int, title: str) -> None:
    """A numbered heading, with the seconds since the demo began."""
    console.print(f"\n[bold]{number}. {escape(title)}[/bold] [dim]{time.monotonic() - STARTED:.0f} s[/dim]")


def fact(name: str, text: object) -> None:
    """One line: what, and its numbers."""
    console.print(f"   {escape(name):<34} {escape(str(text))}")


def refused(by: str, reason: str) -> None:
    """One line about a refusal that was expected."""
    console.print(f"   [green]refused[/green] by {escape(by)}: {escape(reason)}")


def expect(what: str, expected: object, got: object) -> None:
    """Raises DemoFailed unless both are equal."""
    if expected != got:
        raise DemoFailed(f"{what}: expected {expected}, got {got}")


def expect_that(what: str, holds: bool, *, expected: object, got: object) -> None:
    """Raises DemoFailed unless `holds`."""
    if not holds:
        raise DemoFailed(f"{what}: expected {expected}, got {got}")
