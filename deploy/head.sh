#!/usr/bin/env bash
# Services of a cluster's head node: PostgreSQL and the MLflow server. Run again, it only repairs.
#
#   usage: deploy/head.sh SHARED_FOLDER DATA_FOLDER
#
# PostgreSQL is the distribution's, listens on loopback alone, and knows this user by the socket
# ("peer"), so that no password for it exists. MLflow listens on the private address, with a login.
set -euo pipefail
umask 077
[ $# -eq 2 ] || { echo "usage: deploy/head.sh SHARED_FOLDER DATA_FOLDER" >&2; exit 2; }
shared=$1 data=$2 port=5000
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
user=$(id -un)
address=$(hostname -I | awk '{print $1}')

sudo apt-get -o DPkg::Lock::Timeout=600 install -y -qq postgresql
sudo systemctl enable --now postgresql
sql() { sudo -u postgres psql --no-psqlrc --quiet --tuples-only --no-align --command "$1"; }
[ "$(sql "SELECT 1 FROM pg_roles WHERE rolname = '$user'")" = 1 ] || sql "CREATE ROLE \"$user\" LOGIN"
for database in mlflow mlflow_auth optuna; do
  [ "$(sql "SELECT 1 FROM pg_database WHERE datname = '$database'")" = 1 ] ||
    sql "CREATE DATABASE $database OWNER \"$user\""
done

# Every hour into the shared folder: a lost head node loses no more than that. (Runs can also be sent
# again from the trials' journals with `hcl sync`; the studies cannot.)
sudo tee /etc/cron.d/hcl-backup > /dev/null <<CRON
17 * * * * $user /bin/bash $here/backup.sh $shared/backup
CRON
sudo chmod 644 /etc/cron.d/hcl-backup

sudo tee /etc/systemd/system/hcl-mlflow.service > /dev/null <<UNIT
[Unit]
Description=MLflow server of hcl
After=network-online.target postgresql.service

[Service]
User=$user
ExecStart=/bin/bash $here/mlflow_server.sh $address $port $shared/artifacts
WorkingDirectory=$HOME
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
sudo systemctl daemon-reload
sudo systemctl enable hcl-mlflow
sudo systemctl restart hcl-mlflow

# What deploy/hcl.sh gives to `hcl` here.
mkdir -p "$HOME/.hcl" "$shared/storage"
cat > "$HOME/.hcl/cluster.env" <<ENV
RAY_ADDRESS=auto
RAY_AUTH_MODE=token
HCL_STORAGE=$shared/storage
HCL_STUDY_URL=postgresql+psycopg2:///optuna
HCL_DATA=$data
MLFLOW_TRACKING_URI=http://$address:$port
ENV

for _ in $(seq 60); do
  if "$here/../.venv/bin/python" -c "import urllib.request as u; u.urlopen('http://$address:$port/health')" 2> /dev/null; then
    echo "MLflow server: http://$address:$port"
    exit 0
  fi
  sleep 2
done
echo "the MLflow server does not answer; see: journalctl -u hcl-mlflow" >&2
exit 1
