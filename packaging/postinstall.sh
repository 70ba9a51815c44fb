#!/bin/sh
# A new machine has no ticket yet, so nothing is started. An upgraded agent goes on with the new program.
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl try-restart shoal.service || echo "shoal: the agent did not restart; see: journalctl -u shoal" >&2
[ -n "$2" ] || echo "shoal: put a ticket into /etc/shoal/ticket and name it in /etc/shoal/agent.yaml, then: systemctl enable --now shoal"
