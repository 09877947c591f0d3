"""``docs/examples/stamp.py``, as ``docs/plugins.md`` shows how to test it."""

from twisted.trial.unittest import SynchronousTestCase

from pushd.plugins import ReasonCode
from pushd.plugins.loading import PluginError
from pushd.testing import MemoryBroker, use

STAMP = "docs/examples/stamp.py"


class StampTests(SynchronousTestCase):
    def test_messages_get_a_time(self) -> None:
        """A subscriber of version 5 sees when the broker got a message."""
        with MemoryBroker(use(STAMP)) as broker:
            ada, bob = broker.connect("ada"), broker.connect("bob")
            bob.subscribe("news")
            broker.advance(60)
            ada.publish("news", b"hello", user_properties=(("from", "ada"),))
            (message,) = bob.messages()
        stamp = ("received-at", "1970-01-01T00:01:00+00:00")
        assert message.user_properties == (("from", "ada"), stamp)

    def test_topics_get_their_new_names(self) -> None:
        """Who still publishes to an old topic reaches the subscribers of the new one."""
        with MemoryBroker(use(STAMP, rename=["home/=building/1/", "test/=sandbox/"])) as broker:
            ada, bob = broker.connect("ada", version=4), broker.connect("bob")
            bob.subscribe("#", qos=1)
            ada.publish("home/door", b"open", qos=1)
            ada.publish("homely", b"yes")
            assert [message.topic for message in bob.messages()] == ["building/1/door", "homely"]

    def test_long_messages_are_refused(self) -> None:
        """Their publisher learns why."""
        with MemoryBroker(use(STAMP, max_payload=3)) as broker:
            ada = broker.connect("ada")
            assert ada.publish("news", b"12345", qos=1) is ReasonCode.QUOTA_EXCEEDED
            assert ada.publish("news", b"123", qos=1) is ReasonCode.NO_MATCHING_SUBSCRIBERS

    def test_bad_options_are_refused_at_the_start(self) -> None:
        """The text names the option."""
        error = self.assertRaises(PluginError, use, STAMP, rename=["a"])
        assert "plugin_opt_rename: 'a' is not OLD=NEW" in str(error)
