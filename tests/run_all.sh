#!/bin/sh
# What `make test` runs once everything is installed: each check, whatever became of the one before, and
# then one line for each. PYTHONPATH makes the tests, and the servers that they start, use these sources.
set -u
cd "$(dirname "$0")/.."

PATH="$PWD/.venv/bin:$PATH:/usr/sbin:/usr/local/sbin" # Debian's mosquitto is in sbin
PYTHONPATH="$PWD"
export PATH PYTHONPATH
cores=$(getconf _NPROCESSORS_ONLN)
summary=
failed=0

# check NAME COMMAND...
check() {
    name=$1
    shift
    echo "== $name"
    if "$@"; then
        result=passed
    else
        result=FAILED
        failed=1
    fi
    summary="$summary  $result  $name
"
}

check 'style (ruff check)' ruff check .
check 'layout (ruff format)' ruff format --check .
check 'types (mypy, strict)' mypy pushd
check "tests (pytest, $cores at a time)" python -m pytest -n "$cores"

echo
echo "Summary"
printf '%s' "$summary"
exit $failed
