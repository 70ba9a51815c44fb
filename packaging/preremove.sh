#!/bin/sh
# What the agent made of this machine stays, and so does its data folder.
set -e
[ "$1" != upgrade ] && [ -d /run/systemd/system ] || exit 0
systemctl disable --now shoal.service || true
