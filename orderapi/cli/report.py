"""The output of the commands: progress and findings while they run, and their result."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

import click

from orderapi.errors import one_line
from orderapi.maintenance_records import AuditResult
from orderapi.ops.backup import AUDITING
from orderapi.ops.restore import RestoreResult
from orderapi.ops.verify import FAILED, OK, SKIPPED, Result

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

# The console shows these findings. `orderapi audit` prints all of them.
KEPT_FINDINGS_MAX = 10
_KEPT_FINDING_MAX_CHARS = 300

_COLOURS = {OK: "green", FAILED: "red", SKIPPED: "yellow"}


class Report:
    """Shows progress on stderr, if that is a terminal, and findings on stdout."""

    def __init__(self) -> None:
        self.findings = 0
        self._first_findings: list[str] = []
        self._orders = 0
        self._began_at = time.monotonic()
        self._stage = ""
        # When the stage began, and how much was done before.
        self._stage_began = 0.0, 0
        self._bar: ProgressBar[int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_stage()

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """Move the progress bar of a stage. The bar is hidden if stderr is not a terminal."""
        if self._bar is None or stage != self._stage:
            self._end_stage()
            self._stage = stage
            hidden = not sys.stderr.isatty()
            self._bar = click.progressbar(
                length=1, label=stage, file=sys.stderr, hidden=hidden, item_show_func=self._rate
            )
            self._stage_began = time.monotonic(), done
        self._bar.length = max(total, 1)
        self._bar.update(done - self._bar.pos, done)
        if stage == AUDITING:
            self._orders = done

    def show_finding(self, finding: str) -> None:
        """Print a finding. On a terminal it replaces the bar, which is drawn again below."""
        if self._bar is not None and not self._bar.hidden:
            click.echo("\r\x1b[K", nl=False, err=True)
        click.echo(finding)
        self.findings += 1
        if self.findings <= KEPT_FINDINGS_MAX:
            self._first_findings.append(one_line(finding)[:_KEPT_FINDING_MAX_CHARS])

    def took_ms(self) -> int:
        """Return the age of this report, which is the duration of the work, in milliseconds."""
        return int((time.monotonic() - self._began_at) * 1000)

    def result(self) -> AuditResult:
        """Return the result of the audit."""
        return AuditResult(
            self.took_ms(),
            self._orders,
            self.findings,
            "\n".join(self._first_findings),
        )

    def summary(self) -> str:
        """Return a line with the result of the audit."""
        found = count(self.findings, "finding") if self.findings else "nothing breaks an invariant"
        return f"audited {count(self._orders, 'order')}: {found}"

    def _rate(self, done: int | None) -> str | None:
        """Return the rate of the stage per second. The bar shows it."""
        began_at, done_before = self._stage_began
        took_s = time.monotonic() - began_at
        return None if done is None or not took_s else f"{(done - done_before) / took_s:,.0f}/s"

    def _end_stage(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()


def describe_restored(restored: RestoreResult) -> Iterator[str]:
    """Yield lines that say what was restored, what is gone, and where the old database is."""
    if restored.last is None:
        yield "restored: an empty database, without an order"
    else:
        yield (
            f"restored: everything up to event {restored.last.sequence:,}"
            f" of {restored.last.created_at}"
        )
    replaced = restored.replaced
    if replaced.gone is None:
        yield f"gone: everything that came later; the number is unknown because {replaced.unknown}"
    else:
        gone = replaced.gone
        yield (
            f"gone: {count(gone.orders, 'order')}, {count(gone.keys, 'idempotency key')}"
            f" and {count(gone.events, 'event')} that came later"
        )
    if replaced.kept_as is not None:
        yield f"the old database is kept as {one_line(replaced.kept_as)}"


def describe_step(result: Result) -> str:
    """Return one line about a step of `verify`."""
    verdict = click.style(f"{result.verdict:8}", fg=_COLOURS[result.verdict])
    return f"{verdict} {result.name}: expected {result.expected}; saw {result.seen}"


def summarise_steps(results: Sequence[Result]) -> str:
    """Return one line that counts the steps of `verify` by their verdict."""
    counted = {
        verdict: sum(result.verdict == verdict for result in results)
        for verdict in (OK, FAILED, SKIPPED)
    }
    return "verified: " + ", ".join(f"{n} {verdict}" for verdict, n in counted.items() if n)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
