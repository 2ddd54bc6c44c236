# shellcheck shell=bash
# What install.sh does with the relay, which orders never wait for and which may have nothing to do.

readonly RELAY=orderapi-relay.service
# What the relay ends with when its receiver answers 410 Gone.
readonly RECEIVER_GONE=3

# The relay that runs must not meet a schema that only the next release's works with.
stop_relay() {
    systemctl stop "$RELAY" 2>/dev/null || true
}

# Let the relay run if the release has one and the settings say where to; whatever becomes of it
# is told, and is no failure. After `stop_relay`, with the release in its place.
settle_relay() {
    if ! has_unit "$1" "$RELAY"; then
        say "The relay is not in $(basename "$1"): events wait"
    elif ! has_setting "$1" ORDERAPI_WEBHOOK_URL; then
        disable_relay
        say "The relay is disabled: ORDERAPI_WEBHOOK_URL is not set in $ENV_FILE"
    elif ! has_setting "$1" ORDERAPI_WEBHOOK_SECRET; then
        disable_relay
        say "The relay is disabled: ORDERAPI_WEBHOOK_SECRET is not set in $ENV_FILE"
    elif was_told_to_stop; then
        systemctl enable --quiet "$RELAY" || true
        say "The relay stays ended: its receiver answered 410 Gone. To ask it again:" \
            "sudo systemctl start orderapi-relay"
    elif systemctl enable --quiet "$RELAY" && systemctl start "$RELAY"; then
        say "The relay is enabled and started. What it does: journalctl -u orderapi-relay"
    else
        say "The relay did not start: journalctl -u orderapi-relay"
    fi
}

disable_relay() {
    # Apart from other units: systemctl does nothing at all if one that it is given is not there.
    systemctl disable --quiet --now "$RELAY" 2>/dev/null || true
    systemctl reset-failed "$RELAY" 2>/dev/null || true
}

has_setting() {
    as_service "$1" .venv/bin/python -c \
        'import os, sys; sys.exit(not os.environ.get(sys.argv[1]))' "$2"
}

# To stop a unit that has failed leaves it failed.
was_told_to_stop() {
    systemctl --quiet is-failed "$RELAY" &&
        [ "$(systemctl show --property=ExecMainStatus --value "$RELAY")" = "$RECEIVER_GONE" ]
}
