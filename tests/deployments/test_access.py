"""Who is let in, and what they may do there."""

from __future__ import annotations

from tests.deployments.deployment import DeploymentCase, Difference, Stage
from tests.deployments.visitor import V5, V31, V311, Got, Visitor

VERSIONS = (V31, V311, V5)


class AccessTests(DeploymentCase):
    """Passwords, ACLs, certificates, and doors that differ."""

    def test_debian(self) -> None:
        """The package's files: users of the password file come in, and find everything after a restart."""

        def scene(stage: Stage) -> None:
            for user in (None, "ada", "ada:wrong", "eve:secret", ":secret"):
                told = [stage.try_door("c", version, user=user) for version in VERSIONS]
                stage.note(f"user {user}", told)
            first, phone = (stage.guest("phone", user="ada", clean_session=False) for _ in range(2))
            stage.note("taken over", first.end())
            phone.subscribe("news/#", qos=1)
            phone.leave()
            writer = stage.guest("writer", user="bob")
            stage.note("retained", writer.publish("news/1", "kept", qos=2, retain=True))
            writer.leave()
            stage.start_again()
            phone = stage.guest("phone", user="ada", clean_session=False)
            stage.note("kept session", (phone.session_present, phone.got()))
            phone.subscribe("news/+", qos=1)
            stage.note("kept message", phone.got())
            stage.note("log", (stage.directory / "mosquitto.log").stat().st_size > 0)

        self.play("debian", scene)

    def test_home_assistant(self) -> None:
        """Three doors, one password file, and an ACL with users, denials and patterns."""
        topics = (
            *("garden/1/set", "garden/secret/1", "garden", "house/1", "$SYS/broker/version", "$other/1"),
            *("homes/bob/1", "homes/ada/1", "homes/bob", "clients/b/in", "clients/a/in"),
        )

        def scene(stage: Stage) -> None:
            ada = stage.guest("a", user="ada")
            bob = stage.guest("b", V5, user="bob", port="tls", tls="")
            visitors = {"ada": ada, "bob": bob}
            for name, visitor in visitors.items():
                told = visitor.subscribe("#", "garden/#", "homes/bob/#", "$other/#", qos=1)
                stage.note(f"{name} subscribes", told)
            for name, visitor in visitors.items():
                for topic in topics:
                    stage.note(f"{name} publishes {topic}", visitor.publish(topic, name))
            for name, visitor in visitors.items():
                stage.note(f"{name} gets", sorted(set(visitor.got())))
            stage.note("no password", stage.try_door(port="web", transport="websockets"))
            stage.note("websocket", stage.try_door("w", user="bob", port="web", transport="websockets"))

        self.play("home_assistant", scene)

    def test_certificates(self) -> None:
        """The user name is that of the certificate; revoked, expired, foreign or none end there."""

        def scene(stage: Stage) -> None:
            for port in ("common_name", "subject"):
                for name in ("certs/phone", "certs/stolen", "certs/late", "strangers/phone", ""):
                    told = stage.try_door(tls=name, port=port)
                    stage.note(f"{name} at {port}", told == "Success")
            ada = stage.guest("ada", user="ada", port="plain")
            ada.subscribe("#", qos=1)
            phone = stage.guest("p", user="ada", tls="certs/phone", port="common_name")
            phone.subscribe("devices/#")
            for topic in ("devices/phone/up", "devices/tablet/up", "devices/phone/down", "subjects/1"):
                stage.note(f"phone to {topic}", phone.publish(topic, "1"))
            ada.publish("devices/phone/down", "2")
            stage.note("phone gets", phone.got())
            by_subject = stage.guest("s", tls="certs/phone", port="subject")
            by_subject.subscribe("#")
            by_subject.publish("subjects/1", "3")
            stage.note("by subject", by_subject.got())
            stage.note("ada gets", ada.got())
            stage.note("no password", stage.try_door(port="plain"))

        self.play("certificates", scene)

    def test_two_sides(self) -> None:
        """Under per_listener_settings each door goes by its own rules, and messages pass between them."""

        def scene(stage: Stage) -> None:
            for version in VERSIONS:
                for port in ("inside", "outside"):
                    for user in (None, "ada", "ada:wrong", "eve:1"):
                        told = stage.try_door("c", version, user=user, port=port)
                        stage.note(f"{version.name} {user} at {port}", told)
                    told = stage.try_door("", version, user="ada", port=port)
                    stage.note(f"{version.name} without a client id at {port}", told)
            inside = stage.guest("i", port="inside")
            ada = stage.guest("o", user="ada", port="outside")
            for each in (inside, ada):
                each.subscribe("#", qos=1)
            for topic in ("alerts/1", "never", "reports/ada", "reports/ada/1", "reports/bob/1", "other"):
                stage.note(f"inside to {topic}", inside.publish(topic, "i"))
                stage.note(f"ada to {topic}", ada.publish(topic, "o"))
            stage.note("inside gets", inside.got())
            stage.note("ada gets", ada.got())
            unnamed = stage.guest("", V5, port="inside")
            stage.note("made-up id", unnamed.told["AssignedClientIdentifier"][:7])

        because = "the version 5 code for it, where 2.0 gives none"
        told = ("Unspecified error", "Client identifier not valid")
        difference = Difference("MQTTv5 without a client id at outside", *told, because)
        self.play("two_sides", scene, [difference])

    def test_tenants(self) -> None:
        """Behind a mount point topics begin anew: Wills, retained messages and access rules included."""

        def scene(stage: Stage) -> None:
            landlord = stage.guest("landlord", user="ada", port="all")
            landlord.subscribe("#", qos=1)
            north, south = (stage.guest(port, user="ada", port=port) for port in ("north", "south"))
            bob = stage.guest("bob", user="bob", port="south")
            for each in (north, south, bob):
                each.subscribe("#", "+/x", qos=1)
            for each in (north, south, bob):
                each.publish("news", each.client.username or "", retain=True)
                each.publish("shared/1", each.client.username or "")
            late = stage.guest("late", user="ada", port="south")
            late.subscribe("news")
            stage.note("retained in the south", _mounted(stage, late, "south"))
            stage.note("too many", stage.try_door("fourth", user="ada", port="south"))
            last = stage.visitor("last", user="ada")
            last.client.will_set("gone", "in the north", 1)
            last.come(stage.port("north"))
            last.die()
            stage.note("landlord gets", sorted(landlord.until("in the north")))
            for name, each in (("north", north), ("south", south), ("bob", bob)):
                stage.note(f"{name} gets", _mounted(stage, each, "north" if name == "north" else "south"))
            stage.note("without a name", stage.try_door(port="north"))

        self.play("tenants", scene)

    def test_one_per_user(self) -> None:
        """The user name is the client id: two connections of one user take over from each other."""

        def scene(stage: Stage) -> None:
            first = stage.guest("x", user="ada", clean_session=False)
            first.subscribe("inbox/#", qos=1)
            second = stage.guest("y", user="ada", clean_session=False)
            stage.note("the first", first.end())
            stage.note("the second", second.session_present)
            bob = stage.guest("z", user="bob")
            bob.subscribe("inbox/#")
            for topic in ("inbox/ada", "inbox/bob/1", "inbox/z"):
                second.publish(topic, "from ada")
                bob.publish(topic, "from bob")
            stage.note("ada gets", second.got())
            stage.note("bob gets", bob.got())
            told = [stage.try_door("c", version) for version in VERSIONS]
            stage.note("without a name", told)

        self.play("one_per_user", scene)

    def test_plugins(self) -> None:
        """A plugin says who comes in and what they may do; a Python class says the same as the C library."""

        def scene(stage: Stage) -> None:
            for port in ("mqtt", "staff"):
                for user in (None, "ada", "ada:wrong", "ada:", "eve:secret"):
                    told = [stage.try_door("c", version, user=user, port=port) for version in VERSIONS]
                    stage.note(f"user {user} at {port}", told)
            ada = stage.guest("ada", user="ada", port="staff")
            bob = stage.guest("bob", V5, user="bob")
            for name, visitor in (("ada", ada), ("bob", bob)):
                stage.note(f"{name} subscribes", visitor.subscribe("#", qos=1))
            for topic in ("devices/1", "staff/1", "other", "$SYS/x"):
                stage.note(f"ada to {topic}", ada.publish(topic, "ada"))
                stage.note(f"bob to {topic}", bob.publish(topic, "bob"))
            stage.note("ada gets", ada.got())
            stage.note("bob gets", bob.got())

        self.play("plugins", scene)


def _mounted(stage: Stage, visitor: Visitor, tenant: str) -> list[Got]:
    """What somebody behind a mount point got. 2.0.11 forgets to take it away again (2.0.12 does not)."""
    if stage.is_pushd:
        return sorted(visitor.got())
    return sorted(one._replace(topic=one.topic.removeprefix(f"{tenant}/")) for one in visitor.got())
