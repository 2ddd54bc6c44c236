"""Run a command as on a file system that lacks ways to give a file a name.

`python -m tests.support.without_links LACKING ARGUMENTS...` runs `orderapi ARGUMENTS`. LACKING is
`link`, `rename` or both, separated by a comma: hard links, and the rename that replaces nothing.
"""

import errno
import os
import sys

from orderapi.cli.commands import main

_EVENTS = {"link": "os.link", "rename": "ctypes.dlsym"}


def refuse(lacking: str) -> None:
    events = {_EVENTS[name] for name in lacking.split(",")}

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in events:
            return
        if event == "os.link":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if "renameat2" in arguments:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    sys.addaudithook(hook)


if __name__ == "__main__":
    _, lacking, *arguments = sys.argv
    refuse(lacking)
    sys.exit(main(arguments))
