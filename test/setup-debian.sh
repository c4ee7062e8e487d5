#!/usr/bin/env bash
# Installs what tests run against: nats-server, PostgreSQL, and Chromium for the pages. Where this is no Debian, or not root, it says
# so and leaves it; tests without their server are skipped.
set -euo pipefail

missing=()
command -v nats-server > /dev/null || [ -x /usr/sbin/nats-server ] || missing+=(nats-server)
command -v chromium > /dev/null || missing+=(chromium)
compgen -G "/usr/lib/postgresql/*/bin/postgres" > /dev/null || missing+=(postgresql)

if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "cannot install ${missing[*]} (no apt-get, or not root): tests that need them are skipped" >&2
  exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
