# shellcheck shell=bash
# What install.sh does with the relay. Orders never wait for the relay, so its state never makes an
# installation fail.

readonly RELAY=orderapi-relay.service
# The relay ends with this exit code when its receiver answers 410 Gone.
readonly RECEIVER_GONE=3

# The running relay must be stopped before a newer release migrates the database.
stop_relay() {
    systemctl stop "$RELAY" 2>/dev/null || true
}

# Starts the relay if the release has one and the settings name a receiver. One line of output says
# what was done. Call this function after `stop_relay`, when the release is in place.
settle_relay() {
    if ! has_unit "$1" "$RELAY"; then
        say "$(basename "$1") has no relay. Events are kept until a release with a relay delivers them."
    elif ! has_setting "$1" ORDERAPI_WEBHOOK_URL; then
        disable_relay
        say "The relay is disabled, because ORDERAPI_WEBHOOK_URL is not set in $ENV_FILE."
    elif ! has_setting "$1" ORDERAPI_WEBHOOK_SECRET; then
        disable_relay
        say "The relay is disabled, because ORDERAPI_WEBHOOK_SECRET is not set in $ENV_FILE."
    elif receiver_was_gone; then
        systemctl enable --quiet "$RELAY" || true
        say "The relay was not started, because its receiver answered 410 Gone. To try again:" \
            "sudo systemctl start orderapi-relay"
    elif systemctl enable --quiet "$RELAY" && systemctl start "$RELAY"; then
        say "The relay is enabled and started. Its log: journalctl -u orderapi-relay"
    else
        say "The relay did not start. The reason is in its log: journalctl -u orderapi-relay"
    fi
}

disable_relay() {
    # The relay has a command of its own, because systemctl does nothing at all if one of several
    # units does not exist.
    systemctl disable --quiet --now "$RELAY" 2>/dev/null || true
    systemctl reset-failed "$RELAY" 2>/dev/null || true
}

has_setting() {
    as_service "$1" .venv/bin/python -c \
        'import os, sys; sys.exit(not os.environ.get(sys.argv[1]))' "$2"
}

# A failed unit is still failed after `stop_relay`.
receiver_was_gone() {
    systemctl --quiet is-failed "$RELAY" &&
        [ "$(systemctl show --property=ExecMainStatus --value "$RELAY")" = "$RECEIVER_GONE" ]
}
