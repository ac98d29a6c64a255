#!/bin/sh
# Signs a path, so that whoever has it may GET it from the gateway without a key.
#
#   export KEY_ID=9fK2mQx07TbA SIGNING_KEY=...      as `ringmain gateway key add` has shown them
#   sh sign.sh PATH [SECONDS]                       writes the signed path
#   curl "https://img.example.com$(sh sign.sh /rs:fit:300:200/plain/local:///ab/cd.jpg 3600)"
#
# Needs openssl. It shows the signing key to users of this machine who list its processes: on a shared one take another
# of the examples.
set -eu
path=$1
exp=$(($(date +%s) + ${2:-3600}))
sig=$(printf 'GET\n%s\n%s\n%s' "$path" "$KEY_ID" "$exp" |
  openssl dgst -sha256 -hmac "$SIGNING_KEY" -binary | openssl base64 -A | tr '+/' '-_' | tr -d '=')
case $path in
*\?*) joint='&' ;;
*) joint='?' ;;
esac
printf '%s%skid=%s&exp=%s&sig=%s\n' "$path" "$joint" "$KEY_ID" "$exp" "$sig"
