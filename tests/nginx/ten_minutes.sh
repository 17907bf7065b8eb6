#!/usr/bin/env bash
# Ten real minutes of silence through nginx; not part of the suite, which scales the time down.
#
#   tests/nginx/ten_minutes.sh [SECONDS]
#
# Three gRPC streams say nothing for 600 SECONDS: through the directives of a first attempt and through the shipped file,
# both to a node that sends neither pings nor HTTP/2 PING frames (these keep nginx waiting as well), and through the shipped
# file to a node with its defaults. The first must end after a minute, the other two must get a message at the end. Needs
# nginx, and the Python packages of ci/install.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source ci/install.sh

seconds=${1:-600}
binary=${CENTRIPETAL:-target/debug/centripetal}
folder=$(mktemp -d)
started=()
finish() {
  # The number of nginx is that of its group, so that the workers go as well.
  local id
  for id in "${started[@]}"; do kill -TERM -- "-$id" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT
# Every process of the background leads a group of its own.
set -m

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# node NAME PING KEEPALIVE: sets http and grpc
node() {
  http=$(free_port) grpc=$(free_port)
  mkdir "$folder/$1"
  cat >"$folder/$1/config.json" <<JSON
{
  "http_server": {"address": "127.0.0.1", "port": $http},
  "client": {"token": {"hmac_secret_key": "ten-minutes-of-silence-secret"}, "ping_interval": "$2", "pong_timeout": "-1s"},
  "http_api": {"key": "ten-minutes"},
  "centripetal": {"grpc": {"address": "127.0.0.1", "port": $grpc, "keepalive_interval": "$3"}},
  "channel": {"without_namespace": {"allow_subscribe_for_client": true}}
}
JSON
  "$binary" --config "$folder/$1/config.json" >"$folder/$1/log" 2>&1 &
  started+=($!)
}

# front NAME FILE: sets port, in front of the node whose ports are set
front() {
  port=$(free_port)
  mkdir "$folder/$1" "$folder/$1/logs"
  certs/make.sh "$folder/$1/certs" >"$folder/$1/certificates"
  sed -e "s#/var/log/nginx/#$folder/$1/logs/#; s#listen 443 #listen 127.0.0.1:$port #" \
    -e "s#127.0.0.1:8000#127.0.0.1:$http#; s#127.0.0.1:8001#127.0.0.1:$grpc#" "$2" >"$folder/$1/nginx.conf"
  "$CENTRIPETAL_NGINX" -p "$folder/$1" -c "$folder/$1/nginx.conf" \
    -g "pid $folder/$1/nginx.pid; daemon off;" 2>"$folder/$1/stderr" &
  started+=($!)
}

# silent FRONT: a stream through the front whose port is set
silent() {
  until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && (: <"/dev/tcp/127.0.0.1/$http") 2>/dev/null; do sleep 0.1; done
  SDK_GRPC=localhost:$port SDK_GRPC_CA=$folder/$1/certs/ca.pem SDK_PROTO=proto/client.proto \
    SDK_API_URL=http://127.0.0.1:$http/api SDK_API_KEY=ten-minutes SDK_SECRET=ten-minutes-of-silence-secret \
    NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost \
    "$CENTRIPETAL_SDK_PYTHON" tests/sdk/python/grpc_client.py v2 quiet "$1" "$seconds" >"$folder/$1/said" 2>&1 &
  silent+=($!)
}

silent=()
node mute -1s 0s
front bare tests/nginx/bare.conf
silent bare
front shipped nginx/centripetal.conf
silent shipped
node usual 25s 25s
front pinged nginx/centripetal.conf
silent pinged

status=0
for name in bare shipped pinged; do
  code=0
  wait "${silent[0]}" || code=$?
  silent=("${silent[@]:1}")
  printf '%s (%d): %s\n' "$name" "$code" "$(tail -n 1 "$folder/$name/said")"
  if [ "$name" = bare ]; then
    [ "$code" -ne 0 ] || { echo "the first attempt was to break"; status=1; }
  elif [ "$code" -ne 0 ]; then
    cat "$folder/$name/said" "$folder/$name/logs/error.log"
    status=1
  fi
done
exit "$status"
