"""
``twistd pushd``: the command line, and the service that it starts.

Flags choose the file; everything else is a line in the file. They are Mosquitto's, so that
``mosquitto -c my.conf -v`` becomes ``twistd -n pushd -c my.conf -v``. Whether to go into the background is
twistd's business (``-n`` for no), but ``-d`` behind ``pushd`` is understood as well. Flags before ``pushd``
are twistd's own.
"""

from __future__ import annotations

import select
import sys
from dataclasses import replace
from typing import NoReturn

from twisted.application.service import IService
from twisted.python import usage

from pushd import __version__
from pushd.auth.security_file import SecurityFileError
from pushd.config.errors import ConfigError, quoted
from pushd.config.reader import read_settings
from pushd.config.settings import Settings
from pushd.people.interfaces import PeopleUnavailable
from pushd.plugins.loading import PluginError
from pushd.rules.rule_file import RuleFileError
from pushd.service.logs import LogFileError, make_observer, with_twistd_flags
from pushd.transports.tls import TlsFileError

# Mosquitto's exit status for a settings file that it cannot use (MOSQ_ERR_INVAL).
EXIT_BAD_SETTINGS = 3


class Options(usage.Options):
    """
    Mosquitto's flags. ``settings`` is what they and the file say.
    """

    synopsis = "[options]"
    optParameters = [
        ["config", "c", None, "Settings file, in mosquitto.conf's syntax. Without one: loopback, port 1883."],
    ]
    optFlags = [
        ["daemon", "d", "Go into the background, as twistd does without -n."],
        ["verbose", "v", "Log everything, whatever log_type says."],
        ["quiet", "q", "Log nothing."],
        [
            "test-config",
            None,
            "Check the settings and the files that they name, then exit: 0 if they are good.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["ports"] = []

    def opt_port(self, port: str) -> None:
        """Listen on this loopback port; ignored if the file has a listener. May be repeated."""
        try:
            self["ports"].append(int(port))
        except ValueError:
            refuse_to_start(f"-p: {quoted(port)} is not a number")

    def opt_config_file(self, path: str) -> None:
        """The same as --config; Mosquitto's spelling."""
        self["config"] = path

    opt_p = opt_port
    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"pushd {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the settings before twistd leaves the terminal, so that errors are seen there."""
        if self["daemon"] and self.parent is not None:
            self.parent["nodaemon"] = False
        try:
            self["settings"] = read_settings(self["config"], self["ports"])
        except ConfigError as problem:
            refuse_to_start(problem)
        if self["test-config"]:
            report(self)
            sys.exit(0)


def makeService(options: Options) -> IService:
    """Called by twistd; the name is Twisted's."""
    return make_server(options)


def make_server(options: Options) -> IService:
    """Assemble everything, reading each file that the settings name; exit with the reason if one is bad."""
    # Not at the top: twistd must be able to choose the reactor before anything imports it.
    if hasattr(select, "epoll"):
        from pushd.service.reactor import install_unless_chosen

        install_unless_chosen()
    from twisted.internet import reactor

    from pushd.service.server import Server

    settings = _with_flags(options, options["settings"])
    try:
        return Server(
            settings,
            reactor=reactor,
            log=make_observer(settings.log, verbose=bool(options["verbose"]), quiet=bool(options["quiet"])),
            read_again=lambda: _with_flags(options, read_settings(options["config"], options["ports"])),
        )
    except (
        SecurityFileError,
        TlsFileError,
        PluginError,
        RuleFileError,
        PeopleUnavailable,
        LogFileError,
    ) as problem:
        refuse_to_start(problem)


def _with_flags(options: Options, settings: Settings) -> Settings:
    """What the file says, at the start or after a reload, as far as flags of twistd do not say otherwise."""
    return replace(settings, log=with_twistd_flags(settings.log, options.parent or {}))


def report(options: Options) -> None:
    """Do all that can go wrong before a door is opened, and say what a start would warn of."""
    make_server(options)
    from pushd.service.assembly import read_files  # not before make_server has chosen the reactor

    settings: Settings = options["settings"]
    for warning in (*settings.warnings, *read_files(settings).warnings()):
        sys.stderr.write(f"Warning: {warning}\n")
    sys.stdout.write("The settings are good.\n")


def refuse_to_start(problem: Exception | str) -> NoReturn:
    """
    Say what is wrong with the settings, and exit as Mosquitto does. A UsageError would make twistd print all
    its flags, and exit with 1.
    """
    sys.stderr.write(f"Error: {problem}\n")
    sys.exit(EXIT_BAD_SETTINGS)
