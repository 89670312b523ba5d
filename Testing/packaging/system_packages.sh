#!/bin/sh
# Says which packages of debian-packages.txt are missing, in one line, or installs them.
# Usage: system_packages.sh check|install
set -eu
list="$(dirname "$0")/debian-packages.txt"

installed() { # newer releases have some libraries under a name that ends in t64
  dpkg-query -W -f='${Status}\n' "$1" "${1}t64" 2>/dev/null | grep -q "install ok installed"
}

wanted=$(sed 's/#.*//' "$list")
missing=""
if command -v dpkg-query >/dev/null; then
  for package in $wanted; do
    installed "$package" || missing="$missing $package"
  done
elif [ "$1" = install ]; then
  echo "This system has no Debian packages; install its counterparts of:" $wanted >&2
  exit 1
fi
[ -n "$missing" ] || exit 0

if [ "$1" = check ]; then
  echo "Debian packages are missing:$missing. Install them with: make system-packages" >&2
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Packages are installed by root: run 'sudo apt-get install$missing'" >&2
  exit 1
else
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
fi
