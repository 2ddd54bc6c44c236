"""`orderapi relay` delivers events to a webhook until it is stopped."""

import sys
from contextlib import closing

import click

from orderapi import logs
from orderapi.cli import inputs
from orderapi.errors import StartRefused
from orderapi.relay import service


@click.command("relay", short_help="Deliver events to ORDERAPI_WEBHOOK_URL until stopped.")
@inputs.database_option()
@click.option("--once", is_flag=True, help="Deliver the events that exist now, and end.")
@click.option(
    "--from",
    "start_from",
    metavar="SEQUENCE",
    type=inputs.IntegerInRange(1, 2**63 - 1),
    help="Start with this event, whether or not it was delivered before. The new position is"
    " recorded immediately: a restart without --from continues from there.",
)
def relay_command(database: str | None, once: bool, start_from: int | None) -> None:
    """Deliver events to ORDERAPI_WEBHOOK_URL, in order and at least once, until stopped.

    Each event is signed with ORDERAPI_WEBHOOK_SECRET, as Standard Webhooks says. It is sent until
    the receiver acknowledges it with 2xx, and the next event waits until then. Only one relay
    delivers at a time. A second one waits until the first ends; with --once, it exits with 1.

    The command exits with 0 when it is stopped, or when --once has delivered all. It exits with 1
    when --once gives up or the database fails, and with 3 when the receiver answers 410 Gone.

    \b
    Examples:
      orderapi relay
      orderapi relay --once
      orderapi relay --from 1
    """
    settings = inputs.check_settings(database)
    with inputs.opened_store(settings, read_only=False) as store:
        logs.configure(settings.log_level)
        try:
            with closing(service.receiver(settings)) as receiver:
                code = service.serve(store, receiver.send, once=once, start_from=start_from)
        except StartRefused as error:
            raise inputs.WrongUse(str(error)) from error
    sys.exit(code)
