# shellcheck shell=bash
# What install.sh does with a release: make it, check it, switch to it, see whether it is healthy.

readonly HOME_DIR=/opt/orderapi
readonly RELEASES=$HOME_DIR/releases
readonly CURRENT=$HOME_DIR/current
readonly PREVIOUS=$HOME_DIR/previous
readonly ENV_FILE=/etc/orderapi/orderapi.env
readonly DATA=/var/lib/orderapi
readonly COMMAND=/usr/local/bin/orderapi
readonly UNIT_DIR=/etc/systemd/system
readonly UNITS=(orderapi.socket orderapi.service orderapi-backup.service orderapi-backup.timer
    orderapi-relay.service)
readonly NGINX=/etc/nginx
readonly SITE=sites-available/orderapi
readonly SOCKET=/run/orderapi.sock
readonly SHIPPED=(orderapi deploy wsgi.py setup.cfg pyproject.toml README.md LICENSE)
# A release has migrated before systemd says that it runs; clients wait meanwhile.
readonly HEALTHY_WITHIN_S=15

install_packages() {
    local missing=() package
    for package in python3 python3-venv nginx curl sqlite3; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "Installing the packages ${missing[*]}"
        # A fresh cloud machine installs its own updates first, and holds the lock meanwhile.
        export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
        local apt=(apt-get --quiet=2 -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
        "${apt[@]}" update
        "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or newer is needed; this is $(python3 -V)"
}

make_user_and_settings() {
    id orderapi >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir "$DATA" --no-create-home --shell /usr/sbin/nologin orderapi
    install -d -m 0755 "$(dirname "$ENV_FILE")" "$HOME_DIR" "$RELEASES"
    install -d -m 0750 -o orderapi -g orderapi "$DATA"
    if [ ! -e "$ENV_FILE" ]; then
        put "$THIS_COPY/deploy/orderapi.env" "$ENV_FILE" 0640
        chgrp orderapi "$ENV_FILE"
    fi
}

# A release is named for its version and its content: the same copy gives the same directory.
release_of() {
    local version digest
    version=$(sed -n 's/^version = //p' "$1/setup.cfg")
    digest=$({ python3 -c 'import sys; print(sys.version_info[:2])' && cd "$1" && shipped_files |
        xargs -0 sha256sum; } | sha256sum | cut -c1-10)
    echo "$RELEASES/$version-$digest"
}

make_release() {
    local copy=$1 release=$2
    remove_releases_but "$release" "$(release_at "$CURRENT")" "$(release_at "$PREVIOUS")"
    [ ! -e "$release/.complete" ] || return 0
    say "Making $(basename "$release")"
    rm -rf "$release"
    install -d -m 0755 "$release"
    (cd "$copy" && shipped_files | tar --create --null --files-from=- --mode=u=rwX,go=rX) |
        tar --extract --no-same-owner --directory="$release"
    (
        cd "$release" || exit
        python3 -m venv .venv
        pip=(.venv/bin/pip --quiet --disable-pip-version-check install)
        "${pip[@]}" --require-hashes --only-binary=:all: --requirement=deploy/requirements.lock
        "${pip[@]}" --no-index --no-deps --no-build-isolation --editable .
        .venv/bin/python -m compileall -q orderapi deploy wsgi.py
    )
    sync
    touch "$release/.complete"
}

# Everything that can be known to be wrong before anything that runs is touched.
check_release() {
    local release=$1 staged unit
    staged=$(mktemp -d)
    for unit in "${UNITS[@]}"; do
        if has_unit "$release" "$unit"; then
            sed "s#$CURRENT\b#$release#" "$release/deploy/systemd/$unit" >"$staged/$unit"
        fi
    done
    systemd-analyze verify --man=no --recursive-errors=no "$staged"/* ||
        die "nothing was changed; systemd does not accept the units of $(basename "$release")"
    rm -rf "$staged"
    check_site "$release" ||
        die "nothing was changed; nginx does not accept the site of $(basename "$release")"
    refuse_taken_metrics_port "$release"
    as_service "$release" .venv/bin/gunicorn --check-config -c deploy/gunicorn.conf.py wsgi:app ||
        die "nothing was changed; $(basename "$release") does not load with $ENV_FILE"
}

# `nginx -t` does not mind; a reload would then keep the old configuration, and a start would fail.
refuse_taken_metrics_port() {
    local port
    port=$(metrics_port_of "$1/deploy/nginx/orderapi/metrics.conf")
    [ -z "$port" ] || [ "$port" = "$(metrics_port_of "$NGINX/orderapi/metrics.conf")" ] ||
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
        die "nothing was changed; port $port of 127.0.0.1, for the metrics, is taken"
}

# Nothing if a release is from before there were metrics.
metrics_port_of() {
    sed -n 's/^ *listen 127\.0\.0\.1:\([0-9]*\);.*/\1/p' "$1" 2>/dev/null || true
}

# nginx's whole configuration as it would be, in a copy.
check_site() {
    local trial outcome=0
    trial=$(mktemp -d)
    cp -a "$NGINX/." "$trial/"
    put_site "$1" "$trial" || true
    sed -i "s#$NGINX/sites-enabled/#$trial/sites-enabled/#" "$trial/nginx.conf"
    nginx -tq -c "$trial/nginx.conf" || outcome=1
    rm -rf "$trial"
    return $outcome
}

# Fails, and says why, if a release cannot run with the settings or on the database that there are.
misfit_of() {
    as_service "$1" .venv/bin/python -m deploy.check 2>&1
}

switch_to() {
    local release=$1 unit changed=false socket_changed=false site_changed=false
    stop_relay
    if put_site "$release" "$NGINX"; then site_changed=true; fi
    for unit in "${UNITS[@]}"; do
        if ! has_unit "$release" "$unit"; then
            remove_unit "$unit"
            continue
        fi
        put "$release/deploy/systemd/$unit" "$UNIT_DIR/$unit" 0644 || continue
        changed=true
        if [ "$unit" = orderapi.socket ]; then socket_changed=true; fi
    done
    put "$release/deploy/orderapi.sh" "$COMMAND" 0755 || true
    if [ "$(release_at "$CURRENT")" != "$release" ]; then
        point "$CURRENT" "$release"
        changed=true
    fi
    if $changed; then systemctl daemon-reload; fi
    systemctl enable --quiet orderapi.socket orderapi.service orderapi-backup.timer
    # Connections wait in the socket; it is closed only if it has to be another one.
    if $socket_changed; then systemctl stop orderapi.service orderapi.socket; fi
    systemctl start orderapi.socket orderapi-backup.timer
    if $changed; then
        systemctl restart orderapi.service || return 1
    else
        # What it was restarted for before is no sign of how it is now; see `stays_up`.
        systemctl reset-failed orderapi.service 2>/dev/null || true
        systemctl start orderapi.service || return 1
    fi
    if $site_changed; then reload_nginx; else systemctl start nginx.service; fi
}

# An older release may be without one of them.
has_unit() {
    [ -e "$1/deploy/systemd/$2" ]
}

remove_unit() {
    systemctl disable --quiet --now "$1" 2>/dev/null || true
    rm -f "$UNIT_DIR/$1"
}

# Put a release's site into a configuration of nginx; fails if it was there already, as it is.
put_site() {
    local release=$1 nginx=$2 file changed=false
    install -d -m 0755 "$nginx/orderapi"
    for file in "$release"/deploy/nginx/orderapi/*; do
        if put "$file" "$nginx/orderapi/$(basename "$file")" 0644; then changed=true; fi
    done
    # A site that is not the installed release's own is the operator's, with TLS for one: it stays.
    if [ ! -e "$nginx/$SITE" ] || cmp --silent "$nginx/$SITE" "$CURRENT/deploy/nginx/orderapi.conf"; then
        if put "$release/deploy/nginx/orderapi.conf" "$nginx/$SITE" 0644; then changed=true; fi
    fi
    if [ ! -e "$nginx/sites-enabled/orderapi" ]; then
        ln -sfn "../$SITE" "$nginx/sites-enabled/orderapi"
        changed=true
    fi
    # It answers on port 80 for all names, as our site does.
    if [ -L "$nginx/sites-enabled/default" ]; then
        rm "$nginx/sites-enabled/default"
        changed=true
    fi
    $changed
}

reload_nginx() {
    nginx -tq && systemctl reload-or-restart nginx.service
}

wait_until_healthy() {
    local deadline=$((SECONDS + HEALTHY_WITHIN_S))
    while [ $SECONDS -lt $deadline ] && stays_up; do
        if serves "$1"; then return 0; fi
        sleep 0.2
    done
    return 1
}

# systemd has not had to start it again.
stays_up() {
    [ "$(systemctl show --property=NRestarts --value orderapi.service)" = 0 ] &&
        systemctl --quiet is-active orderapi.service
}

# The release's own process answers, its store takes writes, and nginx reaches it.
serves() {
    local pid
    pid=$(systemctl show --property=MainPID --value orderapi.service)
    [ "$(readlink "/proc/$pid/cwd")" = "$1" ] &&
        answers 200 --unix-socket "$SOCKET" http://localhost/readyz &&
        answers "200|308" http://127.0.0.1/healthz
}

answers() {
    local status
    status=$(curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "${@:2}")
    [[ $status =~ ^($1)$ ]]
}

# The last lines of the journal that tell of more than requests.
show_why() {
    journalctl --quiet --unit=orderapi.service --no-pager --lines=1000 --output=cat |
        grep -v '"level": "INFO"' | tail -n 5 >&2 || true
}

# Run a release's own program as the service's user, with its settings.
as_service() {
    local release=$1 program=$2
    systemd-run --quiet --wait --collect --pipe --property=User=orderapi --property=Group=orderapi \
        --property=UMask=0077 --property=EnvironmentFile="$ENV_FILE" \
        --property=WorkingDirectory="$release" -- "$release/$program" "${@:3}" </dev/null
}

remove_releases_but() {
    local release
    for release in "$RELEASES"/*/; do
        [[ " $* " == *" ${release%/} "* ]] || rm -rf "$release"
    done
}

shipped_files() {
    find "${SHIPPED[@]}" -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort --zero-terminated
}

# What a link points at; nothing if it is not there.
release_at() {
    readlink -e "$1" || true
}

# Point a link elsewhere in one step, or remove it.
point() {
    if [ -z "$2" ]; then
        rm -f "$1"
    else
        ln -sfn "$2" "$1.new"
        mv -T "$1.new" "$1"
    fi
}

# Put a file in its place in one step, which a power cut may follow; fails if it was there, as it is.
put() {
    if cmp --silent "$1" "$2"; then return 1; fi
    { install -m "$3" "$1" "$2.new" && sync "$2.new" && mv "$2.new" "$2"; } || die "cannot write $2"
}

say() {
    printf '%s\n' "$@"
}

die() {
    printf 'orderapi: %s\n' "$*" >&2
    exit 1
}
