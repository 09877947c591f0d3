"""The topics under $SYS: pushd has all that Mosquitto has, and after the same scene they say the same."""

from __future__ import annotations

import re

from tests.deployments.deployment import DeploymentCase, Difference, Stage
from tests.deployments.visitor import V5, Visitor

PREFIX = "$SYS/broker/"

# What the same clients must lead to. What is sent depends on when the figures themselves were; and in
# publish/messages/received, 2.0.11 forgets retained messages and those of QoS 2.
SAME = (
    *("clients/total", "clients/connected", "clients/active", "clients/disconnected", "clients/inactive"),
    *("clients/expired", "clients/maximum", "subscriptions/count", "shared_subscriptions/count"),
    *("messages/received", "bytes/received", "publish/bytes/received", "publish/messages/dropped"),
)

NEW_IN_2_1 = ("packet/out/count", "packet/out/bytes", "connections/socket/count")


class SysTests(DeploymentCase):
    """Dashboards and exporters read these."""

    def test_names_and_forms(self) -> None:
        """Every topic of 2.0's is there with a value of the same form, and those of 2.1."""
        forms: dict[bool, dict[str, str]] = {}

        def scene(stage: Stage) -> None:
            watcher = stage.guest("watcher")
            watcher.subscribe("$SYS/#")
            forms[stage.is_pushd] = {topic: _form(value) for topic, value in _figures(watcher).items()}

        self.play("home_server", scene)
        mosquitto, pushd = forms[False], forms[True]
        self.assertGreater(len(mosquitto), 50)
        self.assertEqual(mosquitto, {topic: pushd.get(topic) for topic in mosquitto})
        self.assertEqual(
            dict.fromkeys(NEW_IN_2_1, "0"), {name: pushd.get(PREFIX + name) for name in NEW_IN_2_1}
        )

    def test_values(self) -> None:
        """Clients, subscriptions, messages and bytes are counted alike."""

        def scene(stage: Stage) -> None:
            away = stage.guest("away", clean_session=False)
            away.subscribe("a/+", "$share/group/b", qos=1)
            away.leave()
            reader = stage.guest("reader", V5)
            reader.subscribe("a/#", "b", qos=2)
            for qos in range(3):
                reader.publish("a/1", f"payload {qos}", qos)
                reader.until(f"payload {qos}")
            watcher = stage.guest("watcher")
            watcher.subscribe(f"{PREFIX}uptime")
            watcher.until_news(f"{PREFIX}uptime")
            watcher.subscribe(*(PREFIX + name for name in SAME))
            figures = {one.topic: one.payload for one in watcher.got() if one.retained}
            for name in SAME:
                stage.note(name, figures[PREFIX + name])

        because = "sessions kept count in 2.0; the manual says clients connected at the same time"
        self.play("home_server", scene, [Difference("clients/maximum", "3", "2", because)])

    def test_log(self) -> None:
        """``log_dest topic``: subscriptions are told of where Mosquitto tells of them."""

        def scene(stage: Stage) -> None:
            watcher = stage.guest("watcher")
            watcher.subscribe(f"{PREFIX}log/#")
            other = stage.guest("other")
            other.subscribe("a/b", qos=1)
            other.client.unsubscribe("a/b")
            told = watcher.until_news(f"{PREFIX}log/M/unsubscribe")
            lines = [one._replace(payload=one.payload.split(": ", 1)[1]) for one in told]
            stage.note("log", [line for line in lines if line.payload.startswith("other ")])

        self.play("fleet", scene)

    def test_access(self) -> None:
        """With an ACL, only who may read $SYS gets it."""

        def scene(stage: Stage) -> None:
            for user in ("ada", "bob"):
                visitor = stage.guest(user, user=user)
                visitor.subscribe("$SYS/broker/version", qos=1)
                stage.note(user, [one.topic for one in visitor.got()])
                told = visitor.publish("$SYS/broker/version", "mine")
                stage.note(f"{user} writes", told)

        self.play("home_assistant", scene)

    def test_none(self) -> None:
        """``sys_interval 0``: there are no figures."""

        def scene(stage: Stage) -> None:
            watcher = stage.guest("watcher")
            watcher.subscribe("$SYS/#")
            stage.note("figures", [one.topic for one in watcher.got()])

        self.play("no_figures", scene)


def _figures(watcher: Visitor) -> dict[str, str]:
    """All that is told until the next update is over."""
    told = watcher.until_news(f"{PREFIX}uptime") + watcher.got()
    return {one.topic: one.payload for one in told}


def _form(value: str) -> str:
    """``5.53`` -> ``0.0``; ``mosquitto version 2.0.11`` -> ``NAME version 0``"""
    known = re.sub(r"^(mosquitto|pushd) version .*", "NAME version 0", value)
    return re.sub(r"\d+", "0", known)
