"""The command `orderapi` and the list of its subcommands. Each of them has a file of its own."""

from pathlib import Path
from typing import Any

import click

from orderapi.cli import inputs, streams
from orderapi.cli.audit import audit_command
from orderapi.cli.backup import backup_command
from orderapi.cli.console import console_command
from orderapi.cli.copy import copy_command
from orderapi.cli.migrate import migrate_command
from orderapi.cli.relay import relay_command
from orderapi.cli.restore import restore_command
from orderapi.cli.tokens import token_group
from orderapi.cli.verify import verify_command


class _Commands(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.main`. No failure of a standard stream interrupts a command."""
        with streams.protected():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`.

        Raises CommandInterrupted after Ctrl-C, and WrongUse if a relative path cannot be found,
        because somebody has deleted the directory in which the command runs.
        """
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as error:
            raise inputs.CommandInterrupted from error
        except FileNotFoundError as error:
            if _has_working_directory():
                raise
            raise inputs.WrongUse(
                "the directory in which this command runs was deleted; change to another directory"
            ) from error


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orderapi")
def main() -> None:
    """Run and check an orderapi service.

    Every command exits with 0 on success, with 1 if its check failed, with 2 on wrong use, and
    with 130 if Ctrl-C has interrupted it.
    """


for _command in (
    audit_command,
    backup_command,
    console_command,
    copy_command,
    migrate_command,
    relay_command,
    restore_command,
    token_group,
    verify_command,
):
    main.add_command(_command)
