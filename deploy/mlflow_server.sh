#!/usr/bin/env bash
# Start a cluster's MLflow server: runs and users in PostgreSQL, artifacts in a folder, with a login.
#
#   usage: deploy/mlflow_server.sh HOST PORT ARTIFACTS
#
# PostgreSQL needs databases `mlflow` and `mlflow_auth`, and is found as libpq finds it (PGHOST, PGPORT,
# PGUSER, ~/.pgpass; by default this machine's socket). The first start makes up a password for MLflow's
# user `admin` and writes it to ~/.mlflow/credentials, where MLflow's clients look for it.
set -euo pipefail
umask 077
[ $# -eq 3 ] || { echo "usage: deploy/mlflow_server.sh HOST PORT ARTIFACTS" >&2; exit 2; }
host=$1 port=$2 artifacts=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python="${HCL_PYTHON:-$here/../.venv/bin/python}"
credentials="$HOME/.mlflow/credentials"
secret="$HOME/.mlflow/server_secret"

mkdir -p "$HOME/.mlflow" "$artifacts"
random() { "$python" -c "import secrets; print(secrets.token_urlsafe(32))"; }
if [ ! -s "$credentials" ]; then
  printf '[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = %s\n' "$(random)" \
    > "$credentials"
fi
[ -s "$secret" ] || random > "$secret"

# Secrets go into the environment: every user of the machine can see a process's arguments.
MLFLOW_AUTH_ADMIN_PASSWORD=$(sed -n 's/^mlflow_tracking_password *= *//p' "$credentials")
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$secret")
export MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
export MLFLOW_AUTH_CONFIG_PATH="$here/mlflow_auth.ini"
export MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2:///mlflow
# The server refuses other Host headers (DNS rebinding). It compares names including the port.
export MLFLOW_SERVER_ALLOWED_HOSTS="$host,$host:$port,localhost,localhost:$port,127.0.0.1,127.0.0.1:$port${HCL_MLFLOW_HOSTS:+,$HCL_MLFLOW_HOSTS}"
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
# Connections per worker process. PostgreSQL allows 100 in total by default.
export MLFLOW_SQLALCHEMYSTORE_POOL_SIZE=5 MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW=10

exec "$python" -m mlflow server --app-name basic-auth --host "$host" --port "$port" \
  --workers "${HCL_MLFLOW_WORKERS:-2}" --artifacts-destination "$artifacts"
