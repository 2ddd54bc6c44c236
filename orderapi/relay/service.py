"""The relay as a process: the only one that delivers, until it is told to end."""

import logging
from typing import TYPE_CHECKING

from orderapi.errors import SettingsInvalid, StartRefused, StoreUnavailable
from orderapi.relay.attempt import Send
from orderapi.relay.clock import Clock, Stopped, stoppable
from orderapi.relay.deliver import PositionMoved, ReceiverGone, Relay, Undelivered
from orderapi.relay.pace import Pace
from orderapi.settings import PREFIX, Settings
from orderapi.store.contract import Store

if TYPE_CHECKING:
    from orderapi.relay.webhook import Receiver

# Exit codes. The unit names the last one: a receiver that is gone is not asked again.
DELIVERED = 0
UNDELIVERED = 1
GONE = 3

# At most one process at a time has this lease, and delivers.
LEASE = "relay"
# How often a second relay looks whether the first has ended.
LOOK_FOR_CLAIM_S = 0.5

_log = logging.getLogger(__name__)


def receiver(settings: Settings) -> "Receiver":
    """Give the receiver that the settings name; raises StartRefused if it cannot be used."""
    for name in ("webhook_url", "webhook_secret"):
        if not getattr(settings, name):
            raise SettingsInvalid(f"{PREFIX}{name.upper()}: the relay needs it")
    try:
        # Only the relay wants these libraries.
        from orderapi.relay.webhook import Receiver
    except ModuleNotFoundError as error:
        raise StartRefused(
            f"the relay needs {error.name}, which is not installed: pip install 'orderapi[relay]'"
        ) from error
    try:
        return Receiver(settings.webhook_url, settings.webhook_secret)
    except ValueError as error:
        raise SettingsInvalid(f"{PREFIX}WEBHOOK_URL: {error}") from error


def serve(
    store: Store, send: Send, *, once: bool, start_from: int | None, pace: Pace | None = None
) -> int:
    """Deliver events until SIGTERM or SIGINT, or with `once` those that are there; give exit code.

    `start_from` is the sequence number of the first event to deliver, in the place of the one
    after the recorded position. Raises StartRefused if there can be no such event.
    """
    with stoppable() as clock:
        try:
            if not _claim(store, clock, once=once):
                return UNDELIVERED
            relay = Relay(store, send, clock, pace)
            if start_from is not None:
                relay.go_to(start_from)
            return _deliver(relay, once=once)
        except Stopped:
            _log.info("told to stop")
            return UNDELIVERED if once else DELIVERED
        except ReceiverGone as error:
            _log.critical("%s", error)
            return GONE
        except (PositionMoved, Undelivered) as error:
            _log.error("%s", error)
            return UNDELIVERED
        except StoreUnavailable as error:
            _log.error("the store cannot be used: %s", error.reason)
            return UNDELIVERED


def _deliver(relay: Relay, *, once: bool) -> int:
    if not once:
        _log.info("delivering from event %d on", relay.position + 1)
        relay.run()
    _log.info("delivered %d events", relay.run_once())
    return DELIVERED


def _claim(store: Store, clock: Clock, *, once: bool) -> bool:
    """Become the one that delivers; wait for it, unless it is for `once`."""
    if store.lease(LEASE):
        return True
    if once:
        _log.error("another relay delivers already")
        return False
    _log.info("another relay delivers; waiting for its end")
    while not store.lease(LEASE):
        clock.pause(LOOK_FOR_CLAIM_S)
    return True
