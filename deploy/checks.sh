# shellcheck shell=bash
# What install.sh checks before it changes anything that runs.

# Ends the script if it is already clear that the release cannot run here.
check_release() {
    local release=$1 name
    name=$(basename "$release")
    refuse_foreign_files
    refuse_taken_socket
    refuse_taken_metrics_port "$release"
    check_units "$release" || die "nothing was changed, because systemd refuses the units of $name"
    check_site "$release" || die "nothing was changed, because nginx refuses the site of $name"
    as_service "$release" .venv/bin/python -m deploy.check --settings "$ENV_FILE" ||
        die "nothing was changed, because $name refuses the settings in $ENV_FILE"
    as_service "$release" .venv/bin/gunicorn --check-config -c deploy/gunicorn.conf.py wsgi:app ||
        die "nothing was changed, because $name does not load with the settings in $ENV_FILE"
}

# These two files would be replaced. Files of another installation under these names are kept.
refuse_foreign_files() {
    local file
    for file in "$COMMAND" "$UNIT_DIR/orderapi.service"; do
        if [ -e "$file" ] && ! grep --quiet --fixed-strings "$CURRENT" "$file"; then
            die "nothing was changed, because $file belongs to another installation. Move it away first"
        fi
    done
}

# systemd would replace the socket of a service that was started by hand, and take its clients.
refuse_taken_socket() {
    if systemctl --quiet is-active orderapi.socket; then return; fi
    # 00010000 is the flag of a socket that listens (proc_net(5)).
    if grep --quiet " 00010000 .* $SOCKET\$" /proc/net/unix; then
        die "nothing was changed, because another process listens at $SOCKET"
    fi
}

# `nginx -t` does not find this fault. A reload would then keep the old configuration without an
# error, and a start would fail.
refuse_taken_metrics_port() {
    local port
    port=$(metrics_port_of "$1/deploy/nginx/orderapi/metrics.conf")
    [ -z "$port" ] || [ "$port" = "$(metrics_port_of "$NGINX/orderapi/metrics.conf")" ] ||
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
        die "nothing was changed, because the metrics need port $port of 127.0.0.1, and it is taken"
}

# Prints nothing for an old release that has no metrics.
metrics_port_of() {
    sed -n 's/^ *listen 127\.0\.0\.1:\([0-9]*\);.*/\1/p' "$1" 2>/dev/null || true
}

# Lets systemd check copies of the units that start the programs of this release.
check_units() {
    local release=$1 staged unit outcome=0
    staged=$(mktemp -d)
    for unit in "${UNITS[@]}"; do
        if has_unit "$release" "$unit"; then
            sed "s#$CURRENT\b#$release#" "$release/deploy/systemd/$unit" >"$staged/$unit"
        fi
    done
    systemd-analyze verify --man=no --recursive-errors=no "$staged"/* || outcome=1
    rm -rf "$staged"
    return $outcome
}

# Lets nginx check a copy of its whole configuration, with the site of this release in it.
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

# Fails, and prints the reason, if a release cannot run with the present settings and database.
misfit_of() {
    as_service "$1" .venv/bin/python -m deploy.check 2>&1
}
