#!/bin/sh
# Makes the passwords that compose.yaml asks for. Run it once; it does not overwrite what is there.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || { echo "$PWD/.env is there already"; exit 0; }
umask 077
word() { head -c 24 /dev/urandom | base64 | tr -d '+/=\n'; }
cat > .env <<END
ASTRAY_WRITER_PASSWORD=$(word)
ASTRAY_ANALYST_PASSWORD=$(word)
GRAFANA_ADMIN_PASSWORD=$(word)
ASTRAY_FINGERPRINT_KEY=$(word)
END
echo "passwords are in $PWD/.env"
