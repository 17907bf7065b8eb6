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

# Many tests wait for other programs, so there are more at a time than cores. The summaries are added up at the end.
tests() {
  RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}" \
    cargo test --locked --no-fail-fast 2>&1 | tee .cache/test.log
}

# What `cargo test` leaves out to stay short: every behaviour once more on each HTTP fallback, and masses of connections.
long_tests() {
  RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}" \
    cargo test --locked --no-fail-fast --test it -- --ignored 2>&1 | tee .cache/long-test.log
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
step "tests" tests
step "long tests" long_tests
step "documentation" documentation

printf '\n'
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8; ran += long ? $4 + $6 : 0 }
     FNR == 1 { long = FILENAME ~ /long/ }
     END { printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, ignored - ran }' .cache/test.log .cache/long-test.log
