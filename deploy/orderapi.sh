#!/bin/sh
# Runs a command of orderapi as the user of the service, with the settings of the service, in the
# directory of the installed release. Therefore file arguments must be absolute paths that this user
# may read or write.
set -eu
[ "$(id -u)" = 0 ] || exec sudo -- "$0" "$@"
attached=--pipe
if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then attached=--pty; fi
# systemd-run exits with 0 if its program was ended by SIGHUP, SIGINT or SIGTERM. A backup that was
# ended like this was not made. Therefore a shell, which these signals do not end, exits with 128 and
# the number of the signal.
# systemd-run reads the settings, because systemd reads them for the service too: any syntax that
# works for the service works here.
exec systemd-run --quiet --wait --collect "$attached" \
    --property=User=orderapi --property=Group=orderapi --property=UMask=0077 \
    --property=LimitCORE=0 \
    --property=EnvironmentFile=/etc/orderapi/orderapi.env \
    --property=WorkingDirectory=/opt/orderapi/current \
    --setenv=LANG=C.UTF-8 --setenv="TERM=${TERM:-dumb}" \
    -- /bin/sh -c 'trap : HUP INT TERM; "$@"; exit $?' sh \
    /opt/orderapi/current/.venv/bin/orderapi "$@"
