#!/usr/bin/env bash
# Installs, upgrades, rolls back or removes the order service on Debian or Ubuntu with systemd.
set -euo pipefail
THIS_COPY=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# shellcheck source=deploy/release.sh
. "$THIS_COPY/deploy/release.sh"
# shellcheck source=deploy/checks.sh
. "$THIS_COPY/deploy/checks.sh"
# shellcheck source=deploy/relay.sh
. "$THIS_COPY/deploy/relay.sh"

usage() {
    cat <<'USAGE'
sudo deploy/install.sh               installs this copy; run again, it repairs the installation
sudo deploy/install.sh --upgrade     replaces the installed release with this copy
sudo deploy/install.sh --rollback    returns to the previous release; run again, it goes forward
sudo deploy/install.sh --uninstall   removes the service, and keeps its data and settings
sudo deploy/install.sh --uninstall --purge-data   also removes the data and the settings
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
        die "$(basename "$installed") is installed. To replace it: $0 --upgrade"
    fi
    make_release "$THIS_COPY" "$release"
    check_release "$release"
    say "Starting $(basename "$release")."
    if ! { switch_to "$release" && wait_until_healthy "$release"; }; then
        show_why
        if [ -z "$installed" ]; then take_out_of_service; else settle_relay "$release"; fi
        die "$(basename "$release") is not healthy. Its log: journalctl -u orderapi"
    fi
    settle_relay "$release"
    say "Installed. The service is at http://$(hostname -I | cut -d' ' -f1)/orders." \
        "The settings are in $ENV_FILE. The data is in $DATA." \
        "$CURRENT/deploy/README.md explains how to verify and operate the service, and HTTPS."
    settle_access "$release"
    sync
}

upgrade() {
    local old new before
    old=$(need_installed)
    before=$(release_at "$PREVIOUS")
    install_packages
    make_user_and_settings
    new=$(release_of "$THIS_COPY")
    if [ "$new" = "$old" ]; then
        say "$(basename "$new") is installed already."
        return
    fi
    make_release "$THIS_COPY" "$new"
    check_release "$new"
    say "Making a backup."
    systemctl start orderapi-backup.service ||
        die "nothing was changed, because the backup failed: journalctl -u orderapi-backup"
    say "Switching from $(basename "$old") to $(basename "$new")."
    replace "$old" "$new" "$before"
    remove_releases_but "$new" "$old"
    settle_access "$new"
    sync
    say "Upgraded. To return to $(basename "$old"): sudo $CURRENT/deploy/install.sh --rollback"
}

# A rollback never restores data. Therefore the old release must work on what the new one has left.
roll_back() {
    local new old reason
    new=$(need_installed)
    old=$(release_at "$PREVIOUS")
    [ -n "$old" ] || die "there is no release before $(basename "$new")"
    reason=$(misfit_of "$old") ||
        die "nothing was changed, because $(basename "$old") cannot run here: $reason"
    check_release "$old"
    keeps_socket_unit=true
    say "Switching back from $(basename "$new") to $(basename "$old")."
    replace "$new" "$old" "$old"
    sync
    say "Rolled back. To return to $(basename "$new"): sudo $CURRENT/deploy/install.sh --rollback"
}

uninstall() {
    say "Stopping and removing the service."
    systemctl stop orderapi-backup.service 2>/dev/null || true
    take_out_of_service
    rm -f "${UNITS[@]/#/$UNIT_DIR/}" "$COMMAND" "$NGINX/sites-enabled/orderapi" "$NGINX/$SITE"
    # systemd removes this directory, except after a rollback to a release whose unit does not name it.
    rm -rf "$HOME_DIR" "$NGINX/orderapi" /run/orderapi
    systemctl daemon-reload
    if [ -d "$NGINX" ] && ! reload_nginx; then
        say "nginx was not reloaded, because of an error. The error is in: sudo nginx -t"
    fi
    if [ "${1:-}" = purge ]; then
        remove_data
        rm -rf "$(dirname "$ENV_FILE")" /var/log/nginx/orderapi.log*
        rm -f /var/lib/systemd/timers/stamp-orderapi-backup.timer
        if id orderapi >/dev/null 2>&1 && ! userdel orderapi; then
            say "The user orderapi was not removed. To try again: sudo userdel orderapi"
        fi
        say "Removed, with the data and the settings. The packages are still installed."
    else
        say "Removed. The data in $DATA, the settings in $(dirname "$ENV_FILE") and the packages are kept."
    fi
    sync
}

# Replaces release $1 with release $2, and makes $1 the previous release. If $2 is not healthy, this
# function returns to $1, makes $3 the previous release, and ends the script with a failure.
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
        die "$(basename "$new") is not healthy. It stays installed, because $(basename "$old")" \
            "cannot run here any more: $reason"
    fi
    say "$(basename "$new") is not healthy. Returning to $(basename "$old")."
    if ! { switch_to "$old" && wait_until_healthy "$old"; }; then
        settle_relay "$old"
        die "$(basename "$old") is not healthy either. Its log: journalctl -u orderapi"
    fi
    point "$PREVIOUS" "$before"
    settle_relay "$old"
    sync
    die "$(basename "$old") serves as before"
}

# Says who may use the service. If it requires tokens and has none, its first one is created and shown.
# The token goes past this script, so that it is in no variable and in no argument.
settle_access() {
    as_service "$1" .venv/bin/python -m deploy.access ||
        die "the service runs, but the step that shows who may use it has failed. To try again: $0"
}

# The directory can be a mount point, which can be emptied but not removed. Its user is removed, so
# the empty directory then belongs to root.
remove_data() {
    if mountpoint --quiet "$DATA"; then
        find "$DATA" -mindepth 1 -delete
        chown root:root "$DATA"
        say "The volume at $DATA is empty, and it is still mounted."
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
    [ -n "$release" ] || die "no release is installed. To install this copy: $0"
    echo "$release"
}

run_alone() {
    [ "$(id -u)" = 0 ] || die "this script needs root. Run it with sudo"
    exec 9>/run/lock/orderapi-install
    flock --nonblock 9 || die "another installation is running"
    umask 022
    "$@"
}

main "$@"
