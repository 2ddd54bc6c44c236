"""The program `orderapi`. It loads the list of its commands, and runs the command that was called.

This module imports nothing of the commands at its top, because loading them takes some tenths of a
second, and Ctrl-C must end the program without a traceback in this time too.
"""

import signal


def main() -> None:
    """Run the program `orderapi` with the arguments of this process."""
    is_python_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_python_default:  # otherwise the signal is ignored, for example under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from orderapi.cli import commands  # this takes the time

    if is_python_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    commands.main()
