"""The pause of the relay between a failed delivery and the next attempt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

# 2 to the power of this number is greater than every bound, and it is still a valid float.
_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: a random pause between 0 and a bound that doubles.

    The bound is `first_s` seconds after the first failure and never exceeds `pause_max_s` seconds.
    If the receiver asks for a longer pause, the pause is longer, up to `retry_after_max_s` seconds.
    Without this maximum, a bug of the receiver could stop the deliveries for years.
    `uniform(low, high)` returns the random number.
    """

    # Most failures are short. A receiver that restarts is available again within seconds.
    first_s: float = 1.0
    # When a receiver is available again after a long outage, it gets an attempt within a minute.
    pause_max_s: float = 60.0
    retry_after_max_s: float = 3600.0
    uniform: Callable[[float, float], float] = random.uniform

    def pause_s(self, failures: int, asked_s: float = 0.0) -> float:
        """Return the pause in seconds after this number of consecutive failures.

        `asked_s` is the pause in seconds that the receiver asked for.
        """
        bound_s = min(self.pause_max_s, self.first_s * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
        return max(self.uniform(0.0, bound_s), min(asked_s, self.retry_after_max_s))
