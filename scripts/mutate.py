"""Takes one guard of the contracts away, or moves its bound, and runs their tests: each such mutant must be killed.

What is taken away: every `if (...) revert ...`, calls of `_only...` and `_check...`, the modifier nonReentrant, and the
additions and subtractions that keep sums (`+=`, `-=`, `++`, `--`). What is moved: comparisons inside guards, which let
one more or one less through. Prints the score and the survivors, and keeps each verdict in build/mutation.json. A
survivor that no test can kill is listed in contracts/mutants.json with why; any other makes the exit code 1. `make
contracts-mutation`; FILES="Access Meter" JOBS=2 as you like.

All mutants are compiled together, in a copy that stays in build/mutation: each asks whether the block's coinbase, which
nothing here depends on, is its own number. So one compilation serves them all, and number 0 is the original.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
KNOWN = CONTRACTS / "mutants.json"
OUT = ROOT / "build" / "mutation.json"
COPY = ROOT / "build" / "mutation"
TIMEOUT_S = 900  # a mutant that runs for ever is one that the tests notice

# Fewer inputs than the tests draw by themselves: a guard that hardly ever matters to them is one they do not test.
QUICK = {
    "FOUNDRY_FUZZ_RUNS": "32",
    "FOUNDRY_INVARIANT_RUNS": "4",
    "FOUNDRY_CODE_SIZE_LIMIT": "1000000",
}
# The tests that are run first, the nearest before the near; only what lives through them meets all the others.
MEMBERS = "{Admit,Renew,Lapse,Attach,Find,Detach,ChallengeDetach,Recover,Settings,Abdicate,Signers,Stranger}"
LEDGER = "{Register,RenewAppraisal,Transfer,Take,Decline,Retire,Revenue,RecoverUnits,Classes,Settings,Stranger,Detach}"
ACCESS = "{Open,Grant,Buy,Redeem,Split,TopUp,Rotate,Refund,RefundCredits,RecoverCredits,Settle,Deliver,Uses,Stranger}"
NEAREST = {
    "Ledger": ("{Transfer,Take,Decline,Retire,Revenue,RecoverUnits}", LEDGER),
    "Units": ("{Transfer,Take,RecoverUnits}", LEDGER),
    "Holdings": ("{Transfer,Detach}", LEDGER),
    "Revenue": ("{Revenue}", LEDGER),
    "Registry": ("{Register,RenewAppraisal,Retire,Renew}", LEDGER),
    "Assets": ("{Retire,Take}", LEDGER),
    "Classes": ("{Register,Transfer}", LEDGER),
    "ClassSettings": ("{Classes,Settings}", LEDGER),
    "Access": ("{Redeem,Split,TopUp,Rotate,Refund,RecoverCredits}", ACCESS),
    "Credits": ("{Open,Grant,Buy,RefundCredits}", ACCESS),
    "Uses": ("{Uses,Redeem,Open,Stranger}", ACCESS),
    "Meter": ("{Settle,Anchor}",),
    "Members": ("{Admit,Renew,Lapse}", MEMBERS),
    "Control": ("{Attach,Find,Detach,ChallengeDetach,Recover}", MEMBERS),
    "Groups": ("{Admit,Recover,Vote,Propose}", MEMBERS),
    "Settings": ("{Settings,Abdicate}", MEMBERS),
    "Signers": ("{Signers}", MEMBERS),
    "Council": ("{Propose,Vote}",),
    "Timelock": ("{Propose,Stranger,Factory}",),
    "Factory": ("{Factory}",),
    "Wiring": ("{Factory,Views}",),
}
# What a mutant changes without doing wrong: gas, sizes, and the bytes that are committed.
SKIPPED = ("--no-match-contract", "Gas")

_GUARD = re.compile(r"\bif\s*\(")
_CALL = re.compile(r"^[ \t]*((?:_only\w*|_check\w*)\([^;{]*\);)", re.MULTILINE)
_SUM = re.compile(
    r"(?:^[ \t]*|\)\s|\belse\s)([\w.]+(?:\[[^\n;=]*\])?[\w.]*\s(?:\+=|-=)\s[^;\n]*;|(?:\+\+|--)[^;\n]*;)", re.MULTILINE
)
_PURE = re.compile(r"\bfunction\b[^{;]*\bpure\b[^{;]*\{.*?\n    \}", re.DOTALL)
_FUNCTION = re.compile(r"\b(?:function|modifier)\s+(\w+)|\bconstructor\b")
_COMPARE = re.compile(r"(?<![<>=])(<=|>=|<|>)(?![<>=])")
_OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one source file. `number` selects it."""

    number: int
    file: str
    line: int
    function: str
    kind: str
    was: str

    @property
    def name(self) -> str:
        """Its own, and stays the same when lines above it come or go."""
        return f"{self.file}, {self.function}: {self.kind}: {self.code}"

    @property
    def code(self) -> str:
        """What it changes, on one line."""
        return " ".join(self.was.split())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests made of a mutant. `by`: the first test that failed."""

    mutant: Mutant
    killed: bool
    by: str
    seconds: float


class Source:
    """One file, with all its mutants written in."""

    def __init__(self, file: str, text: str, first: int) -> None:
        self.mutants: list[Mutant] = []
        self.file = file
        self._text = text
        self._code = _without_comments(text)
        self._next = first
        self._edits: list[tuple[int, int, str]] = []
        self._pure = [found.span() for found in _PURE.finditer(self._code)]
        for start, opened, closed, end in self._guards():
            self._guard(start, opened, closed, end)
        for pattern, kind in ((_CALL, "check removed"), (_SUM, "sum removed")):
            for found in pattern.finditer(self._code):
                self._statement(found.start(1), found.end(1), kind)

    def mutated(self) -> str:
        """The file's text with every mutant asleep in it."""
        text = self._text
        for start, end, new in sorted(self._edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def _guard(self, start: int, opened: int, closed: int, end: int) -> None:
        if self._is_pure(start):
            return
        condition = self._code[opened + 1 : closed]
        shown = self._text[start:end]
        new = f"({condition})"
        for found in _COMPARE.finditer(condition):
            other = _OTHER[found[1]]
            moved = condition[: found.start()] + other + condition[found.end() :]
            number = self._add(start, f"{_clause(condition, found.start())} with {other}", shown)
            new = f"(block.coinbase == address({number}) ? ({moved}) : {new})"
        number = self._add(start, "guard removed", shown)
        self._edits.append((opened + 1, closed, f"block.coinbase != address({number}) && {new}"))

    def _statement(self, start: int, end: int, kind: str) -> None:
        if not self._is_pure(start):
            number = self._add(start, kind, self._text[start:end])
            self._edits.append((start, end, f"{{ if (block.coinbase != address({number})) {self._text[start:end]} }}"))

    def _add(self, start: int, kind: str, shown: str) -> int:
        number = self._next
        self._next += 1
        function = [found[1] or found[0] for found in _FUNCTION.finditer(self._code, 0, start)][-1]
        self.mutants.append(Mutant(number, self.file, self._text.count("\n", 0, start) + 1, function, kind, shown))
        return number

    def _is_pure(self, at: int) -> bool:
        """A pure function cannot ask for the coinbase."""
        return any(start <= at < end for start, end in self._pure)

    def _guards(self) -> Iterator[tuple[int, int, int, int]]:
        """Each `if (...) revert ...;`: where it starts, its parentheses, and where it ends."""
        for found in _GUARD.finditer(self._code):
            opened = found.end() - 1
            closed = _closing(self._code, opened)
            rest = re.compile(r"\s*(?:revert\b[^;]*;|\{\s*revert\b[^;]*;\s*\})").match(self._code, closed + 1)
            if rest:
                yield found.start(), opened, closed, rest.end()


def _closing(code: str, opened: int) -> int:
    depth = 0
    for at in range(opened, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"parenthesis at {opened} is never closed")


def _clause(condition: str, at: int) -> str:
    """The one comparison of `condition` that has its sign at `at`."""
    begin = max((found.end() for found in re.finditer(r"\|\||&&|[?:]", condition[:at])), default=0)
    end = re.compile(r"\|\||&&|[?:]|$").search(condition, at)
    return " ".join(condition[begin : end.start() if end else None].split())


def _without_comments(source: str) -> str:
    """The same length, so that places stay the same."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda found: re.sub(r"[^\n]", " ", found[0]), source, flags=re.DOTALL)


async def main() -> int:
    """0 when every mutant is killed or known to live, with why."""
    args = _arguments()
    sources: list[Source] = []
    for path in sorted((CONTRACTS / "src").glob("*.sol")):
        first = 1 + sum(len(each.mutants) for each in sources)
        sources.append(Source(path.name, path.read_text(encoding="utf-8"), first))
    # In the order of NEAREST: what matters most comes first.
    order = [f"{name}.sol" for name in args.files or NEAREST]
    all_ = [mutant for each in sources for mutant in each.mutants]
    found = sorted((each for each in all_ if each.file in order), key=lambda each: order.index(each.file))
    found = [each for each in found if args.match in each.name]
    twice = {each.name for each in all_} if len({each.name for each in all_}) != len(all_) else set()
    if twice:
        raise ValueError(f"{len(all_)} mutants have {len(twice)} names, expected as many")
    if args.list:
        print("\n".join(f"{each.line}: {each.name}" for each in found))
        return 0

    contracts = _copy(sources)
    # All of it: what a run leaves out and nobody has built, each run would read again with the compiler, to see whether
    # it is wanted, and that takes longer than most tests.
    code, said = await _forge(contracts, "build")
    if code == 0:
        code, said = await _test(contracts, 0)
    if code != 0:
        print(f"the tests fail without any mutant:\n{said[-4_000:]}", file=sys.stderr)
        return 2
    return _report(await _all(contracts, found, args.jobs), all_)


def _copy(sources: Sequence[Source]) -> Path:
    """The project's contracts, mutated, with the packages linked in, and what their tests read."""
    contracts = COPY / "contracts"
    wanted = {contracts / "src" / each.file: each.mutated().encode() for each in sources}
    for folder in ("contracts/src", "contracts/test", "tests/vectors", "service/commonhold/chain/abi"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "symbolic" not in path.parts:
                wanted.setdefault(COPY / path.relative_to(ROOT), path.read_bytes())
    for name in ("foundry.toml", "solc"):
        wanted[contracts / name] = (CONTRACTS / name).read_bytes()
    for path in (*(contracts / "src").rglob("*.sol"), *(contracts / "test").rglob("*.sol")):
        if path not in wanted:
            path.unlink()
    # What is the same keeps its age, and is not compiled again.
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (contracts / "solc").chmod(0o755)
    packages = contracts / "node_modules"
    if not packages.is_symlink():
        packages.symlink_to(CONTRACTS / "node_modules")
    return contracts


async def _all(contracts: Path, found: Sequence[Mutant], jobs: int) -> list[Verdict]:
    columns = (TextColumn("mutants"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    slots = asyncio.Semaphore(jobs)
    before = _kept()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(found))

        async def one(mutant: Mutant) -> Verdict:
            async with slots:
                verdict = await _try(contracts, mutant, before.get(mutant.name, {}).get("by", ""))
            _keep(verdict)
            progress.advance(task)
            if not verdict.killed:
                progress.console.print(f"survived  {mutant.line}: {mutant.name}", highlight=False, soft_wrap=True)
            return verdict

        return list(await asyncio.gather(*(one(mutant) for mutant in found)))


async def _try(contracts: Path, mutant: Mutant, by: str) -> Verdict:
    """By the test that killed it the last time, by those nearby, and by all."""
    began = time.monotonic()
    near = [("--match-path", f"test/{each}.t.sol") for each in NEAREST.get(mutant.file.removesuffix(".sol"), ())]
    last = [("--match-test", rf"^{by}\(")] if by.isidentifier() else []
    code, said = 0, ""
    for only in (*last, *near, ()):
        code, said = await _test(contracts, mutant.number, *only)
        if code != 0:
            break
    failed = re.search(r"\[FAIL[^\n]*\]\s*(\w+)\(", said)
    by = "" if code == 0 else failed[1] if failed else "(time)" if code < 0 else "(set-up)"
    return Verdict(mutant, code != 0, by, time.monotonic() - began)


async def _test(contracts: Path, number: int, *only: str) -> tuple[int, str]:
    """The exit code of the tests of one mutant (negative: they took too long), and what they printed."""
    failures = contracts.parent / "failures" / str(number)
    return await _forge(
        contracts,
        *("test", "--fail-fast", *SKIPPED, *only),
        FOUNDRY_BLOCK_COINBASE=f"0x{number:040x}",
        FOUNDRY_FUZZ_FAILURE_PERSIST_DIR=str(failures / "fuzz"),
        FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR=str(failures / "invariant"),
    )


async def _forge(contracts: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *("forge", *arguments),
        cwd=contracts,
        env=os.environ | QUICK | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, ""
    return process.returncode or 0, said.decode(errors="replace")


def _kept() -> dict[str, dict[str, str]]:
    """The verdicts of earlier runs."""
    return json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}


def _keep(verdict: Verdict) -> None:
    """At once, so that a run that is stopped was not for nothing."""
    rows = _kept()
    rows[verdict.mutant.name] = {
        "verdict": "killed" if verdict.killed else "survived",
        "by": verdict.by,
        "seconds": f"{verdict.seconds:.1f}",
    }
    OUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _report(verdicts: Sequence[Verdict], all_: Sequence[Mutant]) -> int:
    known: dict[str, str] = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    gone = known.keys() - {each.name for each in all_}
    dead = [each.mutant.name for each in verdicts if each.killed and each.mutant.name in known]
    lived = [each.mutant for each in verdicts if not each.killed]
    unknown = [mutant for mutant in lived if mutant.name not in known]
    killed = len(verdicts) - len(lived)
    for mutant in lived:
        print(f"survived  {mutant.line}: {mutant.name}\n          {known.get(mutant.name, 'NOT EXPLAINED')}")
    for name in (*gone, *dead):
        print(f"listed in {KNOWN.name}, but it {'is no mutant' if name in gone else 'was killed'}: {name}")
    print(
        f"{killed} of {len(verdicts)} mutants killed ({killed / max(len(verdicts), 1):.1%}), {len(lived)} survived, "
        f"{len(lived) - len(unknown)} of them explained in {KNOWN.relative_to(ROOT)}"
    )
    return 1 if unknown or gone or dead else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", help="contracts to mutate, by name; all when none is given")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--match", default="", help="only mutants with this text in their name")
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
