# shellcheck shell=bash
# What install.sh does with a release: make it, switch to it, and wait until it is healthy.

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
# systemd reports a start only after the migrations, so this time does not include them. Clients
# wait during this time.
readonly STARTUP_MAX_S=15

install_packages() {
    local missing=() package
    for package in python3 python3-venv nginx curl sqlite3; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "Installing the packages ${missing[*]}."
        # A new cloud machine first installs its own updates, and holds the lock of apt for minutes.
        export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
        local apt=(apt-get --quiet=2 -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
        "${apt[@]}" update
        "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "the service needs Python 3.11 or newer, and this machine has $(python3 -V)"
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
    # A file that another program has put in its place may be readable by everybody, with a password.
    chmod o= "$ENV_FILE"
}

# Prints the directory of a release. The name contains the version and a hash of the content, so the
# same copy always gives the same directory.
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
    say "Making the release $(basename "$release")."
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

# Release 0.1.0 closes the socket if the file of its unit differs in any way. A rollback therefore
# keeps the file of the newer release, so that the way forward again fails no request.
keeps_socket_unit=false

# Puts a release in place of the installed one, and starts it. This also repairs an installation.
switch_to() {
    local release=$1 unit changed=false socket_changed=false site_changed=false
    stop_relay
    if put_site "$release" "$NGINX"; then site_changed=true; fi
    for unit in "${UNITS[@]}"; do
        if ! has_unit "$release" "$unit"; then
            remove_unit "$unit"
            continue
        fi
        if [ "$unit" = orderapi.socket ]; then
            if ! opens_same_socket "$release"; then
                socket_changed=true
            elif $keeps_socket_unit; then
                continue
            fi
        fi
        if put "$release/deploy/systemd/$unit" "$UNIT_DIR/$unit" 0644; then changed=true; fi
    done
    put "$release/deploy/orderapi.sh" "$COMMAND" 0755 || true
    if [ "$(release_at "$CURRENT")" != "$release" ]; then
        point "$CURRENT" "$release"
        changed=true
    fi
    if $changed; then systemctl daemon-reload; fi
    systemctl enable --quiet orderapi.socket orderapi.service orderapi-backup.timer
    # Clients wait in the socket during a restart, so the socket is closed only if it must change.
    if $socket_changed; then systemctl stop orderapi.service orderapi.socket; fi
    systemctl start orderapi.socket orderapi-backup.timer
    if $changed; then
        systemctl restart orderapi.service || return 1
    else
        # `stays_up` counts restarts, and restarts before this installation must not count.
        systemctl reset-failed orderapi.service 2>/dev/null || true
        systemctl start orderapi.service || return 1
    fi
    if $site_changed; then reload_nginx; else systemctl start nginx.service; fi
}

# Succeeds if the release's socket unit differs from the installed one only in comments and in what
# does not need a new socket. Every closed socket fails the requests of a moment.
opens_same_socket() {
    local settings='^(Listen|Socket|Backlog)'
    cmp --silent <(grep -E "$settings" "$1/deploy/systemd/orderapi.socket") \
        <(grep -E "$settings" "$UNIT_DIR/orderapi.socket" 2>/dev/null)
}

# An older release does not have all units.
has_unit() {
    [ -e "$1/deploy/systemd/$2" ]
}

remove_unit() {
    systemctl disable --quiet --now "$1" 2>/dev/null || true
    rm -f "$UNIT_DIR/$1"
}

# Puts the site of a release into a configuration of nginx. Fails if nothing had to be changed.
put_site() {
    local release=$1 nginx=$2 file changed=false
    install -d -m 0755 "$nginx/orderapi"
    for file in "$release"/deploy/nginx/orderapi/*; do
        if is_changed_by_operator "$nginx" "$(basename "$file")"; then continue; fi
        if put "$file" "$nginx/orderapi/$(basename "$file")" 0644; then changed=true; fi
    done
    # A site that differs from the installed release's site was changed by the operator, for example
    # for HTTPS. Such a site stays.
    if [ ! -e "$nginx/$SITE" ] || cmp --silent "$nginx/$SITE" "$CURRENT/deploy/nginx/orderapi.conf"; then
        if put "$release/deploy/nginx/orderapi.conf" "$nginx/$SITE" 0644; then changed=true; fi
    fi
    if [ ! -e "$nginx/sites-enabled/orderapi" ]; then
        ln -sfn "../$SITE" "$nginx/sites-enabled/orderapi"
        changed=true
    fi
    # Debian's default site answers for all names on port 80, as our site does. nginx allows only one.
    if [ -L "$nginx/sites-enabled/default" ]; then
        rm "$nginx/sites-enabled/default"
        changed=true
    fi
    $changed
}

# Succeeds for a list of hosts that is not the one of the installed release. It stays in an upgrade.
is_changed_by_operator() {
    local installed=$1/orderapi/$2
    [ "$2" = hosts.conf ] && [ -e "$installed" ] && ! cmp --silent "$installed" "$CURRENT/deploy/nginx/orderapi/$2"
}

reload_nginx() {
    nginx -tq && systemctl reload-or-restart nginx.service
}

wait_until_healthy() {
    local deadline=$((SECONDS + STARTUP_MAX_S))
    while [ $SECONDS -lt $deadline ] && stays_up; do
        if serves "$1"; then return 0; fi
        sleep 0.2
    done
    return 1
}

# Succeeds if the service runs, and systemd has not had to restart it.
stays_up() {
    [ "$(systemctl show --property=NRestarts --value orderapi.service)" = 0 ] &&
        systemctl --quiet is-active orderapi.service
}

# Succeeds if the process of this release answers, its store accepts writes, and nginx reaches it.
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

# Prints the last lines of the service's log, without those of requests.
show_why() {
    journalctl --quiet --unit=orderapi.service --no-pager --lines=1000 --output=cat |
        grep -v '"level": "INFO"' | tail -n 5 >&2 || true
}

# Runs a program of a release as the user of the service, with the settings of the service.
as_service() {
    local release=$1 program=$2
    systemd-run --quiet --wait --collect --pipe --property=User=orderapi --property=Group=orderapi \
        --property=UMask=0077 --property=LimitCORE=0 --property=EnvironmentFile="$ENV_FILE" \
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

# Prints the target of a link, or nothing if there is no link.
release_at() {
    readlink -e "$1" || true
}

# Points the link $1 at $2 in one step. If $2 is empty, the link is removed.
point() {
    if [ -z "$2" ]; then
        rm -f "$1"
    else
        ln -sfn "$2" "$1.new"
        mv -T "$1.new" "$1"
    fi
}

# Copies file $1 to $2 with mode $3, in one step that survives a power cut. Fails if $2 has the same
# content already.
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
