"""`orderapi copy` moves everything from one database into another one."""

import sys
import time

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import CHECK_FAILED, reporting_failure, warn_if_not_recorded
from orderapi.cli.report import Report, count
from orderapi.errors import one_line
from orderapi.ops.copy import copy
from orderapi.ops.last_runs import note_audit


@click.command("copy", short_help="Copy everything from one database into another, empty one.")
@click.argument("source_url", metavar="SOURCE_URL")
@click.argument("target_url", metavar="TARGET_URL")
@click.option(
    "--ahead",
    is_flag=True,
    help="The source is a backup of a store that is still in use. The copy stays unfinished, and a"
    " later copy of the store itself takes less time.",
)
def copy_command(source_url: str, target_url: str, *, ahead: bool) -> None:
    """Copy everything from SOURCE_URL into TARGET_URL, which may be of another engine.

    Orders, ledger, keys, events with their numbers, tokens and the position of the relay are
    copied. A retry of an old key gets the same answer from the target, and cursors stay valid. Stop
    every service, relay and console that uses the source, and do not start them on it again.

    The target must be empty. A service does not start on it until the copy is finished and its
    audit has no finding. If the command is interrupted, run it again: it continues. If the copy is
    finished already, nothing is changed.

    A password belongs into PGPASSWORD or into a PGPASSFILE, because everybody on this machine can
    see the arguments of a command.

    \b
    Examples:
      orderapi copy sqlite:////var/lib/orderapi/orders.db postgresql://orderapi@db/orderapi
      orderapi copy postgresql://orderapi@db/orderapi sqlite:///orders.db
    """
    inputs.check_settings(None)
    source = inputs.parse_url_argument(source_url, "SOURCE_URL")
    target = inputs.parse_url_argument(target_url, "TARGET_URL")
    copy_source, copy_target = inputs.open_copy_ends(source, target)
    began_at = time.monotonic()
    with (
        Report() as report,
        reporting_failure("the copy is not finished", "; run the same command again"),
    ):
        copied = copy(
            copy_source,
            copy_target,
            (str(source), str(target)),
            report.show_progress,
            report.show_finding,
            is_ahead=ahead,
        )
    took_s = time.monotonic() - began_at
    if copied is None:
        click.echo(f"nothing to do: {one_line(str(target))} has everything of the source already")
        return
    if copied.found:
        click.echo(f"continued an interrupted copy, which had {count(copied.found, 'row')}")
    click.echo(f"copied {count(copied.rows, 'row')} in {took_s:,.1f} s, audit included")
    if copied.is_finished:
        with inputs.opened_unchecked_store(target) as store:
            warn_if_not_recorded("audit", note_audit(store, report.result()))
    click.echo(report.summary())
    if not copied.is_sound:
        click.echo(
            "the copy is not finished: correct the findings in the source, then copy it into an"
            " empty database"
        )
        sys.exit(CHECK_FAILED)
    if not copied.is_finished:
        click.echo("the copy is not finished: stop its services, then copy the store itself")
        return
    click.echo("the copy is finished: start every service with TARGET_URL as ORDERAPI_DATABASE_URL")
