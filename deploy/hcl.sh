#!/usr/bin/env bash
# Run `hcl` on the head node with the cluster's settings: deploy/hcl.sh sweep SEARCH_SPACE [OPTIONS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
set -a
# shellcheck source=/dev/null
. "$HOME/.hcl/cluster.env"
set +a
exec "$here/../.venv/bin/hcl" "$@"
