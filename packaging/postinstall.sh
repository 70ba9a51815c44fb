#!/bin/sh
# A new machine has no ticket yet, so nothing is started. An upgraded agent goes on with the new program.
set -e
# Whom the side of the agent that is on the network runs as. What an earlier agent left in /var/lib/shoal/store changes its owner when
# the new one starts.
getent group shoal >/dev/null || groupadd --system shoal
getent passwd shoal >/dev/null || useradd --system --gid shoal --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin shoal
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl try-restart shoal.service || echo "shoal: the agent did not restart; see: journalctl -u shoal" >&2
[ -n "$2" ] || echo "shoal: put a ticket into /etc/shoal/ticket and name it in /etc/shoal/agent.yaml, then: systemctl enable --now shoal"
