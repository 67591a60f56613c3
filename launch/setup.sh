#!/usr/bin/env bash
# Makes the environment in .venv: what `make setup` calls. Needs Python 3.10 or later with venv; no root.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }

if [ -z "${PYTHON:-}" ]; then
  echo "setup: no Python with venv was found." >&2
  echo "  next: install one (Debian, Ubuntu: sudo apt install python3 python3-venv), or: make setup PYTHON=/path/to/python3" >&2
  exit 1
fi
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "setup: $PYTHON is Python $version; dari needs 3.10 or later." >&2
  echo "  next: make setup PYTHON=/path/to/python3.11" >&2
  exit 1
fi
if [ ! -x "$VENV/bin/python" ]; then
  say "making $VENV with Python $version"
  "$PYTHON" -m venv "$VENV"
fi
# The ROS wheels mark an environment that they have started in; a Python of another environment must not inherit it.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
say "installing (the first time takes a minute or two)"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
if "$PYTHON" -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
  : # pybullet came as a wheel
elif [ "${WITH_PYBULLET:-}" = compile ]; then
  say "compiling pybullet, as asked: this takes minutes"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,twin-compile]'
else
  say "pybullet has no wheel for Python $version, so the twin is left out; everything else works."
  say "  next: use Python 3.11 (make clean; make setup PYTHON=python3.11), or compile it: make setup WITH_PYBULLET=compile"
fi
say "done: $VENV/bin/dari --help"
