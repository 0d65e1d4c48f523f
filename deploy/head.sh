#!/usr/bin/env bash
# Start the services of a cluster's head node: PostgreSQL and the MLflow server. Running it again only
# repairs what is missing.
#
#   usage: deploy/head.sh SHARED_FOLDER DATA_FOLDER
#
# PostgreSQL is the distribution's. It listens on loopback only and recognises this user by the socket
# ("peer"), so it needs no password. MLflow listens on the private address and asks for a login.
set -euo pipefail
umask 077
[ $# -eq 2 ] || { echo "usage: deploy/head.sh SHARED_FOLDER DATA_FOLDER" >&2; exit 2; }
shared=$1 data=$2 port=5000
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
user=$(id -un)
address=$(hostname -I | awk '{print $1}')

sudo apt-get -o DPkg::Lock::Timeout=600 install -y -qq postgresql
sudo systemctl enable --now postgresql
# From /: psql complains if its user may not enter this user's home.
sql() { (cd / && sudo -u postgres psql --no-psqlrc --quiet --tuples-only --no-align --command "$1"); }
[ "$(sql "SELECT 1 FROM pg_roles WHERE rolname = '$user'")" = 1 ] || sql "CREATE ROLE \"$user\" LOGIN"
for database in mlflow mlflow_auth optuna; do
  [ "$(sql "SELECT 1 FROM pg_database WHERE datname = '$database'")" = 1 ] ||
    sql "CREATE DATABASE $database OWNER \"$user\""
done

# Back up into the shared folder every hour, so losing the head node loses at most an hour. (`hcl sync`
# can also send runs again from the trials' journals, but not the studies.)
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

# Settings that deploy/hcl.sh passes to `hcl` on this node.
mkdir -p "$HOME/.hcl" "$shared/storage"
cat > "$HOME/.hcl/cluster.env" <<ENV
RAY_ADDRESS=auto
RAY_AUTH_MODE=token
HCL_STORAGE=$shared/storage
HCL_STUDY_URL=postgresql+psycopg2:///optuna
HCL_DATA=$data
MLFLOW_TRACKING_URI=http://$address:$port
ENV

for _ in $(seq 150); do # a first start on a slow machine takes two minutes
  if "$here/../.venv/bin/python" -c "import urllib.request as u; u.urlopen('http://$address:$port/health')" 2> /dev/null; then
    echo "MLflow server: http://$address:$port"
    exit 0
  fi
  sleep 2
done
echo "the MLflow server does not answer; see: journalctl -u hcl-mlflow" >&2
exit 1
