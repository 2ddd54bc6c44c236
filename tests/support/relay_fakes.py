"""Time and a network that do as they are told, and a relay between them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from orderapi.relay.attempt import Answer, Message
from orderapi.relay.clock import Stopped
from orderapi.relay.deliver import LOOK_S, Relay
from orderapi.relay.pace import Pace
from orderapi.store.contract import Store
from tests.support.placing import place

START_S = 1_800_000_000.0
TAKEN = Answer(204, "HTTP 204")


def failed(status: int | None = 500, retry_after: str | None = None) -> Answer:
    return Answer(status, f"HTTP {status}" if status else "no answer", retry_after)


def longest(_low: float, high: float) -> float:
    """Draw the longest pause that there may be."""
    return high


@dataclass
class FakeClock:
    """A clock that only moves where somebody pauses.

    `on_pause` runs in each pause; the process is told to stop once `is_stopping` says so.
    """

    is_stopping: Callable[[], bool] = lambda: False
    on_pause: Callable[[], None] = lambda: None
    pauses: list[float] = field(default_factory=list)
    now_s: float = START_S

    def now(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        if self.is_stopping():
            raise Stopped
        if seconds:
            self.pauses.append(seconds)
            self.now_s += seconds
            self.on_pause()

    def until_idle(self) -> "FakeClock":
        """Tell the process to stop when it has nothing more to do."""
        self.is_stopping = lambda: bool(self.pauses) and self.pauses[-1] == LOOK_S
        return self


@dataclass
class FakeReceiver:
    """A receiver whose answers are `script`, and then 204; `on_send` runs in each attempt."""

    script: list[Answer] = field(default_factory=list)
    on_send: Callable[[Message], None] = lambda _: None
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Answer:
        self.messages.append(message)
        self.on_send(message)
        return self.script.pop(0) if self.script else TAKEN

    def sequences(self) -> list[int]:
        return [int(json.loads(message.body)["sequence"]) for message in self.messages]


def relay(store: Store, receiver: FakeReceiver, clock: FakeClock | None = None) -> Relay:
    """A relay whose pauses are as long as they may be."""
    return Relay(store, receiver.send, clock or FakeClock(), Pace(uniform=longest))


def fill(store: Store, events: int, prefix: str = "key") -> None:
    for number in range(events):
        place(store, f"{prefix}-{number}")
