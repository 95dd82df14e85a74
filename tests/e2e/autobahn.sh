#!/usr/bin/env bash
# The Autobahn|Testsuite: its fuzzing client and its fuzzing server, the judges of WebSocket ends that everybody knows.
#
#   autobahn.sh setup         make it ready: once, needs the network
#   autobahn.sh ready         exit status 0 if it is
#   autobahn.sh run SPEC      run its client against a server, with a fuzzingclient.json
#   autobahn.sh serve SPEC    run its server until it is ended, with a fuzzingserver.json
#
# It is written for Python 2.7, which few machines still have. In this order we take: a Python 2.7 on the PATH, of pyenv,
# or named by AUTOBAHN_PYTHON; PyPy 2.7 from Debian 11 through apt; the suite's own Docker image (AUTOBAHN_DOCKER=1 asks
# for that at once). Everything is kept in AUTOBAHN_HOME and nothing is installed elsewhere.
set -euo pipefail

home=${AUTOBAHN_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/trio-websock-autobahn}
image=crossbario/autobahn-testsuite
# The last releases with support for 2.7. TLS, WAMP and the suite's web server are not needed, nor is what they depend on.
tools=(pip==20.3.4 setuptools==44.1.1 wheel==0.37.1)
first=(six==1.16.0 typing==3.10.0.0 incremental==21.3.0) # Twisted's setup.py imports these
suite=(
  autobahntestsuite==25.10.1 autobahn==0.10.9 txaio==2.1.0
  Twisted==20.3.0 Automat==20.2.0 attrs==21.4.0 constantly==15.1.0 hyperlink==21.0.0 idna==2.10
  zope.interface==5.5.2 Jinja2==2.11.3 MarkupSafe==1.1.1 unittest2==1.1.0 traceback2==1.4.0 linecache2==1.0.0
)

say() { printf 'autobahn.sh: %s\n' "$*" >&2; }

# Python 2.7 must not see the settings of the Python 3 that called us.
unset PYTHONHOME VIRTUAL_ENV
python() { PYTHONPATH="$home/suite:$home/tools" "$home/python" "$@"; }

find_python() {
  local candidate
  for candidate in ${AUTOBAHN_PYTHON:-} python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7 pypy2; do
    # Through pyenv's shims a name may be found that runs nothing.
    "$candidate" -c 'import sys, ssl, zlib; assert sys.version_info[:2] == (2, 7)' 2>/dev/null || continue
    command -v "$candidate"
    return
  done
  return 1
}

# Unpacked, not installed: the packages of this machine stay as they are.
fetch_pypy() {
  command -v apt-get >/dev/null && [ "$(dpkg --print-architecture)" = amd64 ] || return 1
  local apt=$home/apt mirror
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
  [ -n "$mirror" ] || return 1
  mkdir -p "$apt"/{lists/partial,archives/partial,root}
  touch "$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >"$apt/sources.list"
  local options=(-q -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o Dir::Etc::parts=-
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o "APT::Sandbox::User=$(id -un)")
  (cd "$apt" && apt-get "${options[@]}" update && apt-get "${options[@]}" download pypy pypy-lib pypy-dev libffi7 libssl1.1) >&2
  for package in "$apt"/*.deb; do dpkg-deb -x "$package" "$apt/root"; done
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$apt/root/usr/lib/x86_64-linux-gnu" \
    "$apt/root/usr/lib/pypy/bin/pypy-c" >"$home/pypy2"
  chmod +x "$home/pypy2"
  "$home/pypy2" -c 'import ssl, zlib' && echo "$home/pypy2"
}

install_suite() {
  local pip=(-m pip --disable-pip-version-check install -q --no-deps --no-build-isolation --no-compile --target "$home/suite")
  python3 -m pip --disable-pip-version-check download -q --no-deps -d "$home/wheels" "${tools[@]}" || return
  for wheel in "$home"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$home/tools"; done
  python -W ignore "${pip[@]}" "${first[@]}" && python -W ignore "${pip[@]}" "${suite[@]}" || return
  # Masking and UTF-8 in C: on CPython the client is several times slower without; on PyPy it is not wanted.
  python -c 'import platform; exit(platform.python_implementation() != "CPython")' || return 0
  python -W ignore "${pip[@]}" wsaccel==0.6.6 || say "no wsaccel (it needs a C compiler): expect a slow client"
}

setup() {
  rm -rf "$home" && mkdir -p "$home"
  local interpreter
  if [ -z "${AUTOBAHN_DOCKER:-}" ] && interpreter=$(find_python || fetch_pypy); then
    say "with $interpreter in $home"
    printf '#!/bin/sh\nexec %q "$@"\n' "$interpreter" >"$home/python"
    chmod +x "$home/python"
    install_suite || { say "the suite could not be installed"; return 1; }
  else
    say "with Docker: $image"
    docker pull -q "$image" >&2
    touch "$home/docker"
  fi
  touch "$home/ready"
}

# Either end: what "wstest -m MODE" does, without wstest, which imports TLS and WAMP. In place of this shell, so that who
# ends the one ends the other.
run() {
  local mode=$1 spec=$2
  if [ -e "$home/docker" ]; then
    exec docker run --rm --network host --user "$(id -u):$(id -g)" -v "$(dirname "$spec"):$(dirname "$spec")" "$image" \
      wstest -m "$mode" -s "$spec" -u 0
  fi
  # It keeps every octet of every case: better that it fails than that it takes the memory of the whole machine.
  ulimit -v "${AUTOBAHN_MEMORY:-9000000}"
  PYTHONPATH="$home/suite:$home/tools" exec "$home/python" -s - "$mode" "$spec" "$home/suite" <<'PYTHON'
import json, site, sys, types

site.addsitedir(sys.argv[3])  # for the namespace package zope
import twisted.internet

tls = types.ModuleType("twisted.internet.ssl")
tls.ClientContextFactory = object  # asked for even by ws://
sys.modules["twisted.internet.ssl"] = twisted.internet.ssl = tls

import autobahntestsuite  # first: it chooses the reactor
from autobahntestsuite.fuzzing import FuzzingClientFactory, FuzzingServerFactory
from twisted.internet import reactor

with open(sys.argv[2]) as spec:
    settings = json.load(spec)
if sys.argv[1] == "fuzzingclient":
    FuzzingClientFactory(settings)
else:
    factory = FuzzingServerFactory(settings)
    reactor.listenTCP(factory.port, factory, interface="127.0.0.1")
reactor.run()
PYTHON
}

case "${1:-}" in
  setup) [ -e "$home/ready" ] || setup ;;
  ready) [ -e "$home/ready" ] ;;
  run) run fuzzingclient "${2:?a fuzzingclient.json}" ;;
  serve) run fuzzingserver "${2:?a fuzzingserver.json}" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
