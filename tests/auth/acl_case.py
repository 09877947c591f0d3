"""What the tests of ACL files share: somebody who asks, and a file that is asked."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_file import AclFile
from pushd.auth.acl_tree import NO_FRIENDS, AclLine, Substitution
from pushd.broker.interfaces import Access
from pushd.mqtt.codes import ReasonCode
from pushd.people.interfaces import Friends


@dataclass
class Client:
    """Somebody who wants something."""

    username: str | None = None
    client_id: str = "c1"


class AclTestCase(SynchronousTestCase):
    """
    Asks one ACL file.

    :cvar substitution: by whose way with names.
    :cvar friends: of everybody who asks.
    """

    acl: AclFile
    substitution = Substitution.WHOLE_LEVELS
    friends = NO_FRIENDS

    def given_acl(self, *lines: str) -> None:
        """The file has these lines."""
        self.acl = AclFile.parse("\n".join(lines), "conf/acl")

    def given_friends(self, *followed: str, mutual: tuple[str, ...] = ()) -> None:
        """Whoever asks follows these; those in `mutual`, too, and they follow back."""
        self.friends = Friends(frozenset(followed + mutual), frozenset(mutual))

    def may(self, client: Client, access: Access, topic: str) -> bool:
        """Whether the file allows this; every verdict is one of two."""
        verdict = self.acl.authorize(client, access, topic, self.substitution, self.friends)
        self.assertIn(verdict, (ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED))
        return verdict is ReasonCode.SUCCESS

    def reads(self, client: Client, topic: str) -> bool:
        """Whether it may get messages of this topic."""
        return self.may(client, Access.READ, topic)

    def writes(self, client: Client, topic: str) -> bool:
        """Whether it may publish to this topic."""
        return self.may(client, Access.WRITE, topic)

    def subscribes(self, client: Client, topic_filter: str) -> bool:
        """Whether any message of this filter could reach it."""
        return self.may(client, Access.SUBSCRIBE, topic_filter)

    def decider(self, client: Client, access: Access, topic: str) -> int | str:
        """The number of the line that decides, or why there is none."""
        found = self.acl.explain(client, access, topic, self.substitution, self.friends)
        return found.number if isinstance(found, AclLine) else found.name
