#!/bin/sh
# The real programs that the tests talk to: mosquitto's broker and clients, Redis, MariaDB, curl, Node with npm,
# and a browser with its driver. Missing ones are installed where that needs no question (Debian, as root);
# anywhere else they are named.
set -eu

# PACKAGE COMMAND...: the package is missing if there is none of these commands.
lacks() {
    package=$1
    shift
    for name; do
        command -v "$name" >/dev/null 2>&1 && return
        [ -x "/usr/sbin/$name" ] || [ -x "/usr/local/sbin/$name" ] && return
    done
    echo "$package"
}

missing=$(
    lacks mosquitto mosquitto
    lacks mosquitto-clients mosquitto_sub
    lacks redis-server redis-server
    lacks mariadb-server mariadbd mysqld
    lacks curl curl
    lacks nodejs node
    lacks npm npm
    lacks chromium chromium google-chrome
    lacks chromium-driver chromedriver
    # Debian keeps the part of Python that makes virtual environments in a package of its own.
    if [ -e /etc/debian_version ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
)
missing=$(echo $missing) # on one line
[ -n "$missing" ] || exit 0

if [ ! -e /etc/debian_version ]; then
    echo "The tests need mosquitto with its clients, Redis, MariaDB, curl, Node with npm, and Chromium or" >&2
    echo "Chrome with chromedriver; not found: $missing." >&2
    echo "On macOS: brew install mosquitto redis mariadb node && brew install --cask chromium chromedriver" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "The tests need packages that are not installed. Please run:" >&2
    echo "    sudo apt-get install $missing" >&2
    exit 1
fi

echo "Installing $missing ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # one word for each package
apt-get install -y -qq --no-install-recommends $missing >/dev/null

# Debian starts the servers that it has just installed, the broker on the port that `make run` wants. One that
# was here before is somebody's, and stays.
stop() {
    if [ -d /run/systemd/system ]; then
        systemctl disable --quiet --now "$1" || true
    else
        service "$1" stop >/dev/null 2>&1 || true
    fi
}
for name in mosquitto redis-server mariadb-server; do
    case " $missing " in
    *" $name "*) stop "${name%-server}" && stop "$name" ;;
    esac
done
