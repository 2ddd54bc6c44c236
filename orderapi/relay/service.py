"""Runs the relay as a process: it takes the lease, delivers, and stops at a signal."""

import logging
from typing import TYPE_CHECKING

from orderapi.errors import SettingsInvalid, StartRefused, StoreUnavailable
from orderapi.relay.attempt import Send
from orderapi.relay.clock import Clock, Stopped, stoppable
from orderapi.relay.deliver import (
    LEASE,
    LeaseLost,
    PositionMoved,
    ReceiverGone,
    Relay,
    Undelivered,
)
from orderapi.relay.retry_pause import Backoff
from orderapi.settings import PREFIX, Settings
from orderapi.store.contract import Store

if TYPE_CHECKING:
    from orderapi.relay.webhook import Receiver

# Exit codes. The systemd unit lists GONE, so that it does not start the relay again after GONE.
DELIVERED = 0
UNDELIVERED = 1
GONE = 3

# How often a relay polls for the lease while another relay has it.
LEASE_POLL_S = 0.5

_log = logging.getLogger(__name__)


def receiver(settings: Settings) -> "Receiver":
    """Return the receiver that the settings name.

    Raises StartRefused if a setting is missing or unusable, or if a library is not installed.
    """
    for name in ("webhook_url", "webhook_secret"):
        if not getattr(settings, name):
            raise SettingsInvalid(PREFIX + name.upper(), "the relay needs this setting")
    try:
        # Only the relay needs these libraries, so the other commands work without them.
        from orderapi.relay.webhook import Receiver
    except ModuleNotFoundError as error:
        raise StartRefused(
            f"the relay needs {error.name}, which is not installed: pip install 'orderapi[relay]'"
        ) from error
    try:
        return Receiver(settings.webhook_url, settings.webhook_secret)
    except ValueError as error:
        raise SettingsInvalid(f"{PREFIX}WEBHOOK_URL", str(error)) from error


def serve(
    store: Store, send: Send, *, once: bool, start_from: int | None, backoff: Backoff | None = None
) -> int:
    """Deliver events until SIGTERM or SIGINT, and return the exit code.

    With `once`, deliver only the events that exist at the start. `start_from` is the sequence
    number of the first event to deliver; without it, this is the event after the recorded position.
    Raises StartRefused if there can be no such event.
    """
    with stoppable() as clock:
        try:
            if not _take_lease(store, clock, once=once):
                return UNDELIVERED
            relay = Relay(store, send, clock, backoff)
            if start_from is not None:
                relay.seek(start_from)
            return _deliver(relay, once=once)
        except Stopped:
            _log.info("the relay stops because it received SIGTERM or SIGINT")
            return UNDELIVERED if once else DELIVERED
        except ReceiverGone as error:
            _log.critical("%s", error)
            return GONE
        except (LeaseLost, PositionMoved, Undelivered) as error:
            _log.error("%s", error)
            return UNDELIVERED
        except StoreUnavailable as error:
            _log.error("the relay stops because the store is unavailable: %s", error.reason)
            return UNDELIVERED


def _deliver(relay: Relay, *, once: bool) -> int:
    if not once:
        _log.info("the relay starts; the next event to deliver is event %d", relay.position + 1)
        relay.run()
    _log.info("delivered %d events", relay.run_once())
    return DELIVERED


def _take_lease(store: Store, clock: Clock, *, once: bool) -> bool:
    """Take the lease, and return whether this process has it.

    While another relay has the lease, this function waits. With `once`, it returns False instead.
    """
    if store.lease(LEASE):
        return True
    if once:
        _log.error("another relay delivers at the moment; this one delivers nothing")
        return False
    _log.info("another relay delivers at the moment; this one waits until that one ends")
    while not store.lease(LEASE):
        clock.pause(LEASE_POLL_S)
    return True
