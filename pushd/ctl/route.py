"""
``pushctl route test``: where routing rules would send a message, by the code that the server goes by.

    $ pushctl route test /chat/im/u/jim --user alice --client pc
    conf/routes:32: /+/im/u/+ copy /%1/im/u/%u
        /chat/im/u/jim is copied to /chat/im/u/alice
    delivered at /chat/im/u/jim
    delivered at /chat/im/u/alice

The server is not asked and need not run: what counts is what is in the files now, which a running server has
read at its start or at the last SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_name
from pushd.rules.routing import Action, RoutingRules, Step
from pushd.rules.rule_file import RuleFileError

ROUTED, NOT_ROUTED, NO_TOPIC, BAD_FILE = 0, 1, 2, 3  # exit statuses
SETTINGS = "conf/pushd.conf"

DESCRIPTION = """\
Show where the routing rules would send a message, and which lines of their file say so.
The exit status is 0 if any rule applies, 1 if none does, 2 if TOPIC is none and 3 if a file cannot be used.
"""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who is supposed to publish it."""

    client_id: str
    username: str | None


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl route``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        check_name(options.topic)
    except MalformedPacket as problem:
        return _refuse(f"{options.topic!r}: {problem}", NO_TOPIC)
    try:
        path = options.file or read_settings(options.config).routes_file
        rules = None if path is None else RoutingRules.read(path)
    except (RuleFileError, ConfigError) as problem:
        return _refuse(str(problem), BAD_FILE)
    if rules is None:
        print(f"there is no routes_file in {options.config}")
        return NOT_ROUTED
    return _answer(rules, options.topic, Sender(options.client, options.user or None))


def _answer(rules: RoutingRules, topic: str, sender: Sender) -> int:
    journey = rules.journey(topic, sender)
    for step in journey.steps:
        print(f"{rules.origin}:{step.rule.number}: {step.rule.text}")
        print(f"    {_said(step)}")
    if not journey.steps:
        print(f"no rule applies ({rules.origin})")
    for place in dict.fromkeys(journey.topics):
        print(f"delivered at {place}")
    if not journey.topics:
        print("nobody gets it")
    return ROUTED if journey.steps else NOT_ROUTED


def _said(step: Step) -> str:
    if step.rule.action is Action.DROP:
        return f"{step.topic} is dropped"
    verb = "copied" if step.rule.action is Action.COPY else "moved"
    return f"{step.topic} is {verb} to {step.destination}"


def _refuse(problem: str, status: int) -> int:
    print(f"pushctl route test: {problem}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pushctl route", description="Ask the routing rules.")
    commands = parser.add_subparsers(required=True, metavar="test")
    test = commands.add_parser(
        "test",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="show where a message would go",
    )
    test.add_argument(
        "topic", metavar="TOPIC", help="with the listener's mount_point in front, if it has one"
    )
    test.add_argument("--user", metavar="USER", default="", help="the sender's user name; default: none")
    test.add_argument("--client", metavar="CLIENTID", default="", help="its client id; none by HTTP")
    files = test.add_mutually_exclusive_group()
    files.add_argument(
        "-c",
        "--config",
        metavar="CONF",
        default=SETTINGS,
        help=f"the server's settings file, whose routes_file is asked; default {SETTINGS}",
    )
    files.add_argument("--file", metavar="FILE", help="this file of rules, without a settings file")
    return parser
