#!/usr/bin/env bash
# Makes certificates for development: an authority, a server certificate for this machine and a client certificate.
#
#   certs/make.sh [FOLDER] [NAME...]
#
# FOLDER (default: the folder of this script) gets ca.pem, server.pem, server.key, client.pem, client.key, and ca.key with
# which more can be signed. The server certificate is good for localhost, 127.0.0.1, ::1 and every further NAME; the
# client certificate carries the name `service`, as common name, DNS name and URI (spiffe://centripetal.dev/service).
#
# An authority that is there already is kept, so that clients which trust it go on to; the certificates are made anew.
# Nothing made here belongs on a public address, and nothing secret into the repository: .gitignore has *.pem and *.key.
set -euo pipefail

days=825
folder=${1:-$(dirname "${BASH_SOURCE[0]}")}
[ $# -gt 0 ] && shift
mkdir -p "$folder"
cd "$folder"
umask 077

names="DNS:localhost,IP:127.0.0.1,IP:::1"
for name in "$@"; do
  if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then names+=",IP:$name"; else names+=",DNS:$name"; fi
done

key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

# sign FILE SUBJECT USAGE ALTERNATIVE_NAMES
sign() {
  key "$1.key.new"
  openssl req -new -key "$1.key.new" -subj "/CN=$2" -out "$1.csr"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\nauthorityKeyIdentifier=keyid\n' \
    "$3" "$4" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
    -days "$days" -sha256 -extfile "$1.ext" -out "$1.pem.new" 2>/dev/null
  # Both are there before either takes its place.
  mv "$1.key.new" "$1.key"
  mv "$1.pem.new" "$1.pem"
  rm "$1.csr" "$1.ext"
}

if [ ! -f ca.key ] || [ ! -f ca.pem ]; then
  key ca.key
  openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=Centripetal development authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
fi
sign server localhost serverAuth "$names"
sign client service clientAuth "DNS:service,URI:spiffe://centripetal.dev/service"
chmod 644 ./*.pem

echo "made in $(pwd): ca.pem server.pem server.key client.pem client.key"
