#!/bin/sh
# Runs a command of orderapi as the service's user, with its settings and in its directory. Files
# are therefore named by absolute paths, where that user may read or write.
set -eu
[ "$(id -u)" = 0 ] || exec sudo -- "$0" "$@"
# Whatever the settings' file looks like, systemd reads it here as it does for the service.
attached=--pipe
if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then attached=--pty; fi
exec systemd-run --quiet --wait --collect "$attached" \
    --property=User=orderapi --property=Group=orderapi --property=UMask=0077 \
    --property=EnvironmentFile=/etc/orderapi/orderapi.env \
    --property=WorkingDirectory=/opt/orderapi/current \
    --setenv=LANG=C.UTF-8 --setenv="TERM=${TERM:-dumb}" \
    -- /opt/orderapi/current/.venv/bin/orderapi "$@"
