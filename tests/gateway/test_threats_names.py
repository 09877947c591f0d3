"""
Names that are patterns: twenty that users and devices might choose, in each place where a name is put into a
rule. None of them widens a rule, none is expanded a second time, and none reaches the server's own topics.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_file import AclFile
from pushd.auth.acl_tree import NO_FRIENDS, Substitution
from pushd.broker.interfaces import Access
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_filter, is_valid_name, matches
from pushd.people.interfaces import Friends
from pushd.rules.auto_subscribe import AutoRules
from pushd.rules.routing import RoutingRules

NAMES = (
    "+", "#", "/", "a/b", "a/", "/a", "a/+", "a/#", "+/+", "#/", "%u", "%c", "%f", "%F", "%1", "$SYS",
    "$share", "$CONTROL", "", "a\0b", "%u/%c", "ada+", ".*", "[a-z]+", "(a|b)*$",
)  # fmt: skip

# Each is for one name, in one place of a rule; the other topics are those of others, and the server's.
TEMPLATES = ("users/%u", "users/%u/#", "users/%u/+/x", "%u/x", "c/%c", "c/%c/#", "%c/x", "both/%u/%c")
OTHERS = (
    "users/bob", "users/bob/x", "users/bob/y/x", "users", "bob/x", "c/phone", "c/phone/x", "phone/x",
    "both/bob/phone", "both/a/b", "users/a/b", "users/ada", "$SYS/x", "$CONTROL/x", "$share/g/x", "x", "c",
    "users/%u/secret-of-nobody/x/y",
)  # fmt: skip


@dataclass
class Caller:
    """Who wants something."""

    username: str | None
    client_id: str


def callers(name: str) -> tuple[Caller, Caller, Caller]:
    """As user, as device, as both."""
    return Caller(name, "c1"), Caller("eve", name), Caller(name, name)


def put_in(template: str, caller: Caller) -> str:
    """What a template means for somebody, taken literally."""
    levels = {"%u": caller.username or "", "%c": caller.client_id}
    return "/".join(levels.get(level, level) for level in template.split("/"))


class NameTests(SynchronousTestCase):
    """Each name in each template"""

    def test_enough(self) -> None:
        """Twenty at least, and no two the same."""
        self.assertGreaterEqual(len(set(NAMES)), 20)

    def test_access_rules(self) -> None:
        """A pattern holds for the name as it is written, or not at all."""
        for template in TEMPLATES:
            acl = AclFile.parse(f"pattern readwrite {template}", "acl")
            for name in NAMES:
                for caller in callers(name):
                    self.assert_nothing_of_others(acl, template, caller)

    def assert_nothing_of_others(self, acl: AclFile, template: str, caller: Caller) -> None:
        for topic in OTHERS:
            for access in (Access.READ, Access.WRITE):
                verdict = acl.authorize(caller, access, topic, Substitution.WHOLE_LEVELS, NO_FRIENDS)
                if verdict is ReasonCode.SUCCESS:
                    self.assert_own(put_in(template, caller), template, topic, caller)

    def assert_own(self, filter: str, template: str, topic: str, caller: Caller) -> None:
        """The filter has as many levels as its template and, but for those of the template, no wildcards."""
        self.assertEqual(filter.count("/"), template.count("/"), (template, caller))
        wildcards = [filter.count(sign) - template.count(sign) for sign in "+#"]
        self.assertEqual(wildcards, [0, 0], (template, caller))
        self.assertTrue(matches(filter, topic) and not topic.startswith("$"), (template, topic, caller))

    def test_subscriptions_by_rule(self) -> None:
        """What a client gets without asking is one level for each name, and nothing of the server's."""
        text = "\n".join(f"{template} 0" for template in TEMPLATES)
        rules = AutoRules.parse(text, "autosubscribe")
        literal = {template: template.split("/") for template in TEMPLATES}
        for name in NAMES:
            for caller in callers(name):
                for filter, _ in rules.wishes(caller.username, caller.client_id, Friends()):
                    self.assertTrue(is_valid_filter(filter) and not filter.startswith("$"), (filter, caller))
                    self.assertIn(filter, [put_in(template, caller) for template in literal])
                    self.assertIn(len(filter.split("/")), {len(levels) for levels in literal.values()})

    def test_subscriptions_by_friends(self) -> None:
        """The names of friends are no better: of all these, those that are one level stand as they are."""
        friends = Friends(frozenset(NAMES), frozenset(NAMES))
        for template in ("u/%f/x", "u/%F/x", "%f/x"):
            rules = AutoRules.parse(f"{template} 0", "autosubscribe")
            for filter, _ in rules.wishes("ada", "phone", friends):
                self.assertEqual(len(filter.split("/")), len(template.split("/")), filter)
                self.assertFalse(set(filter) & set("+#") or filter.startswith("$"), filter)

    def test_routes(self) -> None:
        """A route leads to a topic's name, with one level for each name, and never to the server's."""
        lines = [f"x copy r/{template}".replace("/#", "").replace("/+", "") for template in TEMPLATES]
        rules = RoutingRules.parse("\n".join(lines), "routes")
        for name in NAMES:
            for caller in callers(name):
                wanted = {put_in(line.split()[2], caller) for line in lines} | {"x"}
                for topic in rules.destinations("x", caller):
                    self.assertTrue(is_valid_name(topic) and not topic.startswith("$"), (topic, caller))
                    self.assertIn(topic, wanted, caller)

    def test_routes_by_topic(self) -> None:
        """What stood for a wildcard is not expanded either, nor does it reach the server's topics."""
        rules = RoutingRules.parse("from/+/+ move %1/%2\nto/# move all/%1", "routes")
        for name in ("%u", "%c", "%f", "%1", "$SYS", "$CONTROL", "$share"):
            for topic in rules.destinations(f"from/{name}/x", Caller("ada", "phone")):
                self.assertIn(topic, (f"{name}/x", f"from/{name}/x"))
                self.assertFalse(topic.startswith("$"))
