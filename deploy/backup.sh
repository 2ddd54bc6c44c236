#!/usr/bin/env bash
# Adds a backup to a directory, and removes the oldest beyond BACKUPS_KEPT: backup.sh DIRECTORY
set -euo pipefail
directory=$1
name=orders-$(date -u +%Y%m%dT%H%M%SZ).db
.venv/bin/orderapi backup "$directory/$name"
ln -sfn "$name" "$directory/latest.db"
# In the order of their names, which is that of their times. None goes before the new one is there.
kept=("$directory"/orders-*.db)
for ((i = 0; i < ${#kept[@]} - ${BACKUPS_KEPT:-7}; i++)); do
    rm -- "${kept[i]}"
done
