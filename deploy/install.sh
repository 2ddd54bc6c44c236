#!/usr/bin/env bash
# Installs, upgrades, takes back or removes the order service on Debian or Ubuntu with systemd.
set -euo pipefail
THIS_COPY=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# shellcheck source=deploy/release.sh
. "$THIS_COPY/deploy/release.sh"
# shellcheck source=deploy/relay.sh
. "$THIS_COPY/deploy/relay.sh"

usage() {
    cat <<'USAGE'
sudo deploy/install.sh                 install from this copy; again: put right what was changed
sudo deploy/install.sh --upgrade       replace the installed release by this copy
sudo deploy/install.sh --rollback      go back to the release before; again: forward
sudo deploy/install.sh --uninstall [--purge-data]   remove the service; with its data and settings
USAGE
}

main() {
    case "$*" in
    "") run_alone install_this_copy ;;
    --upgrade) run_alone upgrade ;;
    --rollback) run_alone roll_back ;;
    --uninstall) run_alone uninstall ;;
    "--uninstall --purge-data") run_alone uninstall purge ;;
    -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
    esac
}

install_this_copy() {
    local release installed
    install_packages
    make_user_and_settings
    release=$(release_of "$THIS_COPY") installed=$(release_at "$CURRENT")
    if [ -n "$installed" ] && [ "$installed" != "$release" ]; then
        die "$(basename "$installed") is installed; to replace it: $0 --upgrade"
    fi
    make_release "$THIS_COPY" "$release"
    check_release "$release"
    say "Starting $(basename "$release")"
    if ! { switch_to "$release" && wait_until_healthy "$release"; }; then
        show_why
        if [ -z "$installed" ]; then take_out_of_service; else settle_relay "$release"; fi
        die "$(basename "$release") is not healthy: journalctl -u orderapi"
    fi
    settle_relay "$release"
    sync
    say "Installed: http://$(hostname -I | cut -d' ' -f1)/orders. Settings: $ENV_FILE; data: $DATA" \
        "Next: sudo orderapi verify. TLS, and all that follows: $CURRENT/deploy/README.md"
}

upgrade() {
    local old new before
    old=$(need_installed)
    before=$(release_at "$PREVIOUS")
    install_packages
    make_user_and_settings
    new=$(release_of "$THIS_COPY")
    if [ "$new" = "$old" ]; then
        say "$(basename "$new") is installed already"
        return
    fi
    make_release "$THIS_COPY" "$new"
    check_release "$new"
    say "Backing up"
    systemctl start orderapi-backup.service || die "the backup failed; nothing was changed"
    say "Switching from $(basename "$old") to $(basename "$new")"
    replace "$old" "$new" "$before"
    remove_releases_but "$new" "$old"
    sync
    say "Upgraded. To go back: sudo $CURRENT/deploy/install.sh --rollback"
}

# A release never goes back by restoring data: the old one must fit what the new one has left.
roll_back() {
    local new old reason
    new=$(need_installed)
    old=$(release_at "$PREVIOUS")
    [ -n "$old" ] || die "there is no release before $(basename "$new")"
    reason=$(misfit_of "$old") || die "nothing was changed; $(basename "$old") cannot run here: $reason"
    check_release "$old"
    say "Switching back from $(basename "$new") to $(basename "$old")"
    replace "$new" "$old" "$old"
    sync
    say "Rolled back. To go forward again: sudo $CURRENT/deploy/install.sh --rollback"
}

uninstall() {
    say "Stopping and removing the service"
    systemctl stop orderapi-backup.service 2>/dev/null || true
    take_out_of_service
    rm -f "${UNITS[@]/#/$UNIT_DIR/}" "$COMMAND" "$NGINX/sites-enabled/orderapi" "$NGINX/$SITE"
    rm -rf "$HOME_DIR" "$NGINX/orderapi"
    systemctl daemon-reload
    if [ -d "$NGINX" ]; then reload_nginx; fi
    if [ "${1:-}" = purge ]; then
        remove_data
        rm -rf "$(dirname "$ENV_FILE")" /var/log/nginx/orderapi.log*
        rm -f /var/lib/systemd/timers/stamp-orderapi-backup.timer
        if id orderapi >/dev/null 2>&1; then userdel orderapi; fi
        say "Removed, with data and settings. The packages stay"
    else
        say "Removed. The data in $DATA, the settings in $(dirname "$ENV_FILE") and the packages stay"
    fi
    sync
}

# Put release $2 in the place of $1, which then is the one before; or go back, and end with a failure.
replace() {
    local old=$1 new=$2 before=$3 reason
    point "$PREVIOUS" "$old"
    if switch_to "$new" && wait_until_healthy "$new"; then
        settle_relay "$new"
        return
    fi
    show_why
    if ! reason=$(misfit_of "$old"); then
        settle_relay "$new"
        die "$(basename "$new") is not healthy, and stays, for $(basename "$old") cannot run here now:" \
            "$reason"
    fi
    say "$(basename "$new") is not healthy: going back to $(basename "$old")"
    if ! { switch_to "$old" && wait_until_healthy "$old"; }; then
        settle_relay "$old"
        die "$(basename "$old") is not healthy either: journalctl -u orderapi"
    fi
    point "$PREVIOUS" "$before"
    settle_relay "$old"
    sync
    die "$(basename "$old") serves as before"
}

# A mount point can be emptied, not removed; its user goes.
remove_data() {
    if mountpoint --quiet "$DATA"; then
        find "$DATA" -mindepth 1 -delete
        chown root:root "$DATA"
        say "The volume at $DATA is empty, and stays mounted"
    else
        rm -rf "$DATA"
    fi
}

take_out_of_service() {
    disable_relay
    systemctl disable --quiet --now orderapi-backup.timer orderapi.socket orderapi.service 2>/dev/null || true
    rm -f "$CURRENT"
}

need_installed() {
    local release
    release=$(release_at "$CURRENT")
    [ -n "$release" ] || die "nothing is installed; to do so: $0"
    echo "$release"
}

run_alone() {
    [ "$(id -u)" = 0 ] || die "run it with sudo"
    exec 9>/run/lock/orderapi-install
    flock --nonblock 9 || die "another installation is running"
    umask 022
    "$@"
}

main "$@"
