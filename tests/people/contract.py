"""
What every keeper of people does. Each runs these tests, and is compared with `MemoryPeople` on whatever
Hypothesis thinks of.

    class SqlitePeopleTests(PeopleContract, SynchronousTestCase):
        def make(self) -> IPeople: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.people.interfaces import EVERYBODY, Account, Aspect, Change, Friends, Grant, IPeople, Token
from pushd.people.memory import MemoryPeople

T = TypeVar("T")

# Names that are something else in a key, a statement, a script, a pattern or a line.
HOSTILE = (
    " ",
    "two words",
    "user:ada",
    ":",
    "{ada}",
    "ada\r\nDEL pushd:users",
    "ada'; DROP TABLE account; --",
    'ada"',
    "\\",
    "*",
    "%",
    "[a-z]",
    "+/#",
    "\x01",
    "Ada",
    "ada",
    "ädä",
    "a\u0308da",
    "\uffff",
    "😀",
    "x" * 65_535,
    "x" * 65_534 + "y",
)

# Few, so that they meet each other.
NAMES = st.sampled_from(["ada", "bob", "cleo", "b:ob", "{a}", "ä'"])
HASHES = st.sampled_from(["$7$1$c2FsdA==$aGFzaA==", "$argon2id$v=19$x", "$md5$salt$" + "0a" * 16])
FILTERS = st.sampled_from(["a", "a/b", "+/#", "'", "😀"])
FLAGS, QOS = st.booleans(), st.integers(0, 2)
TIMES = st.integers(0, 2**40)
ACCOUNTS = st.builds(Account, NAMES, HASHES, FLAGS, TIMES)
SUMS = st.sampled_from(["0a" * 32, "0b" * 32, "0c" * 32])
SCOPES = st.none() | st.lists(FILTERS, max_size=2).map(tuple)
RATES = st.sampled_from([0.0, 1 / 3, 1e9])
TOKENS = st.builds(Token, SUMS, NAMES, FILTERS, SCOPES, SCOPES, RATES, TIMES, TIMES, TIMES, FILTERS)
GRANTEES = NAMES | st.just(EVERYBODY)
PERMISSIONS = st.sampled_from(["read-write", "read-only", "write-only", "deny-all"])

CALLS: st.SearchStrategy[tuple[str, tuple[Any, ...]]] = st.one_of(
    st.tuples(st.just("keep_account"), st.tuples(ACCOUNTS)),
    st.tuples(st.just("replace_hash"), st.tuples(NAMES, HASHES, HASHES)),
    st.tuples(st.just("enable"), st.tuples(NAMES, FLAGS)),
    st.tuples(st.just("remove_account"), st.tuples(NAMES)),
    st.tuples(st.just("follow"), st.tuples(NAMES, NAMES)),
    st.tuples(st.just("unfollow"), st.tuples(NAMES, NAMES)),
    st.tuples(st.just("keep_subscription"), st.tuples(NAMES, FILTERS, QOS)),
    st.tuples(st.just("remove_subscription"), st.tuples(NAMES, FILTERS)),
    st.tuples(st.just("connected"), st.tuples(NAMES)),
    st.tuples(st.just("account"), st.tuples(NAMES)),
    st.tuples(st.just("accounts"), st.tuples(NAMES, st.integers(1, 3))),
    st.tuples(st.just("friends"), st.tuples(NAMES)),
    st.tuples(st.just("subscriptions"), st.tuples(NAMES)),
    st.tuples(st.just("keep_token"), st.tuples(TOKENS)),
    st.tuples(st.just("remove_token"), st.tuples(NAMES, SUMS)),
    st.tuples(st.just("token_used"), st.tuples(SUMS, TIMES, FILTERS)),
    st.tuples(st.just("token"), st.tuples(SUMS)),
    st.tuples(st.just("tokens"), st.tuples(NAMES)),
    st.tuples(st.just("token_owners"), st.tuples()),
    st.tuples(st.just("keep_grant"), st.tuples(st.builds(Grant, GRANTEES, FILTERS, PERMISSIONS))),
    st.tuples(st.just("remove_grants"), st.tuples(GRANTEES, st.none() | FILTERS)),
    st.tuples(st.just("remove_account"), st.tuples(GRANTEES)),
    st.tuples(st.just("grants"), st.tuples()),
)


class PeopleContract(SynchronousTestCase):
    """
    :ivar make: a keeper, opened; each over what the others of the same test keep.
    :ivar start_over: makes what is kept be nothing again.
    """

    make: Callable[[], IPeople]
    start_over: Callable[[], None]

    def setUp(self) -> None:
        self.people = self.make()

    def wait(self, result: Deferred[T]) -> T:
        """What something fires with."""
        return self.successResultOf(result)

    def test_interface(self) -> None:
        """It is a keeper."""
        verifyObject(IPeople, self.people)

    # Accounts

    def test_nobody(self) -> None:
        """At first there is nobody, and nothing is known of anybody."""
        self.assertIsNone(self.wait(self.people.account("ada")))
        self.assertEqual(self.wait(self.people.accounts()), [])
        self.assertEqual(self.wait(self.people.friends("ada")), Friends())
        self.assertEqual(self.wait(self.people.subscriptions("ada")), {})
        self.assertIsNone(self.wait(self.people.token("0a" * 32)))
        self.assertEqual(self.wait(self.people.tokens("ada")), [])
        self.assertEqual(self.wait(self.people.grants()), [])
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_account_is_kept(self) -> None:
        """As it was given, and in the place of an older one."""
        for account in (Account("ada", "$7$x", True, 1_700_000_000), Account("ada", "$7$y", False, 7)):
            self.wait(self.people.keep_account(account))
            self.assertEqual(self.wait(self.people.account("ada")), account)
        self.assertEqual(self.wait(self.people.accounts()), [account])

    def test_pages_of_accounts(self) -> None:
        """In the order of code points, whatever order they came in, and as many as were asked for."""
        names = ["Zoe", "ada", "bob", "z", "ä", "\uffff", "😀"]
        for name in reversed(names):
            self.wait(self.people.keep_account(Account(name, f"hash of {name}")))
        first = self.wait(self.people.accounts(limit=3))
        rest = self.wait(self.people.accounts(after=first[-1].username))
        self.assertEqual([account.username for account in first + rest], names)
        self.assertEqual(self.wait(self.people.accounts(after="😀")), [])
        self.assertEqual(self.wait(self.people.accounts(after="b", limit=1))[0].username, "bob")

    def test_hash_is_replaced_once(self) -> None:
        """Of two who replace the same old hash, one does; and a hash that is not there replaces nothing."""
        self.wait(self.people.keep_account(Account("ada", "old", False, 5)))
        self.assertIs(self.wait(self.people.replace_hash("ada", "old", "new")), True)
        self.assertIs(self.wait(self.people.replace_hash("ada", "old", "newer")), False)
        self.assertIs(self.wait(self.people.replace_hash("bob", "old", "new")), False)
        self.assertEqual(self.wait(self.people.account("ada")), Account("ada", "new", False, 5))
        self.assertIsNone(self.wait(self.people.account("bob")))

    def test_enable(self) -> None:
        """Only that changes; nobody comes into being by it."""
        self.wait(self.people.keep_account(Account("ada", "hash", True, 5)))
        self.assertIs(self.wait(self.people.enable("ada", False)), True)
        self.assertEqual(self.wait(self.people.account("ada")), Account("ada", "hash", False, 5))
        self.assertIs(self.wait(self.people.enable("ada", True)), True)
        self.assertEqual(self.wait(self.people.account("ada")), Account("ada", "hash", True, 5))
        self.assertIs(self.wait(self.people.enable("bob", True)), False)
        self.assertIsNone(self.wait(self.people.account("bob")))

    def test_removed_without_a_trace(self) -> None:
        """The next user of that name inherits nothing, and is new to everybody."""
        self.wait(self.people.keep_account(Account("ada", "hash")))
        for one, other in (("ada", "bob"), ("bob", "ada"), ("cleo", "ada"), ("bob", "cleo"), ("ada", "ada")):
            self.wait(self.people.follow(one, other))
        self.wait(self.people.keep_subscription("ada", "news", 1))
        self.wait(self.people.connected("ada"))
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.wait(self.people.keep_grant(Grant("ada", "news", "read-only")))
        self.assertIs(self.wait(self.people.remove_account("ada")), True)
        self.assertIs(self.wait(self.people.remove_account("ada")), False)
        self.check_nobody_is("ada")
        self.assertEqual(self.wait(self.people.friends("bob")), Friends(frozenset({"cleo"})))
        self.assertEqual(self.wait(self.people.friends("cleo")), Friends())

    def check_nobody_is(self, name: str) -> None:
        """
        There is no account, no friends, no list, no token and no grant, and the next connection is the first
        one ever.
        """
        self.assertIsNone(self.wait(self.people.account(name)))
        self.assertNotIn(name, [account.username for account in self.wait(self.people.accounts())])
        self.assertEqual(self.wait(self.people.friends(name)), Friends())
        self.assertEqual(self.wait(self.people.subscriptions(name)), {})
        self.assertEqual(self.wait(self.people.tokens(name)), [])
        self.assertNotIn(name, [grant.username for grant in self.wait(self.people.grants())])
        self.assertIs(self.wait(self.people.connected(name)), True)

    # Friends

    def test_friends_are_directed(self) -> None:
        """Who follows is not followed by that; who follows back is a mutual friend of both."""
        self.assertIs(self.wait(self.people.follow("ada", "bob")), True)
        self.assertIs(self.wait(self.people.follow("ada", "bob")), False)
        self.wait(self.people.follow("ada", "cleo"))
        self.wait(self.people.follow("bob", "ada"))
        both = frozenset({"bob", "cleo"})
        self.assertEqual(self.wait(self.people.friends("ada")), Friends(both, frozenset({"bob"})))
        self.assertEqual(
            self.wait(self.people.friends("bob")), Friends(frozenset({"ada"}), frozenset({"ada"}))
        )
        self.assertEqual(self.wait(self.people.friends("cleo")), Friends())

    def test_unfollow(self) -> None:
        """Ends one direction, and says whether there was one."""
        self.wait(self.people.follow("ada", "bob"))
        self.wait(self.people.follow("bob", "ada"))
        self.assertIs(self.wait(self.people.unfollow("ada", "bob")), True)
        self.assertIs(self.wait(self.people.unfollow("ada", "bob")), False)
        self.assertEqual(self.wait(self.people.friends("ada")), Friends())
        self.assertEqual(self.wait(self.people.friends("bob")), Friends(frozenset({"ada"})))

    # Subscriptions, first connections

    def test_subscriptions(self) -> None:
        """One QoS for each filter, the last one given."""
        for filter, qos in (("a/+", 0), ("#", 2), ("a/+", 1)):
            self.wait(self.people.keep_subscription("ada", filter, qos))
        self.assertEqual(self.wait(self.people.subscriptions("ada")), {"a/+": 1, "#": 2})
        self.assertIs(self.wait(self.people.remove_subscription("ada", "#")), True)
        self.assertIs(self.wait(self.people.remove_subscription("ada", "#")), False)
        self.assertIs(self.wait(self.people.remove_subscription("bob", "a/+")), False)
        self.assertEqual(self.wait(self.people.subscriptions("ada")), {"a/+": 1})

    def test_first_connection(self) -> None:
        """Once for each user, whoever notes it."""
        self.assertIs(self.wait(self.people.connected("ada")), True)
        self.assertIs(self.wait(self.people.connected("ada")), False)
        self.assertIs(self.wait(self.make().connected("ada")), False)
        self.assertIs(self.wait(self.people.connected("")), True)

    # Tokens

    def test_token_is_kept(self) -> None:
        """As it was given, whatever it may and whatever it is called, and in the place of an older one."""
        for token in (
            Token("0a" * 32, "ada"),
            Token("0a" * 32, "ada", "my phone's", ("alerts/#", "ä"), (), 1 / 3, 7, 2**40, 8, "2001:db8::1"),
        ):
            self.wait(self.people.keep_token(token))
            self.assertEqual(self.wait(self.people.token(token.hash)), token)
            self.assertEqual(self.wait(self.people.tokens("ada")), [token])
        self.assertIsNone(self.wait(self.people.token("0b" * 32)))
        self.assertEqual(self.wait(self.people.tokens("bob")), [])

    def test_tokens_by_age(self) -> None:
        """The oldest first, and those of one second always in the same order."""
        hashes = [digit * 64 for digit in "3142"]
        for hash, created_at in zip(hashes, (30, 10, 40, 10), strict=True):
            self.wait(self.people.keep_token(Token(hash, "ada", created_at=created_at)))
        listed = [token.hash[0] for token in self.wait(self.people.tokens("ada"))]
        self.assertEqual(listed, ["1", "2", "3", "4"])

    def test_nobody_revokes_another_users_token(self) -> None:
        """Its owner can, once."""
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.assertIs(self.wait(self.people.remove_token("bob", "0a" * 32)), False)
        self.assertIs(self.wait(self.people.remove_token("ada", "0b" * 32)), False)
        self.assertIsNotNone(self.wait(self.people.token("0a" * 32)))
        self.assertIs(self.wait(self.people.remove_token("ada", "0a" * 32)), True)
        self.assertIs(self.wait(self.people.remove_token("ada", "0a" * 32)), False)
        self.assertIsNone(self.wait(self.people.token("0a" * 32)))
        self.assertEqual(self.wait(self.people.tokens("ada")), [])

    def test_token_goes_to_another(self) -> None:
        """It is in one list only."""
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.wait(self.people.keep_token(Token("0a" * 32, "bob")))
        self.assertEqual(self.wait(self.people.tokens("ada")), [])
        self.assertEqual(self.wait(self.people.tokens("bob")), [Token("0a" * 32, "bob")])

    def test_token_owners(self) -> None:
        """Who has any, by name, as long as there are some."""
        for digit, name in (("1", "bob"), ("2", "ada"), ("3", "bob")):
            self.wait(self.people.keep_token(Token(digit * 64, name)))
        self.assertEqual(self.wait(self.people.token_owners()), ["ada", "bob"])
        self.wait(self.people.remove_token("bob", "1" * 64))
        self.assertEqual(self.wait(self.people.token_owners()), ["ada", "bob"])
        self.wait(self.people.remove_token("bob", "3" * 64))
        self.assertEqual(self.wait(self.people.token_owners()), ["ada"])
        self.wait(self.people.remove_account("ada"))
        self.assertEqual(self.wait(self.people.token_owners()), [])

    def test_token_used(self) -> None:
        """The latest use is kept, in whatever order they are told; nothing of one that is gone."""
        self.wait(self.people.keep_token(Token("0a" * 32, "ada", "phone", created_at=5)))
        self.wait(self.people.token_used("0a" * 32, 20, "192.0.2.1"))
        self.wait(self.people.token_used("0a" * 32, 10, "192.0.2.2"))
        self.wait(self.people.token_used("0b" * 32, 30, "192.0.2.3"))
        expected = Token("0a" * 32, "ada", "phone", created_at=5, used_at=20, used_from="192.0.2.1")
        self.assertEqual(self.wait(self.people.token("0a" * 32)), expected)
        self.assertIsNone(self.wait(self.people.token("0b" * 32)))

    # The access control list

    def test_grants(self) -> None:
        """By user and pattern, each with the permission that was given last."""
        for grant in (
            Grant("ada", "b*", "read-only"),
            Grant("*", "news", "deny-all"),
            Grant("ada", "b*", "read-write"),
            Grant("ada", "a/b", "write-only"),
        ):
            self.wait(self.people.keep_grant(grant))
        expected = [
            Grant("*", "news", "deny-all"),
            Grant("ada", "a/b", "write-only"),
            Grant("ada", "b*", "read-write"),
        ]
        self.assertEqual(self.wait(self.people.grants()), expected)

    def test_grants_are_taken_away(self) -> None:
        """One, or all of a user, and never those of another."""
        for name, pattern in (("ada", "a"), ("ada", "b"), ("ada", ""), ("*", "a")):
            self.wait(self.people.keep_grant(Grant(name, pattern, "read-only")))
        self.assertIs(self.wait(self.people.remove_grants("ada", "")), True)
        self.assertIs(self.wait(self.people.remove_grants("ada", "a")), True)
        self.assertIs(self.wait(self.people.remove_grants("ada", "a")), False)
        self.assertIs(self.wait(self.people.remove_grants("bob")), False)
        self.assertEqual(
            self.wait(self.people.grants()), [Grant("*", "a", "read-only"), Grant("ada", "b", "read-only")]
        )
        self.assertIs(self.wait(self.people.remove_grants("ada")), True)
        self.assertEqual(self.wait(self.people.grants()), [Grant("*", "a", "read-only")])

    def test_who_is_called_everybody(self) -> None:
        """When such an account is removed, what everybody was granted or denied stays."""
        self.wait(self.people.keep_account(Account("*", "hash")))
        self.wait(self.people.keep_grant(Grant("*", "secret", "deny-all")))
        self.wait(self.people.remove_account("*"))
        self.assertEqual(self.wait(self.people.grants()), [Grant("*", "secret", "deny-all")])

    # Changes

    def test_own_changes_are_heard(self) -> None:
        """Whoever changes something hears of it like all others, once."""
        self.wait(self.people.keep_account(Account("ada", "hash")))
        self.wait(self.people.enable("ada", False))
        self.wait(self.people.follow("ada", "bob"))
        self.wait(self.people.follow("bob", "ada"))
        self.wait(self.people.keep_subscription("cleo", "news", 1))
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.wait(self.people.remove_token("ada", "0a" * 32))
        self.wait(self.people.keep_grant(Grant("*", "news", "read-only")))
        self.wait(self.people.remove_grants("*"))
        expected = [
            Change("ada", Aspect.ACCOUNT),
            Change("ada", Aspect.FRIENDS),
            Change("bob", Aspect.FRIENDS),
            Change("cleo", Aspect.SUBSCRIPTIONS),
            Change("ada", Aspect.TOKENS),
            Change("*", Aspect.GRANTS),
        ]
        self.assertEqual(self.wait(self.people.changes()), expected)
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_changes_of_others_are_heard(self) -> None:
        """From the moment on when a keeper was opened, by each for itself."""
        self.wait(self.people.follow("ada", "bob"))
        other = self.make()
        self.assertEqual(self.wait(other.changes()), [])
        self.wait(self.people.unfollow("ada", "bob"))
        expected = [Change("ada", Aspect.FRIENDS), Change("bob", Aspect.FRIENDS)]
        self.assertEqual(self.wait(other.changes()), expected)
        self.assertEqual(self.wait(other.changes()), [])
        self.assertEqual(self.wait(self.people.changes()), expected)

    def test_what_is_no_change(self) -> None:
        """What was so already, another hash of the same password, and that a token was shown."""
        self.wait(self.people.keep_account(Account("ada", "old")))
        self.wait(self.people.follow("ada", "bob"))
        self.wait(self.people.keep_subscription("ada", "news", 1))
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.wait(self.people.keep_grant(Grant("ada", "news", "read-only")))
        self.wait(self.people.changes())
        self.wait(self.people.replace_hash("ada", "old", "new"))
        self.wait(self.people.enable("ada", True))
        self.wait(self.people.follow("ada", "bob"))
        self.wait(self.people.unfollow("bob", "ada"))
        self.wait(self.people.keep_subscription("ada", "news", 1))
        self.wait(self.people.remove_subscription("ada", "olds"))
        self.wait(self.people.token_used("0a" * 32, 1, "192.0.2.1"))
        self.wait(self.people.remove_token("bob", "0a" * 32))
        self.wait(self.people.keep_grant(Grant("ada", "news", "read-only")))
        self.wait(self.people.remove_grants("ada", "olds"))
        self.wait(self.people.remove_account("bobo"))
        self.wait(self.people.connected("ada"))
        self.assertEqual(self.wait(self.people.changes()), [])

    def test_removal_is_a_change_of_everybody_around(self) -> None:
        """All who followed the user, and all whom it followed, have other friends now."""
        self.wait(self.people.keep_account(Account("ada", "hash")))
        for one, other in (("ada", "bob"), ("cleo", "ada"), ("bob", "cleo")):
            self.wait(self.people.follow(one, other))
        self.wait(self.people.keep_subscription("ada", "news", 1))
        self.wait(self.people.keep_token(Token("0a" * 32, "ada")))
        self.wait(self.people.keep_grant(Grant("ada", "news", "read-only")))
        self.wait(self.people.changes())
        self.wait(self.people.remove_account("ada"))
        found = self.wait(self.people.changes())
        expected = {Change(name, Aspect.FRIENDS) for name in ("ada", "bob", "cleo")}
        expected |= {Change("ada", aspect) for aspect in Aspect}
        self.assertEqual(set(found), expected)
        self.assertEqual(len(found), len(expected))

    # Hostile names, and everything else

    def test_names_are_only_names(self) -> None:
        """Whatever a name looks like, it is one user's, and nobody else is touched."""
        for number, name in enumerate(HOSTILE):
            self.wait(self.people.keep_account(Account(name, f"hash {number}")))
            self.wait(self.people.follow(name, "friend of " + name[:60_000]))
            self.wait(self.people.keep_subscription(name, f"filter {number} {name[:60_000]}", 1))
            self.wait(self.people.keep_token(Token(f"{number:064x}", name, label=name)))
            self.wait(self.people.keep_grant(Grant(name, name, "read-only")))
        for number, name in enumerate(HOSTILE):
            self.assertEqual(self.wait(self.people.account(name)), Account(name, f"hash {number}"))
            followed = frozenset({"friend of " + name[:60_000]})
            self.assertEqual(self.wait(self.people.friends(name)), Friends(followed))
            list_of_one = {f"filter {number} {name[:60_000]}": 1}
            self.assertEqual(self.wait(self.people.subscriptions(name)), list_of_one)
            token = Token(f"{number:064x}", name, label=name)
            self.assertEqual(self.wait(self.people.tokens(name)), [token])
        granted = [Grant(name, name, "read-only") for name in sorted(HOSTILE)]
        self.assertEqual(self.wait(self.people.grants()), granted)
        listed = [account.username for account in self.wait(self.people.accounts())]
        self.assertEqual(listed, sorted(HOSTILE))
        changed = {change.username for change in self.wait(self.people.changes())}
        self.assertEqual(changed, {*HOSTILE, *("friend of " + name[:60_000] for name in HOSTILE)})

    @given(calls=st.lists(CALLS, max_size=25))
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    def test_same_as_memory(self, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Whatever is asked in whatever order, the answers are those of the reference."""
        self.start_over()
        people, memory = self.make(), MemoryPeople()
        for name, arguments in calls:
            expected = self.successResultOf(getattr(memory, name)(*arguments))
            self.assertEqual(self.wait(getattr(people, name)(*arguments)), expected, (name, arguments))
        changes = self.wait(people.changes())
        expected = self.successResultOf(memory.changes())
        self.assertEqual(set(changes), set(expected))
        self.assertEqual(len(changes), len(set(changes)))
