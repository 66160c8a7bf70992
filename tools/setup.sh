#!/bin/sh
# Set-up for the Makefile, as root or not: setup.sh venv|run|check|test|fuzz|supply|chaos. Does only what is not done yet and says in one
# sentence what is missing. Stamps under .stamps carry the hash of what they were made from.
set -eu
cd "$(dirname "$0")/.."
PY="${PY:-python3}"
BIN=.venv/bin
ROOT=$PWD
mkdir -p .stamps
# An environment that somebody has open elsewhere is not the one to install into.
unset VIRTUAL_ENV CONDA_PREFIX

die() { echo "set-up stopped: $*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
quietly() { "$@" > "$ROOT/.stamps/last.log" 2>&1 || { tail -n 15 "$ROOT/.stamps/last.log" >&2; return 1; }; }
# done_for NAME FILE...: whether NAME was made from these files as they are now; made_for writes that down.
print_of() { cat "$@" 2>/dev/null | sha256sum | cut -c1-64; }
done_for() { name=$1; shift; [ "$(cat ".stamps/$name" 2>/dev/null)" = "$(print_of "$@")" ]; }
made_for() { name=$1; shift; print_of "$@" > ".stamps/$name"; }

apt_install() {
  is_root || return 1
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get install -y --no-install-recommends "$@" && return 0
  quietly apt-get update && quietly apt-get install -y --no-install-recommends "$@"
}

venv() {
  "$PY" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || die "Python 3.11 or newer is needed, $PY is $("$PY" -V 2>&1)"
  [ -x $BIN/uv ] && return 0
  echo "set-up: virtual environment"
  rm -rf .venv
  quietly "$PY" -m venv .venv || {
    apt_install python3-venv || die "$PY cannot make virtual environments; as root: apt-get install python3-venv"
    rm -rf .venv && quietly "$PY" -m venv .venv || die "$PY -m venv failed"
  }
  quietly $BIN/pip install --disable-pip-version-check uv || die "pip could not install uv"
}

packages() { # packages run|test
  venv
  # The test set holds the run set, so run never takes test packages away.
  if [ "$1" = run ] && done_for packages-test requirements/test.txt pyproject.toml; then return 0; fi
  done_for "packages-$1" "requirements/$1.txt" pyproject.toml && return 0
  echo "set-up: Python packages ($1)"
  quietly $BIN/uv pip install --require-hashes -r "requirements/$1.txt" || die "the locked packages could not be installed"
  quietly $BIN/uv pip install --no-deps --no-build-isolation -e . || die "the project itself could not be installed"
  made_for "packages-$1" "requirements/$1.txt" pyproject.toml
}

assets() { # assets run|test
  done_for "assets-$1" package-lock.json tools/vendor_assets.py && [ -d fleet_server/console/static/vendor ] && return 0
  echo "set-up: front-end package"
  if ! command -v npm > /dev/null 2>&1 && [ ! -x $BIN/npm ]; then
    quietly $BIN/uv pip install --require-hashes -r requirements/node.txt || die "neither npm nor its Python wheel is to be had"
  fi
  omit=; [ "$1" = run ] && omit=--omit=dev
  # shellcheck disable=SC2086
  PATH="$PATH:$PWD/$BIN" quietly npm ci --ignore-scripts --no-audit --no-fund $omit || die "npm ci failed"
  quietly $BIN/python tools/vendor_assets.py || die "front-end files could not be copied"
  made_for "assets-$1" package-lock.json tools/vendor_assets.py
}

locale() {
  quietly $BIN/python tools/build_locale.py --compile || die "the translations could not be compiled"
}

broker() {
  command -v mosquitto > /dev/null 2>&1 && return 0
  [ -x /usr/sbin/mosquitto ] && return 0
  [ -x .tools/mosquitto/usr/sbin/mosquitto ] && return 0
  echo "set-up: mosquitto"
  if is_root; then
    apt_install mosquitto || die "mosquitto could not be installed"
    return 0
  fi
  unpacked mosquitto
}

# unpacked NAME: Debian's own package, unpacked into the checkout with the libraries that this machine lacks.
unpacked() {
  rm -rf .tools/debs .tools/unpacking
  mkdir -p .tools/debs .tools/apt/lists/partial .tools/apt/cache/archives/partial
  { own_lists=; download "$1" 2> /dev/null; } || { own_lists=yes; own_apt apt-get update && download "$1"; } ||
    die "$1 is missing and cannot be downloaded; as root: apt-get install $1"
  for deb in .tools/debs/*.deb; do
    dpkg -x "$deb" .tools/unpacking || die "$deb could not be unpacked"
  done
  # Under its name only when it is whole.
  rm -rf ".tools/$1" .tools/debs .tools/apt && mv .tools/unpacking ".tools/$1"
}

# Root may never have fetched the lists of packages; anybody may have lists of their own.
own_apt() {
  program=$1; shift
  if [ -n "$own_lists" ]; then
    set -- -o "Dir::State::Lists=$ROOT/.tools/apt/lists" -o "Dir::Cache=$ROOT/.tools/apt/cache" "$@"
  fi
  quietly "$program" "$@"
}

download() {
  wanted=$1
  # What is missing may need what is missing.
  for _ in 1 2 3 4 5; do
    # shellcheck disable=SC2086
    own_apt apt-cache depends --important $wanted || return 1
    more=
    for library in $(sed -n 's/^ *Depends: \(lib[^ <]*\)$/\1/p' .stamps/last.log | sort -u); do
      case " libc6 $wanted " in *" $library "*) continue ;; esac
      [ "$(dpkg-query -W -f '${db:Status-Status}' "$library" 2> /dev/null)" = installed ] || more="$more $library"
    done
    [ -n "$more" ] || break
    wanted="$wanted$more"
  done
  # shellcheck disable=SC2086
  (cd .tools/debs && own_apt apt-get download $wanted)
}

# Unpacked as root too: installed, they would listen on this machine's port 80.
proxies() {
  for name in nginx haproxy; do
    command -v "$name" > /dev/null 2>&1 || [ -x "/usr/sbin/$name" ] || [ -x ".tools/$name/usr/sbin/$name" ] && continue
    echo "set-up: $name"
    (unpacked "$name") || echo "set-up: no $name, the tests that need it are skipped"
  done
}

fuzzer() {
  $BIN/python -c 'import atheris' > /dev/null 2>&1 && return 0
  echo "set-up: atheris"
  quietly $BIN/uv pip install --require-hashes -r requirements/fuzz.txt || echo "set-up: no atheris here, inputs are made by chance alone"
}

test_tools() {
  proxies
  wanted=
  command -v chromium > /dev/null 2>&1 || wanted="$wanted chromium"
  ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || wanted="$wanted postgresql"
  command -v gammu > /dev/null 2>&1 || wanted="$wanted gammu"
  command -v fusermount3 > /dev/null 2>&1 || wanted="$wanted fuse3"
  fc-list :lang=zh 2>/dev/null | grep -q . || wanted="$wanted fonts-noto-cjk"
  [ -z "$wanted" ] && return 0
  echo "set-up: test tools ($wanted )"
  # shellcheck disable=SC2086
  apt_install $wanted || echo "set-up: not installed, the tests that need them are skipped:$wanted"
}

# Namespaces and lost packets; without them a run says what it leaves out.
chaos_tools() {
  wanted=
  { command -v nft || [ -x /usr/sbin/nft ]; } > /dev/null 2>&1 || wanted="$wanted nftables"
  { command -v ip || [ -x /usr/sbin/ip ]; } > /dev/null 2>&1 || wanted="$wanted iproute2"
  [ -z "$wanted" ] && return 0
  echo "set-up: tools for chaos ($wanted )"
  # shellcheck disable=SC2086
  apt_install $wanted || echo "set-up: not installed, the faults that need them are left out:$wanted"
}

case "${1:-}" in
  venv) venv ;;
  run) packages run; assets run; locale; broker ;;
  check) packages test; locale ;;
  test) packages test; assets test; locale; broker; test_tools ;;
  supply) packages test; assets test; locale; quietly $BIN/uv pip install --require-hashes -r requirements/supply.txt || die "the tools of make supply could not be installed" ;;
  fuzz) packages test; locale; fuzzer ;;
  chaos) packages test; assets run; locale; broker; test_tools; chaos_tools ;;
  *) die "expected venv, run, check, test, fuzz, supply or chaos, came '${1:-}'" ;;
esac
