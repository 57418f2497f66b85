#!/bin/sh
# Builds the binary and runs the system tests on it: all of them, or what `bun test` is told by the arguments.
# They need root, Postfix, rsyslog, a C compiler, binutils and Python 3 (.ci/run installs them on Debian).
set -eu

cd "$(dirname "$0")/.."
sh scripts/build.sh
if [ $# -eq 0 ]; then set -- ./test/system; fi
exec sh scripts/bun.sh test --timeout 600000 "$@"
