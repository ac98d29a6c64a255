#!/bin/sh
# Installs or renews Ringmain as a service of this host, out of a built tree:
#   npm ci && npm run build && npm prune --omit=dev && sudo sh deploy/systemd/install.sh
# Touches /opt/ringmain, /etc/ringmain (options that are there stay), /etc/systemd/system/ringmain.service, /usr/local/bin/ringmain and the
# user ringmain. Starts nothing: it says how.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo 'install.sh must be run by root: sudo sh deploy/systemd/install.sh' >&2; exit 77; }
[ -e dist/main.js ] || { echo 'dist/ is missing: npm ci && npm run build && npm prune --omit=dev' >&2; exit 66; }
version=$(/usr/bin/node -p 'process.versions.node.split(".")[0]' 2>/dev/null || true)
[ "$version" = 22 ] || { echo "/usr/bin/node must be Node 22: found=${version:-none}" >&2; exit 69; }

if uid=$(id -u ringmain 2>/dev/null); then
    # systemd's range for DynamicUser, which earlier units had: that user is there for as long as its service runs.
    if [ "$uid" -ge 61184 ] && [ "$uid" -le 65519 ]; then
        echo 'ringmain still runs as an earlier version installed it: systemctl stop ringmain, then install.sh again' >&2
        exit 75
    fi
else
    useradd --system --user-group --home-dir /var/lib/ringmain --no-create-home --shell /usr/sbin/nologin ringmain
fi

# Beside the running one, then in its place: a start meanwhile finds the old version or the new one.
rm -rf --one-file-system /opt/ringmain.new
mkdir -p /opt/ringmain.new/deploy
cp -R dist node_modules package.json README.md .env.example /opt/ringmain.new/
cp deploy/*.md /opt/ringmain.new/deploy/
[ ! -e COMMIT ] || cp COMMIT /opt/ringmain.new/
chmod -R u=rwX,go=rX /opt/ringmain.new
rm -rf --one-file-system /opt/ringmain.old
[ ! -e /opt/ringmain ] || mv /opt/ringmain /opt/ringmain.old
mv /opt/ringmain.new /opt/ringmain
rm -rf --one-file-system /opt/ringmain.old

# Options and secrets: for root to write, for Ringmain to read.
install -d -m 750 -g ringmain /etc/ringmain
[ -e /etc/ringmain/ringmain.env ] || install -m 640 .env.example /etc/ringmain/ringmain.env
chgrp -R ringmain /etc/ringmain
chmod 640 /etc/ringmain/ringmain.env

install -D -m 644 deploy/systemd/ringmain.service /etc/systemd/system/ringmain.service
install -D -m 755 deploy/systemd/ringmain /usr/local/bin/ringmain
[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo 'Ringmain is installed. Options: /etc/ringmain/ringmain.env. Check: sudo ringmain doctor. Start: systemctl enable --now ringmain'
