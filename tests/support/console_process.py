"""`orderapi console` as an operator runs it, in a process of its own."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.backup_files import ORDERAPI
from tests.support.running import environ_with
from tests.support.waiting import wait_until


@dataclass
class ConsoleProcess:
    """A running console, and what it has printed."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def links(self) -> list[str]:
        """Give the links that the console has shown, the newest one last."""
        return re.findall(r"http://127\.0\.0\.1:\d+/enter\?secret=\S+", self.output.read_text())

    @property
    def address(self) -> str:
        return self.links()[0].partition("/enter")[0]


@contextmanager
def console_running(database: Path, *arguments: str) -> Iterator[ConsoleProcess]:
    """Run a console on a database until the block ends."""
    output = database.with_name(f"console-{len(list(database.parent.iterdir()))}.log")
    command = [ORDERAPI, "console", "--database", f"sqlite:///{database}", *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    with output.open("wb") as file:
        process = subprocess.Popen(command, env=environ_with(), stdout=file, stderr=file)
    running = ConsoleProcess(process, output)
    try:
        wait_until(lambda: bool(running.links()) or process.poll() is not None, "a link")
        assert process.poll() is None, output.read_text()
        yield running
    finally:
        process.kill()
        process.wait()
