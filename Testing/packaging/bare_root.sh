#!/bin/sh
# Runs `make demo` and `make test-quick` on a bare Debian: a fresh root with the packages of debian-packages.txt alone.
#
# With --container, the steps of examples/cluster/Dockerfile instead, and then a batch, also by Ray, as its user.
#
# Usage: bare_root.sh [--container] [FOLDER]    (as root, with debootstrap; FOLDER takes the root, about 7 GB, and is kept)
# The mirror and all settings of apt and pip are this machine's; the project is what git has committed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
release=bookworm

if [ "${IN_OWN_MOUNTS:-}" != yes ]; then # what is mounted below is unmounted with the end of this process
  [ "$(id -u)" = 0 ] || { echo "bare_root.sh needs root" >&2; exit 1; }
  command -v debootstrap >/dev/null || { echo "bare_root.sh needs debootstrap: apt-get install debootstrap" >&2; exit 1; }
  IN_OWN_MOUNTS=yes exec unshare --mount --propagation private "$0" "$@"
fi

container=no
if [ "${1:-}" = --container ]; then
  container=yes
  shift
fi
if [ $# -gt 0 ]; then
  root=$1
  mkdir -p "$root"
else
  root=$(mktemp -d)
  trap 'umount --recursive --lazy "$root/proc" "$root/dev" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
fi
chmod 755 "$root"

mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
  awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }')
[ -n "$mirror" ] || { echo "apt on this machine knows no mirror of $release" >&2; exit 1; }
debootstrap --variant=minbase "$release" "$root" "$mirror" >/dev/null

take() { # files and folders of this machine that are there
  for path; do
    if [ -e "$path" ]; then
      rm -rf "${root:?}/$path"
      mkdir -p "$root/$(dirname "$path")"
      cp -a --dereference "$path" "$root/$path"
    fi
  done
}
take /etc/apt /etc/resolv.conf /etc/hosts
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"

mkdir -p "$root/project"
git -C "$project" archive HEAD | tar --extract --directory "$root/project"

inside() { # with settings of pip and proxies, and nothing else of this machine's environment
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$home" LANG=C.UTF-8 \
    $(env | grep -E '^(PIP_[A-Z_]+|[A-Za-z]+_proxy|[A-Z]+_PROXY|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)=' || true) \
    chroot "$@"
}
timed() {
  started=$(date +%s)
  echo "== $*"
  inside --userspec="$user" "$root" "$@"
  echo "== $*: $(($(date +%s) - started)) s"
}
user=somebody
home=/project
trust() { # pip's settings, and the certificates and wheels that they name; ca-certificates, when installed, writes its own
  take /etc/pip.conf "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" ${PIP_FIND_LINKS:-} \
    $(sed -n 's/^ *cert *= *//p' /etc/pip.conf 2>/dev/null || true)
}
if [ $container = yes ]; then # the image python:3.12-slim has Python; this root gets Debian's
  inside "$root" apt-get -qq update
  inside "$root" apt-get -qq --yes install python3-venv >/dev/null
  trust
  user=root
  timed sh /project/examples/cluster/install.sh /project
  user=fetusmap
  home=/home/fetusmap
  fetusmap=/opt/fetusmap/bin/fetusmap
  timed $fetusmap simulate /home/fetusmap/volumes --count 3 --size 70,60,60 --spacing 2.0
  timed $fetusmap batch /home/fetusmap/volumes --output /home/fetusmap/results --device cpu
  timed $fetusmap batch /home/fetusmap/volumes --output /home/fetusmap/results-of-ray --device cpu --ray local
  du -sh "$root/opt/fetusmap"
  exit
fi
inside "$root" /project/Testing/packaging/system_packages.sh install >/dev/null
trust
inside "$root" useradd --no-create-home --home-dir /project --uid 1000 somebody
chown -R 1000:1000 "$root/project"
timed make -C /project setup
timed make -C /project demo
timed make -C /project test-quick
du -sh "$root/project/.venv" "$root"
