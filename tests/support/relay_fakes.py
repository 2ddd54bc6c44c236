"""A fake clock and a fake receiver, and a relay that uses them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from orderapi.relay.attempt import Message, Outcome
from orderapi.relay.clock import Stopped
from orderapi.relay.deliver import POLL_S, Relay
from orderapi.relay.retry_pause import Backoff
from orderapi.store.contract import Store
from tests.support.placing import place

START_S = 1_800_000_000.0
DELIVERED = Outcome(204, "HTTP 204")


def failed(status: int | None = 500, retry_after: str | None = None) -> Outcome:
    return Outcome(status, f"HTTP {status}" if status else "no answer", retry_after)


def longest(_low: float, high: float) -> float:
    """Return the longest pause, in the place of a random one."""
    return high


@dataclass
class FakeClock:
    """A clock that moves only in a pause.

    `on_pause` runs in each pause. The relay stops when `is_stopping` returns True.
    """

    is_stopping: Callable[[], bool] = lambda: False
    on_pause: Callable[[], None] = lambda: None
    pauses: list[float] = field(default_factory=list)
    now_s: float = START_S
    monotonic_s: float = 5.0

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def pause(self, seconds: float) -> None:
        if self.is_stopping():
            raise Stopped
        if seconds:
            self.pauses.append(seconds)
            self.now_s += seconds
            self.monotonic_s += seconds
            self.on_pause()

    def until_idle(self) -> "FakeClock":
        """Tell the relay to stop when it has delivered everything."""
        self.is_stopping = lambda: bool(self.pauses) and self.pauses[-1] == POLL_S
        return self


@dataclass
class FakeReceiver:
    """A receiver that answers as in `script`, and then with 204. `on_send` runs in each attempt."""

    script: list[Outcome] = field(default_factory=list)
    on_send: Callable[[Message], None] = lambda _: None
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Outcome:
        self.messages.append(message)
        self.on_send(message)
        return self.script.pop(0) if self.script else DELIVERED

    def sequences(self) -> list[int]:
        return [int(json.loads(message.body)["sequence"]) for message in self.messages]


def relay(store: Store, receiver: FakeReceiver, clock: FakeClock | None = None) -> Relay:
    """A relay whose pauses have their maximum length."""
    return Relay(store, receiver.send, clock or FakeClock(), Backoff(uniform=longest))


def fill(store: Store, events: int, prefix: str = "key") -> None:
    for number in range(events):
        place(store, f"{prefix}-{number}")
