"""The pause of the relay between a failed delivery and the next attempt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

# 2 to the power of this number exceeds every bound, and a float can still represent it.
_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: a random pause between 0 and a bound that doubles.

    The bound is `first_s` seconds after the first failure and never exceeds `pause_max_s` seconds.
    A receiver that asks for a longer pause gets it, up to `retry_after_max_s` seconds: a mistake of
    the receiver must not stop the deliveries for years. `uniform(low, high)` draws the pause.
    """

    # Most failures are short: a receiver that restarts is available again within seconds.
    first_s: float = 1.0
    # After an outage of a day, the receiver gets the next attempt within a minute of its return.
    pause_max_s: float = 60.0
    retry_after_max_s: float = 3600.0
    uniform: Callable[[float, float], float] = random.uniform

    def pause_s(self, failures: int, asked_s: float = 0.0) -> float:
        """Return the pause in seconds after this number of consecutive failures.

        `asked_s` is the pause in seconds that the receiver asked for.
        """
        bound_s = min(self.pause_max_s, self.first_s * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
        return max(self.uniform(0.0, bound_s), min(asked_s, self.retry_after_max_s))
