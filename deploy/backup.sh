#!/usr/bin/env bash
# Dump the head's databases (runs, users, studies) into a folder: deploy/backup.sh FOLDER
# To restore one: pg_restore --clean --if-exists --dbname=NAME FOLDER/NAME.dump
set -euo pipefail
umask 077
[ $# -eq 1 ] || { echo "usage: deploy/backup.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
for database in mlflow mlflow_auth optuna; do
  pg_dump --format=custom --file="$1/$database.new" "$database"
  mv "$1/$database.new" "$1/$database.dump" # an incomplete dump never replaces a good one
done
