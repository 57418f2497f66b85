#!/bin/sh
# Compiles the sensor into one file that needs nothing beside it.
#
#   build.sh        dist/email-sensor, for this machine
#   build.sh all    also dist/email-sensor-linux-x64 (any x86-64 CPU, no AVX2 needed) and -linux-arm64
#
# Each file has its SHA-256 beside it, as `sha256sum -c` reads it. A file of an earlier build stays whole until the
# new one is complete. The Bun of another platform is fetched from the npm registry once and kept in Bun's cache.
set -eu

cd "$(dirname "$0")/.."

case "${1-}" in
  '' | all) ;;
  *)
    echo "use: scripts/build.sh [all]" >&2
    exit 2
    ;;
esac

checksum() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"; else shasum -a 256 "$1"; fi
}

# Split bundles with bytecode start in 20 ms instead of 170: a command loads only its own modules, already parsed.
# Names and source maps are kept, so that a stack trace of a customer says where. Nothing of the folder the binary is
# started in (.env, bunfig.toml) is to change what it does. Each thread is an entry point of its own.
compile() {
  name=$1
  shift
  sh scripts/bun.sh build --compile "$@" \
    --minify-whitespace --minify-syntax --sourcemap=inline --splitting --bytecode --format=esm \
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
    src/main.ts src/spool/thread-worker.ts src/alert/template-worker.ts --outfile "$work/$name" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    echo "build: $name failed" >&2
    exit 1
  }
  (cd "$work" && checksum "$name" >"$name.sha256")
  mv -f "$work/$name" "dist/$name"
  mv -f "$work/$name.sha256" "dist/$name.sha256"
  echo "build: dist/$name"
}

mkdir -p dist
work=$(mktemp -d dist/.build.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

compile email-sensor
if [ "${1-}" = all ]; then
  compile email-sensor-linux-x64 --target=bun-linux-x64-baseline
  compile email-sensor-linux-arm64 --target=bun-linux-arm64
fi
