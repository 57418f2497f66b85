#!/usr/bin/env bash
# Installs, upgrades or removes the email sensor on Linux with systemd 229 (Ubuntu 16.04) or newer; x86-64 or arm64.
#
# Run it from an unpacked release or from a checkout (which is built first where dist/email-sensor is missing).
# Run again it replaces the program and the systemd unit and keeps the configuration and the spool. All that can be
# checked is checked before the first change; a new program that refuses the configuration never takes the old one's
# place. Exit codes: 0 done, 1 failed, 2 bad usage.
set -euo pipefail
umask 022

readonly ACCOUNT=email-sensor
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

usage() {
  cat <<'END'
use: sudo ./install.sh [options]

Installs the email sensor, or upgrades it: the configuration and the spool are kept.

  --vmray-url URL      the VMRay server, like https://eu.cloud.vmray.com (or VMRAY_URL in the environment)
  --api-key-file FILE  a file with the VMRay API key (or VMRAY_API_KEY in the environment)
  --unattended         ask nothing
  --no-start           install, but neither enable nor start the service
  --dry-run            print each step and change nothing
  --root DIR           install into DIR, as for an image: no account, no ownership, no service, no root needed
  --uninstall          remove the program and the service; keep the configuration and the spool
  --purge              with --uninstall: remove those too, and the account
  --help               this text
END
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then printf 'next: %s\n' "$2" >&2; fi
  exit 1
}
bad_usage() {
  printf 'install.sh: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

dry_run=false
unattended=false
uninstall=false
purge=false
start=true
root=
vmray_url=${VMRAY_URL-}
api_key=${VMRAY_API_KEY-}
api_key_file=

while [ $# -gt 0 ]; do
  case "$1" in
    --vmray-url | --api-key-file | --root)
      if [ $# -lt 2 ] || [ -z "$2" ]; then bad_usage "$1 needs a value"; fi
      case "$1" in
        --vmray-url) vmray_url=$2 ;;
        --api-key-file) api_key_file=$2 ;;
        --root) root=${2%/} ;;
      esac
      shift
      ;;
    --unattended) unattended=true ;;
    --no-start) start=false ;;
    --dry-run) dry_run=true ;;
    --uninstall) uninstall=true ;;
    --purge) purge=true ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) bad_usage "unknown option $1" ;;
  esac
  shift
done
if $purge && ! $uninstall; then bad_usage "--purge goes with --uninstall"; fi
if [ -n "$root" ] && [ "${root#/}" = "$root" ]; then root=$PWD/$root; fi

readonly program=$root/usr/local/bin/email-sensor
readonly settings=$root/etc/email-sensor
readonly config=$settings/sensor.yaml
readonly key_file=$settings/vmray.key
readonly spool=$root/var/lib/email-sensor
readonly unit=$root/etc/systemd/system/email-sensor.service
readonly licences=$root/usr/local/share/doc/email-sensor

# Says a step and does it; with --dry-run only says it.
step() {
  local what=$1
  shift
  if $dry_run; then
    say "would: $what"
  else
    say "$what"
    "$@"
  fi
}

# With --root there are no accounts to give files to.
owned() { if [ -z "$root" ]; then chown "$1" "$2"; fi; }

folder() { # PATH MODE OWNER
  install -d -m "$2" "$1"
  owned "$3" "$1"
}

# Puts a file in place whole: readers see the old one or the new one.
place_file() { # SOURCE TARGET MODE OWNER
  install -D -m "$3" "$1" "$2.new"
  owned "$4" "$2.new"
  mv -f "$2.new" "$2"
}

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

as_account() {
  if [ -n "$root" ]; then return 1; fi
  runuser -u "$ACCOUNT" -- "$@"
}

# ---------------------------------------------------------------------------------------------------- checks

check_root() {
  if ! $dry_run && [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    fail "this needs root" "run it again as: sudo ./install.sh"
  fi
}

# True where version $1 is at least $2; both are like 2.23.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "the sensor runs on Linux, this is $(uname -s)"
  case "$(uname -m)" in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) fail "the sensor runs on x86_64 and aarch64, this is $(uname -m)" ;;
  esac
  local glibc
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
  glibc=${glibc##* }
  if [ -z "$glibc" ]; then fail "no GNU C library found" "use a system with glibc 2.17 or newer (not Alpine)"; fi
  at_least "$glibc" 2.17 || fail "glibc $glibc is too old" "use a system with glibc 2.17 or newer"
}

check_space() { # FOLDER MEGABYTES
  local path=$1 free
  while [ ! -d "$path" ]; do path=$(dirname "$path"); done
  free=$(df -Pk "$path" | awk 'NR == 2 { print int($4 / 1024) }')
  if [ "$free" -lt "$2" ]; then fail "$path has $free MB free, $2 MB are needed" "free some space there"; fi
}

# Sets $source: the program to install. A checkout without one is built.
find_program() {
  local candidate
  for candidate in "$here/email-sensor" "$here/email-sensor-linux-$arch" "$here/dist/email-sensor"; do
    if [ -f "$candidate" ]; then
      source=$candidate
      return
    fi
  done
  [ -f "$here/scripts/build.sh" ] || fail "no email-sensor beside install.sh" "unpack the whole release and run it there"
  source=$here/dist/email-sensor
  step "build the program from this checkout" sh "$here/scripts/build.sh"
}

check_program() {
  if [ ! -f "$source" ]; then return; fi
  if [ -f "$source.sha256" ]; then
    local expected actual
    read -r expected _ <"$source.sha256"
    actual=$(sha256sum "$source")
    [ "${actual%% *}" = "$expected" ] || fail "$source does not have the checksum of $source.sha256" "download it again"
  fi
  if [ ! -x "$source" ]; then step "make $source executable" chmod +x "$source"; fi
  version=$("$source" --version) || fail "$source does not run on this machine" "check that it was made for $(uname -m)"
}

# -------------------------------------------------------------------------------------------- configuration

ask() { # VARIABLE PROMPT [-s]
  local answer
  if [ ! -t 0 ]; then
    fail "there is no terminal to ask for $2" "use --unattended with --vmray-url and --api-key-file"
  fi
  # shellcheck disable=SC2086 # the option is a single word or nothing
  read -r ${3-} -p "$2: " answer
  if [ -n "${3-}" ]; then say ""; fi
  printf -v "$1" '%s' "$answer"
}

# Learns URL and key before anything is changed. A configuration that is there already needs neither.
learn_settings() {
  if [ -e "$config" ]; then return; fi
  if [ -n "$api_key_file" ]; then
    [ -r "$api_key_file" ] || fail "$api_key_file cannot be read"
    api_key=$(head -n 1 "$api_key_file")
  fi
  if $unattended || $dry_run; then
    if [ -z "$vmray_url" ] && $dry_run; then vmray_url=https://vmray.example; fi
    if [ -z "$api_key" ] && $dry_run; then api_key=KEY; fi
    [ -n "$vmray_url" ] || fail "no VMRay server given" "use --vmray-url URL or VMRAY_URL"
    [ -n "$api_key" ] || fail "no VMRay API key given" "use --api-key-file FILE or VMRAY_API_KEY"
  else
    if [ -z "$vmray_url" ]; then ask vmray_url "URL of the VMRay server"; fi
    if [ -z "$api_key" ]; then ask api_key "VMRay API key (not shown)" -s; fi
  fi
  case "$vmray_url" in http://* | https://*) ;; *) vmray_url=https://$vmray_url ;; esac
  local url='^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$'
  [[ $vmray_url =~ $url ]] || fail "$vmray_url is not the URL of a server" "give one like https://eu.cloud.vmray.com"
  [[ $api_key =~ ^[[:graph:]]+$ ]] || fail "the API key is empty or has blanks in it"
}

write_config() {
  local new=$config.new
  awk -v url="$vmray_url" '
    /^[a-z]/ { section = $1 }
    section == "vmray:" && /^  url:/ { print "  url: " url; next }
    { print }
  ' "$here/sensor.example.yaml" >"$new"
  chmod 0640 "$new"
  owned "root:$ACCOUNT" "$new"
  mv -f "$new" "$config"
}

write_key() {
  (umask 077 && printf '%s\n' "$api_key" >"$key_file.new")
  owned "root:$ACCOUNT" "$key_file.new"
  chmod 0640 "$key_file.new"
  mv -f "$key_file.new" "$key_file"
}

# ---------------------------------------------------------------------------------------------------- steps

add_account() {
  if ! getent group "$ACCOUNT" >/dev/null; then groupadd --system "$ACCOUNT"; fi
  if ! getent passwd "$ACCOUNT" >/dev/null; then
    useradd --system --gid "$ACCOUNT" --home-dir /var/lib/email-sensor --no-create-home \
      --shell /usr/sbin/nologin "$ACCOUNT"
  fi
}

# The new program waits beside the old one until it has accepted the configuration.
stage_program() { install -D -m 0755 "$source" "$program.new"; }

check_config() {
  if ! as_account "$program.new" check-config --config "$config"; then
    rm -f "$program.new"
    fail "the configuration is not good; the program that was installed before, if any, is as it was" \
      "correct $config and run this again"
  fi
}

# What is in the program is under licences that are to go with it.
place_licences() {
  place_file "$here/LICENSE" "$licences/LICENSE" 0644 root:root
  place_file "$here/THIRD-PARTY-NOTICES.md" "$licences/THIRD-PARTY-NOTICES.md" 0644 root:root
}

start_service() {
  systemctl daemon-reload
  systemctl enable email-sensor.service
  systemctl restart email-sensor.service
}

# Sets $smtp_host and $smtp_port: where a client on this machine reaches the first listen address.
find_smtp_address() {
  local address
  address=$(as_account "$program" check-config --config "$config")
  address=$(sed -n 's/.*takes mail on \([^ ,]*\).*/\1/p' <<<"$address" | head -n 1)
  [ -n "$address" ] || fail "$program check-config does not say where it listens"
  smtp_port=${address##*:}
  smtp_host=${address%:*}
  smtp_host=${smtp_host#[}
  smtp_host=${smtp_host%]}
  case "$smtp_host" in
    0.0.0.0) smtp_host=127.0.0.1 ;;
    ::) smtp_host=::1 ;;
  esac
}

greets() { # HOST PORT
  local line
  exec 3<>"/dev/tcp/$1/$2" || return 1
  IFS= read -r -t 5 line <&3 || return 1
  [ "${line:0:3}" = 220 ]
}

wait_for_greeting() {
  local tries
  for ((tries = 0; tries < 60; tries++)); do
    if (greets "$smtp_host" "$smtp_port") 2>/dev/null; then return 0; fi
    sleep 0.5
  done
  journalctl -u email-sensor.service -n 20 --no-pager >&2 || true
  fail "the sensor does not answer on $smtp_host port $smtp_port after 30 s" "read its log: journalctl -u email-sensor"
}

postfix_lines() {
  cat <<END

To hand it the mail, add to Postfix. In /etc/postfix/transport (then: postmap /etc/postfix/transport):

  email-sensor.invalid   smtp:[$smtp_host]:$smtp_port

In /etc/postfix/main.cf, keeping what transport_maps already has:

  transport_maps = hash:/etc/postfix/transport

and either a copy of every mail:

  always_bcc = copy@email-sensor.invalid

or, for a copy of mail to some recipients only:

  recipient_bcc_maps = regexp:/etc/postfix/sensor_bcc

with, in /etc/postfix/sensor_bcc, a line for each domain:

  /@example\.com\$/   copy@email-sensor.invalid

Then: postfix reload
END
}

install_sensor() {
  check_machine
  check_space "$(dirname "$program")" 300
  check_space "$spool" 500
  find_program
  check_program
  local needed
  for needed in packaging/email-sensor.service sensor.example.yaml LICENSE THIRD-PARTY-NOTICES.md; do
    [ -f "$here/$needed" ] || fail "$here/$needed is missing" "unpack the whole release and run it there"
  done
  learn_settings

  if [ -x "$program" ]; then
    say "upgrade of $("$program" --version 2>/dev/null || say "a program that does not run") to ${version:-this checkout}"
  else
    say "installation of ${version:-this checkout}"
  fi
  if [ -z "$root" ]; then step "account $ACCOUNT" add_account; fi
  step "folder $settings" folder "$settings" 0750 "root:$ACCOUNT"
  step "folder $spool" folder "$spool" 0750 "$ACCOUNT:$ACCOUNT"
  if [ -e "$config" ]; then
    say "configuration $config is there already and stays as it is"
    if [ -n "$vmray_url$api_key_file" ]; then
      say "note: --vmray-url and --api-key-file count for a first installation only: edit $config"
    fi
  else
    step "API key $key_file" write_key
    step "configuration $config, for $vmray_url" write_config
  fi
  step "program $program (new, not in use yet)" stage_program
  if [ -z "$root" ]; then step "check of the configuration" check_config; fi
  step "program $program" mv -f "$program.new" "$program"
  step "licences $licences" place_licences
  step "systemd unit $unit" place_file "$here/packaging/email-sensor.service" "$unit" 0644 root:root

  smtp_host=127.0.0.1
  smtp_port=10025
  if [ -n "$root" ]; then
    say "installed into $root; give $settings and $spool to the account $ACCOUNT there"
    return
  fi
  if ! $dry_run; then find_smtp_address; fi
  if ! $start; then
    say "not started; to start it: systemctl enable --now email-sensor"
  elif has_systemd; then
    step "start of the service" start_service
    step "wait for its greeting on $smtp_host port $smtp_port" wait_for_greeting
    if ! $dry_run; then say "the sensor is running"; fi
  else
    say "systemd is not running here; to start the sensor:"
    say "  install -d -m 0750 -o $ACCOUNT -g $ACCOUNT /run/email-sensor"
    say "  runuser -u $ACCOUNT -- $program run --config $config"
  fi
  postfix_lines
}

# --------------------------------------------------------------------------------------------------- removal

stop_service() {
  systemctl disable --now email-sensor.service || true
}

remove_account() {
  if getent passwd "$ACCOUNT" >/dev/null; then userdel "$ACCOUNT"; fi
  if getent group "$ACCOUNT" >/dev/null; then groupdel "$ACCOUNT"; fi
}

uninstall_sensor() {
  if has_systemd && [ -e "$unit" ]; then step "stop of the service" stop_service; fi
  step "remove $unit" rm -f "$unit"
  if has_systemd; then step "reload of systemd" systemctl daemon-reload; fi
  step "remove $program" rm -f "$program" "$program.new"
  step "remove $licences" rm -rf "$licences"
  if $purge; then
    step "remove $settings" rm -rf "$settings"
    step "remove $spool" rm -rf "$spool"
    if [ -z "$root" ]; then step "remove the account $ACCOUNT" remove_account; fi
  else
    say "kept: $settings and $spool (--purge removes them)"
  fi
  say "Take the lines for the sensor out of Postfix too, or copies of mails pile up in its queue."
}

check_root
if $uninstall; then uninstall_sensor; else install_sensor; fi
