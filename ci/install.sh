# Installs what the checks need and does not come with Rust, Go, Node and Python; sourced, not run.
#
# Packages go into .cache, each group with a stamp, so that a second run installs nothing. To run the tests of the SDKs
# by hand: `source ci/install.sh && install_all && cargo test --test it`.
# shellcheck shell=bash

CACHE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache"
export CENTRIPETAL_SDK_JS="$CACHE/js"
export CENTRIPETAL_SDK_PYTHON="$CACHE/python/bin/python"
export CENTRIPETAL_SDK_GO="$CACHE/go/sdk"
export CENTRIPETAL_H2SPEC="$CACHE/go/h2spec"

install_all() {
  mkdir -p "$CACHE"
  install_debian
  install_python
  install_javascript
  install_go
  install_h2spec
}

# A C compiler and cmake for the cryptography, openssl for certs/make.sh, venv for the Python packages.
install_debian() {
  local missing=()
  command -v cc >/dev/null || missing+=(build-essential)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v openssl >/dev/null || missing+=(openssl)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] && return
  echo "installing ${missing[*]}"
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# Whether the files are those a group was installed from; their names and contents are the stamp.
fresh() {
  local group=$1
  shift
  [ -f "$CACHE/$group.stamp" ] && [ "$(sha256sum "$@")" = "$(cat "$CACHE/$group.stamp")" ]
}

stamp() {
  local group=$1
  shift
  sha256sum "$@" >"$CACHE/$group.stamp"
}

install_python() {
  local list=tests/sdk/python/requirements.txt
  fresh python "$list" && return
  rm -rf "$CACHE/python"
  python3 -m venv "$CACHE/python"
  "$CACHE/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$list"
  stamp python "$list"
}

install_javascript() {
  local files=(tests/sdk/js/package.json tests/sdk/js/package-lock.json tests/sdk/js/.npmrc)
  fresh js "${files[@]}" && return
  rm -rf "$CACHE/js"
  mkdir -p "$CACHE/js"
  cp "${files[@]}" "$CACHE/js/"
  (cd "$CACHE/js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  stamp js "${files[@]}"
}

# Built every time; Go itself knows what has changed.
install_go() {
  mkdir -p "$CACHE/go"
  (cd tests/sdk/go && go mod download && go build -buildvcs=false -o "$CENTRIPETAL_SDK_GO" .)
}

# The HTTP/2 conformance tool, a tool of the same Go module.
install_h2spec() {
  mkdir -p "$CACHE/go"
  (cd tests/sdk/go && go build -buildvcs=false -o "$CENTRIPETAL_H2SPEC" github.com/summerwind/h2spec/cmd/h2spec)
}
