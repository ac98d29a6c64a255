#!/bin/sh
# Asks for 3,000 sends a second for half a minute and says whether p99 stays below 50 ms (k6 ends with 99 when it does not).
#   deploy/sms/benchmark.sh [BASE_URL]
# RATE, DURATION, CUSTOMERS, VUS and API_KEY change what is sent. The customers are those of `ringmain sms seed`.
set -eu
cd "$(dirname "$0")"
base=${1:-http://localhost:8080}
command -v "${K6:=k6}" >/dev/null || { echo "k6 must be installed: https://k6.io" >&2; exit 69; }
set --
for name in RATE DURATION CUSTOMERS VUS API_KEY; do
  eval "value=\${$name:-}"
  if [ -n "$value" ]; then set -- "$@" -e "$name=$value"; fi
done
exec "$K6" run --no-usage-report -e "BASE_URL=$base" "$@" k6_script.js
