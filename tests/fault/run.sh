#!/usr/bin/env bash
# The fault runs with real durations; the suite scales them down.
#
#   tests/fault/run.sh [SECONDS]
#
# Every fault of tests/it/fault/runs.rs lasts 30 SECONDS. Prints how far it is, and the table of docs/faults.md at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source ci/install.sh
install_redis

export CENTRIPETAL_FAULT_SECONDS=${1:-30}
cargo test --locked --test it -- --ignored --nocapture fault::runs::every_fault_is_repaired_or_declared
