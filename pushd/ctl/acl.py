"""
``pushctl acl check``: which line of an ACL file decides, or which entry of the access control list, by the
rules that the server goes by.

    $ pushctl acl check anna phone write users/bert/in
    denied: nothing matches (conf/acl)
    $ pushctl acl check anna phone read users/anna/in
    allowed: conf/acl:26: pattern readwrite users/%u/#

The server is not asked and need not run: what counts is what is in the files now, which a running server has
read at its start or at the last SIGHUP. If the rules ask for the user's friends, they are read from where the
settings file says that they are kept; and so is the access control list, where accounts are asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pushd.auth.acl_file import ACCESSES, AclFile, Unlisted
from pushd.auth.acl_tree import NO_FRIENDS, AclLine, Substitution
from pushd.auth.dollar_topics import is_closed
from pushd.auth.grants import AccessList, Entry
from pushd.auth.security_file import SecurityFileError
from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.config.settings import ListenerSettings, SecuritySettings, Settings
from pushd.ctl.access import all_grants, line_of
from pushd.ctl.command import add_config
from pushd.ctl.friends import friends_of
from pushd.ctl.people import are_kept, ask_people
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_filter, check_name, split_shared
from pushd.people.interfaces import Friends, PeopleUnavailable

ALLOWED, DENIED, UNANSWERED = 0, 1, 2  # exit statuses
ANONYMOUS = "-"
NO_ENTRIES = AccessList()

DESCRIPTION = """\
Show which line of the ACL file, or entry of the access control list, decides about a client and a topic.
The exit status is 0 for allowed, 1 for denied and 2 if there is no answer.
"""

EPILOG = """\
read       a message published to this topic is about to be delivered to the client
write      the client publishes to this topic
subscribe  the client subscribes with this topic filter. The server refuses it only with acl_check_subscribe
           true, and then if no topic that the filter matches may be read; so --acl answers, too.
           The access control list (pushctl access) always refuses it then.
"""


class NoAnswer(Exception):
    """The question cannot be answered as it was asked. The text is for standard error."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The client that the question is about."""

    client_id: str
    username: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody would like to do."""

    asker: Asker
    access: str  # read | write | subscribe
    topic: str  # a filter without its $share/group/, if it is to subscribe


@dataclass(frozen=True, slots=True)
class Rules:
    """What the server would go by: an ACL file, and how it reads it."""

    acl: AclFile | None
    substitution: Substitution
    checks_subscribe: bool
    plugins: bool = False  # whether there are some, who may decide first
    friends: Friends | None = None  # the asker's; None if nobody can say
    entries: AccessList = NO_ENTRIES  # of the access control list, where it says anything about the asker

    def entry(self, question: Question) -> Entry | None:
        """The entry of the access control list that decides, before the file is asked."""
        access = ACCESSES[question.access]
        if is_closed(access, question.topic):
            return None
        return self.entries.deciding(question.asker.username, access, question.topic)

    def explain(self, question: Question, substitution: Substitution) -> AclLine | Unlisted | None:
        """:return: what decides; ``None`` if nothing does, and everything is allowed."""
        access = ACCESSES[question.access]
        if self.acl is not None:
            friends = self.friends or NO_FRIENDS
            return self.acl.explain(question.asker, access, question.topic, substitution, friends)
        return Unlisted.CLOSED if is_closed(access, question.topic) else None


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl acl``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        question = _question(options)
        rules = _rules(options, question.asker.username)
    except (NoAnswer, SecurityFileError, ConfigError, PeopleUnavailable) as problem:
        print(f"pushctl acl check: {problem}", file=sys.stderr)
        return UNANSWERED
    return _answer(rules, question)


def _answer(rules: Rules, question: Question) -> int:
    entry = rules.entry(question)
    is_allowed = _answer_by_file(rules, question) if entry is None else _answer_by_entry(entry, question)
    if rules.plugins:
        print("note: the server asks plugins, too; they are not asked here")
    return ALLOWED if is_allowed else DENIED


def _answer_by_entry(entry: Entry, question: Question) -> bool:
    is_allowed = entry.allows(ACCESSES[question.access])
    print(f"{'allowed' if is_allowed else 'denied'}: access list: {line_of(entry.grant)}")
    return is_allowed


def _answer_by_file(rules: Rules, question: Question) -> bool:
    found = rules.explain(question, rules.substitution)
    if question.access == "subscribe" and not rules.checks_subscribe:
        print("allowed: every subscription is, without acl_check_subscribe")
        print(f"note: with acl_check_subscribe it would be {_said(rules, found)}")
        return True
    print(_said(rules, found))
    for other in set(Substitution) - {rules.substitution}:
        otherwise = rules.explain(question, other)
        if _allows(otherwise) != _allows(found):
            print(f"note: with acl_substitution {other.value} it would be {_said(rules, otherwise)}")
    if rules.friends is None and rules.acl is not None and rules.acl.uses_friends:
        print("note: with --acl nobody has friends; -c CONF says where they are kept")
    return _allows(found)


def _allows(found: AclLine | Unlisted | None) -> bool:
    return found is None or found.allows


def _said(rules: Rules, found: AclLine | Unlisted | None) -> str:
    answer = "allowed" if _allows(found) else "denied"
    place = "there is no acl_file" if rules.acl is None else rules.acl.origin
    if found is None:
        return f"{answer}: {place}"
    if isinstance(found, AclLine):
        return f"{answer}: {place}:{found.number}: {found.text}"
    return f"{answer}: {found.value} ({place})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pushctl acl", description="Ask the ACL file.")
    commands = parser.add_subparsers(required=True, metavar="check")
    check = commands.add_parser(
        "check",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="show which line decides",
    )
    check.add_argument("user", metavar="USER", help=f'its user name; "{ANONYMOUS}" for a client without one')
    check.add_argument("client_id", metavar="CLIENTID", help='its client id; "" for a caller of the gateway')
    check.add_argument("access", choices=tuple(ACCESSES))
    check.add_argument(
        "topic", metavar="TOPIC", help="with the listener's mount_point in front, if it has one"
    )
    files = check.add_mutually_exclusive_group()
    add_config(files)
    files.add_argument("--acl", metavar="FILE", help="this ACL file, without a settings file")
    check.add_argument(
        "--listener",
        metavar="PORT",
        help="where listeners have rules of their own: the port, or socket, meant",
    )
    return parser


def _question(options: argparse.Namespace) -> Question:
    """:raises NoAnswer: the topic is none."""
    topic: str = options.topic
    try:
        if options.access == "subscribe":
            check_filter(topic)
            topic = split_shared(topic)[1]
        else:
            check_name(topic)
    except MalformedPacket as problem:
        raise NoAnswer(f"{topic!r}: {problem}") from None
    username = None if options.user in ("", ANONYMOUS) else options.user
    return Question(Asker(options.client_id, username), options.access, topic)


def _rules(options: argparse.Namespace, username: str | None) -> Rules:
    """
    :param username: whose friends they may ask for.
    :raises NoAnswer: there are several, and nothing says which are meant.
    :raises SecurityFileError: as `AclFile.read`; ConfigError as `read_settings`; PeopleUnavailable: its
        friends cannot be read.
    """
    if options.acl is not None:
        return Rules(AclFile.read(options.acl), Substitution.WHOLE_LEVELS, checks_subscribe=True)
    settings = read_settings(options.config)
    security = _security(settings.listeners, options.listener)
    acl = None if security.acl_file is None else AclFile.read(security.acl_file)
    friends = NO_FRIENDS
    if acl is not None and acl.uses_friends and username is not None and are_kept(settings):
        friends = ask_people(settings, friends_of(username))
    return Rules(
        acl,
        Substitution(security.acl_substitution),
        security.acl_check_subscribe,
        bool(security.plugins),
        friends,
        _entries(settings, security, username),
    )


def _entries(settings: Settings, security: SecuritySettings, username: str | None) -> AccessList:
    """The list as far as it counts: not where no accounts are asked, and not for who may do everything."""
    if not security.accounts or username in settings.admin_user or not are_kept(settings):
        return NO_ENTRIES
    return AccessList(ask_people(settings, all_grants))


def _security(listeners: Sequence[ListenerSettings], wanted: str | None) -> SecuritySettings:
    """What holds at the listener that is wanted, or at all of them."""
    meant = [one for one in listeners if wanted in (None, _place(one))]
    places = ", ".join(map(_place, listeners))
    if not meant:
        raise NoAnswer(f"no listener {wanted}; there are {places}")
    rules = {
        (
            one.security.acl_file,
            one.security.acl_substitution,
            one.security.acl_check_subscribe,
            one.security.accounts,
        )
        for one in meant
    }
    if len(rules) > 1:
        raise NoAnswer(f"listeners have rules of their own; add --listener with one of {places}")
    return meant[0].security


def _place(listener: ListenerSettings) -> str:
    return listener.path or str(listener.port)
