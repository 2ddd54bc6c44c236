"""The `orderapi` command: parses, calls `ops`, sets the exit code."""

import click

DOES_NOT_HOLD = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orderapi")
def main() -> None:
    """Run and check an orderapi service."""
