#!/usr/bin/env bash
# Everything that must hold before a change is taken, from cheap to dear. Developers and CI run the same.
#
# Works on a fresh clone with Rust, Go, Node and Python; installs what else is missing (ci/install.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# In CI no test is left out for a missing SDK; a developer who runs this script asks for the same.
export CI="${CI:-true}"
source ci/install.sh

step() {
  local name=$1 start=$SECONDS
  shift
  printf '\n==== %s\n' "$name"
  "$@"
  printf '==== %s: %d s\n' "$name" $((SECONDS - start))
}

programs() {
  local unformatted
  unformatted=$(gofmt -l tests/sdk/go)
  if [ -n "$unformatted" ]; then
    printf 'gofmt: %s\n' "$unformatted"
    return 1
  fi
  (cd tests/sdk/go && go vet ./...)
  local file
  for file in tests/sdk/js/*.cjs tests/sdk/js/*.mjs tests/browser/*.mjs src/dev/app.js admin/app.js admin/charts.js; do node --check "$file"; done
  for file in tests/sdk/python/*.py; do
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file"
  done
}

deny() {
  if cargo deny --version >/dev/null 2>&1; then
    cargo deny --all-features check licenses bans sources
  else
    echo "cargo-deny is not installed: left out"
  fi
}

# Tests with these arguments, written down in .cache/NAME.log. One failure does not keep the others from running; the script
# ends with all of them.
FAILED=0
tests() {
  local log=".cache/$1.log"
  shift
  cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || FAILED=1
}

# What tests said that failed, once more where everybody looks first; and the sum of all summaries.
summary() {
  local logs=(.cache/tests.log .cache/faults.log .cache/long-tests.log)
  printf '\n'
  awk '/^---- .* stdout ----$/ { shown = 1 } /^(failures:|stack backtrace:)$/ { shown = 0 } shown' "${logs[@]}" | cut -c1-1000 | tail -n 300
  awk 'FNR == 1 { late = NR != 1 }
       /^test result:/ { passed += $4; failed += $6; ignored += $8; ran += late ? $4 + $6 : 0 }
       END { printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, ignored - ran }' "${logs[@]}"
  return "$FAILED"
}

documentation() {
  RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
}

step "install" install_all
step "format" cargo fmt --check
step "spelling" "$CACHE/python/bin/typos"
step "dependencies" deny
step "programs" programs
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "documentation" documentation
# Many tests wait for other programs, so there are more at a time than cores.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"
step "tests" tests tests
# What has to come back in time under load has the machine for itself.
step "faults" tests faults --test it -- --ignored fault::runs
# What `cargo test` leaves out to stay short: every behaviour once more on each HTTP fallback, and masses of connections.
step "long tests" tests long-tests --test it -- --ignored --skip fault::runs
summary
