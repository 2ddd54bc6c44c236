#!/usr/bin/env bash
# Makes one backup in a directory, and then removes the oldest backups: backup.sh DIRECTORY
#
# BACKUPS_KEPT is the maximum number of backups that the directory keeps, the new one included. The
# default is 7. The script runs in the directory of a release, with the settings of the service in
# its environment. It changes only files with the names that it gives: latest.db, and
# orders-YYYYmmddTHHMMSSZ.db with the time in UTC.
set -euo pipefail
# Names are compared byte by byte, so their order is the order of the times in them.
LC_ALL=C
readonly EXIT_LOCKED=75

main() {
    directory=${1:-} kept_max=${BACKUPS_KEPT:-7}
    [ -d "$directory" ] || die "the argument must be a directory: backup.sh DIRECTORY"
    [[ $kept_max =~ ^[1-9][0-9]{0,5}$ ]] ||
        die "BACKUPS_KEPT must be an integer from 1 to 999999, not '$kept_max'"
    refuse_second_run

    local before name
    mapfile -t before < <(backups_there)
    name=$(name_of_new_backup)
    .venv/bin/orderapi backup "$directory/$name"
    point_latest_at "$name"
    # The new link must be on the disk before a backup is removed that the old link may name. Some
    # network file systems cannot sync a directory, and then this step is left out.
    sync "$directory" 2>/dev/null || true
    remove_oldest "$name" "${before[@]}"
}

# Two runs at once could each remove what the other one has just made.
refuse_second_run() {
    exec 9<"$directory"
    local outcome=0
    flock --nonblock --conflict-exit-code $EXIT_LOCKED 9 || outcome=$?
    # Some network file systems cannot lock a directory. Such a failure does not stop the backup.
    [ $outcome != $EXIT_LOCKED ] || die "another run is making a backup in $directory"
}

# Prints the names of the backups in the directory, in the order of the times in the names.
backups_there() {
    local file name
    for file in "$directory"/orders-*.db; do
        name=${file##*/}
        if [ -f "$file" ] && [ ! -L "$file" ] && [[ $name =~ ^orders-[0-9]{8}T[0-9]{6}Z\.db$ ]]; then
            echo "$name"
        fi
    done
}

# A name is taken already if a backup was made in this second, or if the clock was set back.
name_of_new_backup() {
    local name
    while name=orders-$(date -u +%Y%m%dT%H%M%SZ).db && [ -e "$directory/$name" ]; do sleep 1; done
    echo "$name"
}

# Replaces the link latest.db in one step, so that there is never a moment without it.
point_latest_at() {
    local link=$directory/latest.db
    if [ ! -L "$link" ] && [ -e "$link" ]; then
        die "the backup $1 is complete, but latest.db is not a link and was left as it is." \
            "Move it away"
    fi
    if ln -sfT "$1" "$link.new" && mv -fT "$link.new" "$link"; then return; fi
    [ ! -L "$link" ] || die "the backup $1 is complete, but latest.db still names an older one"
    echo "There is no latest.db, because $directory cannot contain symbolic links." \
        "The newest backup is $1."
}

# Removes backups until, with the new one ($1), at most `kept_max` are left. Only backups that were
# there before this run (all other arguments) are candidates.
remove_oldest() {
    local new=$1 name early=() late=()
    for name in "${@:2}"; do
        if [[ $name < $new ]]; then early+=("$name"); else late+=("$name"); fi
    done
    # A name with a later time than the new backup's was given while the clock was ahead. Such a
    # backup is older than its name says, so it is the first to go.
    local candidates=("${late[@]}" "${early[@]}") surplus=$(($# - kept_max))
    if [ $surplus -le 0 ]; then return; fi
    for name in "${candidates[@]:0:surplus}"; do
        rm -f -- "$directory/$name"
        echo "Removed the old backup $name."
    done
}

die() {
    printf 'backup.sh: %s\n' "$*" >&2
    exit 1
}

main "$@"
