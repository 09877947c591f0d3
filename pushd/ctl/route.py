"""
``pushctl route test``: where routing rules would send a message, by the code that the server goes by.

    $ pushctl route test /chat/im/u/jim --user alice --client pc
    conf/routes:32: /+/im/u/+ copy /%1/im/u/%u
        /chat/im/u/jim is copied to /chat/im/u/alice
    delivered at /chat/im/u/jim
    delivered at /chat/im/u/alice

The server is not asked and need not run: what counts is what is in the files now, which a running server has
read at its start or at the last SIGHUP. If the rules ask for the sender's friends, they are read from where
the settings file says that they are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.ctl.command import add_config
from pushd.ctl.friends import friends_of
from pushd.ctl.people import are_kept, ask_people
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_name
from pushd.people.interfaces import PeopleUnavailable
from pushd.rules.routing import Action, RoutingRule, RoutingRules, Step
from pushd.rules.rule_file import RuleFileError

ROUTED, NOT_ROUTED, NO_TOPIC, UNREADABLE = 0, 1, 2, 3  # exit statuses

DESCRIPTION = """\
Show where the routing rules would send a message, and which lines of their file say so.
The exit status is 0 if any rule applies, 1 if none does, 2 if TOPIC is none and 3 if a file, or where friends
are kept, cannot be read.
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
    sender = Sender(options.client, options.user or None)
    try:
        rules = _rules(options, sender)
    except (RuleFileError, ConfigError, PeopleUnavailable) as problem:
        return _refuse(str(problem), UNREADABLE)
    if rules is None:
        print(f"there is no routes_file in {options.config}")
        return NOT_ROUTED
    status = _answer(rules, options.topic, sender)
    if options.file and rules.uses_friends:
        print("note: with --file nobody has friends; -c CONF says where they are kept")
    return status


def _rules(options: argparse.Namespace, sender: Sender) -> RoutingRules | None:
    """
    :return: ``None`` if the settings name none.
    :raises RuleFileError: as `RoutingRules.read`; ConfigError as `read_settings`; PeopleUnavailable: the
        sender's friends cannot be read.
    """
    if options.file:
        return RoutingRules.read(options.file)
    settings = read_settings(options.config)
    if settings.routes_file is None:
        return None
    rules = RoutingRules.read(settings.routes_file)
    if rules.uses_friends and sender.username is not None and are_kept(settings):
        friends = ask_people(settings, friends_of(sender.username))
        rules = rules.knowing(lambda _: friends)
    return rules


def _answer(rules: RoutingRules, topic: str, sender: Sender) -> int:
    journey = rules.journey(topic, sender)
    said: RoutingRule | None = None
    for step in journey.steps:
        if step.rule is not said:  # one for each of a thousand friends says it once
            print(f"{rules.origin}:{step.rule.number}: {step.rule.text}")
        said = step.rule
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
    add_config(files, "the server's settings file, whose routes_file is asked")
    files.add_argument("--file", metavar="FILE", help="this file of rules, without a settings file")
    return parser
