"""What is measured: the kinds of requests, the numbers of clients and the kinds of disk."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Work = Literal["orders", "replays", "reads"]
Disk = Literal["usual", "slowed"]

# Replays, reads, the slowed disk, growth and profiles are measured with this number of clients.
MAIN_CLIENTS = 64
SLOW_FSYNC_MS = 1.0

WORK_TITLES: dict[Work, str] = {
    "orders": "new orders",
    "replays": "replays",
    "reads": "reads of one order",
}


@dataclass(frozen=True)
class Scenario:
    """One kind of request, sent by a number of clients at once, on one kind of disk."""

    work: Work
    clients: int
    disk: Disk = "usual"

    @property
    def title(self) -> str:
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        disk = f", each fsync {SLOW_FSYNC_MS:g} ms slower" if self.disk == "slowed" else ""
        return f"{WORK_TITLES[self.work]}, {clients}{disk}"


@dataclass(frozen=True)
class Stage:
    """Scenarios that follow each other on one database, which is empty when the first begins."""

    scenarios: tuple[Scenario, ...]

    @property
    def disk(self) -> Disk:
        return self.scenarios[0].disk


def stages(numbers_of_clients: Iterable[int], *, with_slowed_disk: bool) -> list[Stage]:
    """Return the stages of a round: one for each number of clients, and one for the slowed disk.

    The replays and the reads follow the new orders of `MAIN_CLIENTS` clients, because they need
    stored orders. They are left out if `numbers_of_clients` does not contain `MAIN_CLIENTS`.
    """
    found = []
    for clients in numbers_of_clients:
        works: tuple[Work, ...] = (
            ("orders", "replays", "reads") if clients == MAIN_CLIENTS else ("orders",)
        )
        found.append(Stage(tuple(Scenario(work, clients) for work in works)))
    if with_slowed_disk:
        found.append(Stage((Scenario("orders", MAIN_CLIENTS, "slowed"),)))
    return found
