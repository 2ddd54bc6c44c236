"""How long to leave a receiver alone after a failure."""

import random
from collections.abc import Callable
from dataclasses import dataclass

# 2 to this power is beyond any bound, and still a float.
_DOUBLINGS_MOST = 30


@dataclass(frozen=True, slots=True)
class Pace:
    """Exponential backoff with full jitter: anything between 0 and a bound that doubles.

    The bound is `first_s` after the first failure and `most_s` at most. Where the receiver asks for
    more it gets it, up to `retry_after_most_s`: a mistake of its must not stop deliveries for
    years. Seconds all. `uniform(low, high)` draws.
    """

    # Most failures are blips: a receiver that is being restarted is back within seconds.
    first_s: float = 1.0
    # A receiver that was down for a day hears of us within a minute of its return.
    most_s: float = 60.0
    retry_after_most_s: float = 3600.0
    uniform: Callable[[float, float], float] = random.uniform

    def pause_s(self, failures: int, asked_s: float = 0.0) -> float:
        """Give the pause after so many failures in a row, if the receiver asked for `asked_s`."""
        bound_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, _DOUBLINGS_MOST))
        return max(self.uniform(0.0, bound_s), min(asked_s, self.retry_after_most_s))
