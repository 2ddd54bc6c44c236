"""A profile of orderapi under load: py-spy samples the stacks of all its processes."""

import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.compare import Plan
from tests.bench.contenders import our_contender
from tests.bench.load import Load, Window
from tests.bench.report import table
from tests.bench.scenarios import MAIN_CLIENTS, Work
from tests.bench.service import Place, Service, serving

_SAMPLES_PER_S = 250
_ROWS_MAX = 30


class NoProfiler(Exception):
    """py-spy failed. The message is its own."""


@dataclass
class Samples:
    """How often each file and each function was seen in the sampled stacks.

    `own` counts the samples in which a function itself was running, `total` also those in which a
    function that it had called was running.
    """

    number: int = 0
    own_by_file: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)


def run(kind: Work, plan: Plan, load: Load, work: Path) -> str:
    """Profile one kind of request, and return the tables.

    Raises NoProfiler if py-spy fails, and WindowInvalid if the service does not do its work.
    """
    with (
        tempfile.TemporaryDirectory(dir=work) as name,
        serving(our_contender(), Path(name), Place()) as service,
    ):
        # Replays and reads need stored orders.
        load.warm_up("orders", service, MAIN_CLIENTS, plan.warm_up_s)
        load.warm_up(kind, service, MAIN_CLIENTS, plan.warm_up_s)
        undisturbed = load.measure(kind, service, MAIN_CLIENTS, plan.window_s)
        stacks = Path(name) / "stacks.txt"
        recorder = _start_recorder(service, plan.window_s, stacks)
        load.measure(kind, service, MAIN_CLIENTS, plan.window_s)
        _, message = recorder.communicate()
        if recorder.returncode != 0:
            raise NoProfiler(message.strip())
        return render(kind, undisturbed, parse(stacks.read_text()))


def parse(stacks: str) -> Samples:
    """Count the samples in py-spy's raw format: the frames of a stack and a number on each line.

    The outermost frame comes first, and a semicolon is between two frames. A frame is a function
    with its file and line in parentheses. Frames without them name the process or the thread.
    """
    samples = Samples()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if frame.endswith(")") and " (" in frame]
        if not frames:
            continue
        number = int(count)
        _, _, place = frames[-1].rpartition(" (")
        samples.number += number
        samples.own_by_file[place.partition(":")[0].removesuffix(")")] += number
        samples.own[frames[-1]] += number
        for frame in set(frames):
            samples.total[frame] += number
    return samples


def render(kind: Work, window: Window, samples: Samples) -> str:
    """Return the tables. `window` is a window of the same load that was not sampled."""
    parts = [
        f"\n**Profile of {kind}, {MAIN_CLIENTS} clients**: {window.per_s:,.0f} requests per second"
        f" and {window.cpu_us:,.0f} µs of server CPU per request without the profiler;"
        f" {samples.number:,} samples. Time that a C library uses counts for the function that"
        " calls it. The µs are the share of the samples times the server CPU per request."
    ]
    for title, counter in (
        ("Time in the functions of each file", samples.own_by_file),
        ("Time in each function itself", samples.own),
        ("Time in each function and in all that it calls", samples.total),
    ):
        rows = [
            [
                f"`{name}`",
                f"{count / samples.number:.1%}",
                f"{count / samples.number * window.cpu_us:.0f}",
            ]
            for name, count in counter.most_common(_ROWS_MAX)
        ]
        parts += [f"**{title}**", table(["", "share of samples", "µs per request"], rows)]
    return "\n\n".join(parts)


def _start_recorder(service: Service, seconds: float, output: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(service.pid)]
    command += ["--subprocesses", "--function", "--rate", str(_SAMPLES_PER_S)]
    command += ["--duration", str(max(1, round(seconds))), "--format", "raw"]
    command += ["--output", str(output)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
