#!/bin/sh
# What the Dockerfile does: FetusMapV2 in /opt/fetusmap and a user without rights, on a Debian with Python 3.10 or newer.
# Usage: install.sh SOURCE    (as root; TORCH_INDEX = an index that has other builds of PyTorch)
set -eu
source=$1
target=/opt/fetusmap
id fetusmap >/dev/null 2>&1 || useradd --create-home --user-group fetusmap
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --no-cache-dir --upgrade pip
"$target/bin/python" -m pip install --quiet --no-cache-dir --constraint "$source/constraints.txt" \
  ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
"$target/bin/python" -m pip install --quiet --no-cache-dir --constraint "$source/constraints.txt" "$source[cluster]"
"$target/bin/fetusmap" models verify
