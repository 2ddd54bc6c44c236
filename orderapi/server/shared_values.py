"""The values of metrics, in files that all workers of a service can read.

The files are those of prometheus-client's multiprocess mode, which also reads them. Its own class
of values takes a lock and packs a structure for each change: an order costs 6 to 8 microseconds on
a busy machine. Here a change is one addition in mapped memory, and an order costs 2 microseconds.
The change is in the file at once, so that a killed worker loses nothing.
"""

from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

_DOUBLE_BYTES = 8


class SharedFiles:
    """The files in `directory` that this process has open.

    `process` is the part of their names that tells whose they are. A process sets it after its
    fork, and each value then moves to the files of that name.
    """

    def __init__(self, directory: Path, process: str | None) -> None:
        self.process = process
        self._directory = directory
        self._opened: dict[str, MmapedDict] = {}

    def cell(self, kind: str, key: str) -> "tuple[memoryview[float], int]":
        """Return the numbers of a file, and the index of the number that belongs to a key."""
        name = f"{kind}_{self.process}.db"
        if name not in self._opened:
            self._opened[name] = MmapedDict(str(self._directory / name))
        opened = self._opened[name]
        opened.read_value(key)  # makes the entry if there is none
        position: int = opened._positions[key]  # noqa: SLF001 - it has no public name
        return memoryview(opened._m).cast("d"), position // _DOUBLE_BYTES  # noqa: SLF001 - as above


def value_class(files: SharedFiles) -> type:
    """Return the class that prometheus-client shall use for all values (`values.ValueClass`).

    It takes no lock: a process may change its values on one thread only, the one of its event loop.
    """

    class SharedValue:
        """One number; the interface is that of prometheus-client."""

        def __init__(
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: list[str],
            labelvalues: list[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: object,
        ) -> None:
            self._kind = f"{typ}_{multiprocess_mode}" if multiprocess_mode else typ
            self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
            self._attach()

        def _attach(self) -> None:
            self._process = files.process
            self._numbers, self._index = files.cell(self._kind, self._key)

        def inc(self, amount: float) -> None:
            if self._process is not files.process:
                self._attach()
            self._numbers[self._index] += amount

        def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - prometheus-client's signature
            if self._process is not files.process:
                self._attach()
            self._numbers[self._index] = value

        def get(self) -> float:
            value: float = self._numbers[self._index]
            return value

        def set_exemplar(self, exemplar: object) -> None:
            """Exemplars are not supported, as in prometheus-client's own multiprocess mode."""

        def get_exemplar(self) -> None:
            """There is none."""

    return SharedValue
