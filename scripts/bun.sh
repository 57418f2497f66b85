#!/bin/sh
# Runs the project's own Bun with the arguments given, in the project's folder.
#
# In: nothing but Node with npm, or any Bun, on the PATH. The dependencies are installed first when node_modules
# is missing or older than the lock file; the Bun that runs is always the version package-lock.json pins, never
# the one on the PATH. Out: Bun's own output and exit code; where the set-up fails, what to do, and exit code 1.
set -eu

cd "$(dirname "$0")/.."
stamp=node_modules/.installed
lock=dist/.installing
want=$(sed -n 's/^ *"bun": "\([0-9][0-9.]*\)",*$/\1/p' package.json | tail -n 1)

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() {
  say "$1"
  say "next: $2"
  exit 1
}

# npm writes its own mark last; the stamp is for Bun, which leaves none.
installed() {
  for mark in node_modules/.package-lock.json "$stamp"; do
    if [ -f "$mark" ] && [ -z "$(find package-lock.json -newer "$mark")" ]; then return 0; fi
  done
  return 1
}

install() {
  if [ -L node_modules ]; then
    fail "node_modules is a link, and an installation would empty the folder it leads to" "remove the link and run this again"
  fi
  if command -v npm >/dev/null 2>&1; then
    command="npm ci --no-audit --no-fund"
  elif command -v bun >/dev/null 2>&1; then
    # Bun reads package-lock.json; --no-save keeps it from writing a lock file of its own beside it.
    command="bun install --frozen-lockfile --no-save"
  else
    fail "neither npm nor bun is on the PATH" "install Node.js 20 or newer, or Bun 1.4.5, and run this again"
  fi
  say "installing the dependencies with $command (once; about a minute)"
  if ! $command </dev/null >"$lock/log" 2>&1; then
    grep -v EBADENGINE "$lock/log" | head -n 25 >&2
    fail "'$command' failed" "see its lines above; it needs to reach the npm registry (npm config get registry)"
  fi
  : >"$stamp"
}

# Two installations at once would take each other's files away, so the second one waits for the first.
install_alone() {
  mkdir -p dist
  seconds=0
  until mkdir "$lock" 2>/dev/null; do
    holder=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
      rm -rf "$lock"
      continue
    fi
    if [ "$seconds" -eq 0 ]; then say "waiting for another set-up of this folder"; fi
    if [ "$seconds" -ge 600 ]; then fail "another set-up has not finished in 10 minutes" "end it, or remove $lock"; fi
    seconds=$((seconds + 1))
    sleep 1
  done
  trap 'rm -rf "$lock"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  echo $$ >"$lock/pid"
  installed || install
  rm -rf "$lock"
  trap - EXIT INT TERM
}

# The package "bun" puts its binary in place by an install script. Where such scripts are not allowed, the binary
# is still in the package of this platform.
find_bun() {
  for candidate in node_modules/bun/bin/bun.exe node_modules/@oven/bun-*/bin/bun; do
    if [ -x "$candidate" ] && [ "$("$candidate" --version 2>/dev/null)" = "$want" ]; then
      printf '%s\n' "$PWD/$candidate"
      return 0
    fi
  done
  return 1
}

installed || install_alone
bun=$(find_bun) || fail "no Bun $want for this machine in node_modules" \
  "remove node_modules and run this again; optional dependencies must not be omitted (npm config get omit)"
exec "$bun" "$@"
