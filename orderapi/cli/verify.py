"""`orderapi verify` checks on a running service that no order is made twice."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from orderapi.cli import inputs
from orderapi.cli.outcomes import CHECK_FAILED
from orderapi.cli.report import describe_step, summarise_steps
from orderapi.ops.verify import FAILED, SKIPPED, new_trials, rows_by_hand, verify


@click.command("verify")
@click.argument("url", envvar="ORDERAPI_URL", default="http://127.0.0.1:8000")
@inputs.database_option(
    "Also check the rows in the database of the server. Without this option, the SQL for this"
    " check is printed.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Read the bearer token from this file. The file - is stdin, and at a terminal the command"
    " asks for the token. Without this option, the token is read from ORDERAPI_TOKEN, if that is"
    " set.",
)
def verify_command(url: str, database: str | None, token_file: Path | None) -> None:
    """Check on the live server at URL that no order is made twice.

    The six verification steps use new keys, so the command can be repeated. Each run leaves two
    orders in the database. Steps 4 and 5 are skipped if fault injection is off. The default of URL
    is ORDERAPI_URL or, if that is not set, http://127.0.0.1:8000.

    \b
    Examples:
      orderapi verify
      orderapi verify https://orders.example.com --token-file token
      orderapi verify --token-file -
      orderapi verify --database sqlite:///orders.db
    """
    settings = inputs.check_settings(database)
    server = inputs.server_at(url, inputs.read_token(token_file))
    trials = new_trials()
    with ExitStack() as stack:
        store = (
            stack.enter_context(inputs.opened_store(settings, read_only=True))
            if database is not None
            else None
        )
        results = []
        for result in verify(server, trials, store):
            click.echo(describe_step(result))
            results.append(result)
    if store is None and any(result.verdict != SKIPPED for result in results[1:]):
        click.echo(
            "\nIn the database of the server, this must return two rows with three counts of 1:\n"
        )
        click.echo(rows_by_hand(trials))
    click.echo(f"\n{summarise_steps(results)}")
    if any(result.verdict == FAILED for result in results):
        sys.exit(CHECK_FAILED)
