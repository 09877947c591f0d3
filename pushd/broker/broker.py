"""
The broker: one façade over sessions, subscriptions, retained messages and the journal.

Transports bring it clients (`connect`), the gateway publishes through it (`publish`), `pushd.service`
gives it a store, a clock and what to do on a reload.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pushd.broker import records
from pushd.broker.admission import Admission
from pushd.broker.archive import Archive
from pushd.broker.census import Census, Gauges, Waiting
from pushd.broker.client import Client
from pushd.broker.counters import Counters
from pushd.broker.durable import WhenDurable
from pushd.broker.forwarding import Delivery, deliveries
from pushd.broker.hooks import Decision
from pushd.broker.interfaces import (
    Access,
    Credentials,
    IConnection,
    IRoutingRules,
    ISessionCompanion,
    IStore,
    ISubscriber,
    Principal,
    Verdict,
)
from pushd.broker.later import deferred, then
from pushd.broker.limits import Limits
from pushd.broker.message import Message, Source, source_of
from pushd.broker.notes import Notes
from pushd.broker.policy import Policy
from pushd.broker.pressure import Pressure
from pushd.broker.publication import Publication
from pushd.broker.receipts import Receipts
from pushd.broker.replay import Replays
from pushd.broker.retained import RetainedMessages
from pushd.broker.router import Router
from pushd.broker.schedule import Schedule
from pushd.broker.session import Origin, Session, Subscription
from pushd.broker.shared import SharedGroup
from pushd.broker.store_watch import StoreWatch
from pushd.broker.tap import Tap
from pushd.broker.targets import SessionsByUser
from pushd.broker.turn import Turn
from pushd.broker.wheel import TimingWheel
from pushd.broker.will import Wills
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import Connect, SubscriptionRequest
from pushd.mqtt.topics import is_valid_name, split_shared


class Broker:
    """
    :ivar sessions: all of them, by client id.
    :ivar by_user: the same, by their users' names.
    :ivar taps: of those who listen without being MQTT clients; `pushd.broker.tap.listen` makes them.
    :ivar online: how many of them have a client.
    :ivar memory_is_scarce: nobody new is let in, and nothing new retained.
    :ivar policies: those of the listeners, by name.
    :ivar routing: the rules by which messages go elsewhere, too, or instead; see `use_routing`.
    :ivar companion: has at hand what access rules ask about users, if they ask.
    :ivar subscriber: who makes subscriptions that no client asks for; ``None`` for nobody.
    :ivar wills: what is published for clients that are gone without a farewell.
    :ivar scheduled: the messages that are to be published later.
    :ivar receipts: what becomes of pushes.
    :ivar soon: calls something when others have been served.
    :ivar archive: what was said on topics lately, for those who were not there.
    :ivar notes: small facts that must survive.
    :ivar when_durable: calls something when all that was recorded before is durable.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        limits: Limits | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """
        :param clock: the reactor.
        :param seconds: what keep-alives and expiries are measured with; the clock's if it is not given. A
            reactor's are those of the wall clock, which is set now and then.
        """
        self.limits = limits or Limits()
        self.counters = Counters()
        self.store = store
        # Any reactor can do it with a timer; ours (`pushd.service.reactor`) does it for less.
        at_turn_end = getattr(clock, "call_at_turn_end", None) or partial(clock.callLater, 0)
        self.turn = Turn(at_turn_end, store, self.counters)
        self.when_durable = WhenDurable(store, at_turn_end)
        self.wheel = TimingWheel(clock, seconds or clock.seconds)
        self.pressure = Pressure(self.wheel, self.turn)
        self.routing: IRoutingRules | None = None
        self.router = Router(self)
        self.retained = RetainedMessages(store, self.wheel, lambda: self.limits)
        self.replays = Replays(self)
        self.receipts = Receipts(self, clock.seconds)
        self.archive = Archive(
            store, self.wheel, self.counters, lambda: self.limits, clock.seconds, self.router.forget_routes
        )
        self.notes = Notes(store, self.wheel, clock.seconds)
        self.soon = partial(clock.callLater, 0)
        self.scheduled = Schedule(
            self.wheel,
            store,
            self.counters,
            self._publish_scheduled,
            self.soon,
            prepare=self._prepare_scheduled,
        )
        self._groups: dict[str, SharedGroup] = {}  # by ``$share/NAME/FILTER``
        self.sessions: dict[str, Session] = {}
        self.wills = Wills(self)
        self.by_user = SessionsByUser()
        self.taps: set[Tap] = set()
        self.online = 0
        self.memory_is_scarce = False
        self.policies: dict[str, Policy] = {}
        self.companion: ISessionCompanion | None = None
        self.subscriber: ISubscriber | None = None
        self._default_policy: Policy | None = None
        self._store_watch = StoreWatch(self)

    # Coming and going

    def connect(
        self, packet: Connect, credentials: Credentials, policy: Policy, connection: IConnection
    ) -> Deferred[None] | None:
        """Decide about a CONNECT; see `pushd.broker.admission.Admission.begin`."""
        return Admission(self, packet, credentials, policy, connection).begin()

    def open_session(
        self, client_id: str, username: str | None, policy: Policy, *, clean: bool, expiry_s: float | None
    ) -> tuple[Session, bool]:
        """
        :param clean: end the client's kept session first, if there is one.
        A kept session must be awake, unless it is to end.

        :return: ``(session, session_present)``: the kept session, or a new one (v3 [MQTT-3.1.2-4]).
        """
        self.free(client_id)
        session = self.sessions.get(client_id)
        if session is not None and clean:
            self.end_session(session)
            session = None
        present = session is not None
        if session is not None and self.subscriber is not None:
            self.subscriber.forget(session)  # perhaps it is another user's from now on
        if session is None:
            session = self.sessions[client_id] = Session(self, policy, client_id, username)
        session.policy = policy
        self.by_user.put(session, username)
        self.change_expiry(session, expiry_s)
        if session.will is not None:
            session.will = None  # v5 [MQTT-3.1.3-9]
            self.wills.forget(client_id)
        if self.companion is not None:
            self.companion.opened(session)
        return session, present

    def change_expiry(self, session: Session, expiry_s: float | None) -> None:
        """How long a session is kept without a client: said at CONNECT, in version 5 also at the end."""
        kept_before = session.persistent
        session.expiry_s = self.limits.session_expiry(expiry_s)
        if session.persistent:
            self.store.record(
                records.SessionOpened(
                    session.client_id, session.username, session.expiry_s, session.policy.name
                )
            )
        elif kept_before:
            self.store.record(records.SessionEnded(session.client_id))

    def free(self, client_id: str) -> None:
        """The same client id again: the older connection goes (v3 [MQTT-3.1.4-2], v5 [MQTT-3.1.4-3])."""
        session = self.sessions.get(client_id)
        if session is not None and session.client is not None:
            client = session.client
            client.connection.close(ReasonCode.SESSION_TAKEN_OVER)
            self.client_lost(client)

    def client_came(self, client: Client) -> None:
        """A CONNECT was accepted."""
        client.session.client = client
        self.online += 1
        self.counters.clients_maximum = max(self.counters.clients_maximum, self.online)
        self.counters.connects_accepted += 1
        self.replays.go_on(client.session)

    def client_lost(self, client: Client) -> None:
        """A connection is gone, or about to be: its session is kept or ends, its Will is sent or waits."""
        session = client.session
        if session.client is not client:
            return  # taken over before
        session.client = None
        session.offline_since = self.wheel.seconds()
        session.will = client.will
        if session.holds_back is not None:
            session.holds_back.drained(0)
        self.online -= 1
        if client.policy.hooks.disconnect is not None:
            client.policy.hooks.disconnect(client)
        if session.persistent:
            self.store.record(records.SessionLeft(session.client_id, session.offline_since))
            self.router.presence_changed(session)
            self.wheel.add(session)
            if session.will is not None:
                self.wills.begin(session.will)
            self._hand_on(session.give_back_shared(lambda group: group.has_other_online(session)))
            session.fall_asleep()
        else:
            self.end_session(session)

    def end_session(self, session: Session) -> None:
        """Forget a session that has no client."""
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            self.by_user.remove(session)
        self.router.forget_for_many(session)
        for filter in list(session.subscriptions):
            self._remove_subscription(session, filter)
        if self.subscriber is not None:
            self.subscriber.forget(session)
        self.replays.end(session)
        if self.companion is not None:
            self.companion.ended(session)
        self._hand_on(session.give_back_shared(lambda group: True))
        self.receipts.ended(session)
        if session.persistent:
            self.store.record(records.SessionEnded(session.client_id))
        session.expiry_s = 0.0
        self.wills.send(session)

    @staticmethod
    def _hand_on(messages: list[Message]) -> None:
        """What a group's member leaves behind goes to another (v5 §4.8.2)."""
        for message in messages:
            if message.shared is not None:
                message.shared[0].take_back(message)

    # Messages

    def publish_message(self, message: Message, sender: Principal | None = None) -> ReasonCode:
        """
        Pass on a message that was allowed: retain it if it says so, and give it to its subscribers; the same
        with what routing rules make of it. Whoever sent it needs no leave for that: the rules are the
        operator's, who has given it.

        :param sender: ``None`` for a message that is nobody's.
        :return: ``SUCCESS`` or ``NO_MATCHING_SUBSCRIBERS``.
        """
        route = self.router.route(message.topic)
        if route.ruled:
            return self._publish_by_rules(message, sender)
        if message.push is not None:
            self.archive.keep(message)
            self.scheduled.collapse(message)
        self._retain(message)
        route.publish(message, sender)
        return ReasonCode.SUCCESS if route.targets else ReasonCode.NO_MATCHING_SUBSCRIBERS

    def _publish_by_rules(self, message: Message, sender: Principal | None) -> ReasonCode:
        parts = self._deliveries(message, sender)
        for each, targets in parts:
            self.archive.keep(each)
            self._retain(each)
            self.router.route(each.topic).publish_in_part(targets, each, sender)
        if parts:
            reached = any(targets for _, targets in parts)
            return ReasonCode.SUCCESS if reached else ReasonCode.NO_MATCHING_SUBSCRIBERS
        self.counters.dropped("route")
        return ReasonCode.SUCCESS

    def _deliveries(self, message: Message, sender: Principal | None) -> list[Delivery]:
        """What comes of a message, and who gets it."""
        route = self.router.route(message.topic)
        if self.routing is None or not route.ruled:
            return [Delivery(message, route.targets)]
        return deliveries(self.router, self.routing, message, sender)

    def _retain(self, message: Message) -> None:
        if not message.retain:
            return
        if (message.payload and self.memory_is_scarce) or not self.retained.retain(message):
            self.counters.dropped("retained_full")

    def use_routing(self, rules: IRoutingRules | None) -> None:
        """From the next message on, go by these routing rules, or by none."""
        self.routing = rules
        self.router.forget_routes()

    def publish(self, policy: Policy, principal: Principal, publication: Publication) -> Deferred[ReasonCode]:
        """
        Publish for somebody who is no MQTT client.

        :return: fires when all that must survive of it is durable, with ``SUCCESS`` or
            ``NO_MATCHING_SUBSCRIBERS``, or with the reason why it was refused: ``TOPIC_NAME_INVALID``,
            ``NOT_AUTHORIZED``, ``PACKET_TOO_LARGE``, ``RETAIN_NOT_SUPPORTED``, ``QUOTA_EXCEEDED``: what would
            have to be stored cannot be at the moment.
        """
        message = self._make_message(policy, principal, publication, self.wheel.seconds())
        # Each of these knows at once as a rule, and a push has no Deferred for it then.
        judged = self._judge(policy, principal, message)
        informed = then(judged, self.inform_rules, principal)
        code = then(informed, self.publish_durably, principal, publication.taken)
        return deferred(code)

    def schedule(
        self,
        policy: Policy,
        principal: Principal,
        publication: Publication,
        id: str,
        delay_s: float,
    ) -> Deferred[ReasonCode]:
        """
        The same later; see `pushd.broker.schedule` for what that means.

        :param id: nobody else's; ``scheduled.cancel`` knows the message by it.
        :param delay_s: counts from now, not from when the message is accepted.
        :return: fires when it is certain that the message will be published, with ``SUCCESS``, or with the
            reason why it was refused: those of `publish`, and ``QUOTA_EXCEEDED`` if too many wait.
        """
        due_at = self.wheel.seconds() + delay_s
        message = self._make_message(policy, principal, publication, due_at)
        sender = source_of(principal.client_id, principal.username, policy.name)
        judged = self.judge(policy, principal, message)
        return judged.addCallback(self._schedule_durably, id, due_at, sender, publication.taken)

    def _schedule_durably(
        self,
        message: Decision,
        id: str,
        due_at: float,
        sender: Source,
        taken: Callable[[], object] | None,
    ) -> ReasonCode | Deferred[ReasonCode]:
        if not isinstance(message, Message):
            return message
        if not message.retain:  # of one that is, `source` says who may lose the right to it: perhaps nobody
            message.source = sender  # whom routing rules will ask for when it is due
        if self.store.failing is not None or not self.scheduled.add(id, due_at, message):
            return ReasonCode.QUOTA_EXCEEDED
        self.counters.publish_received += 1
        self.counters.publish_bytes_received += len(message.payload)
        if taken is not None:
            taken()
        return self.store.barrier().addCallback(lambda _: ReasonCode.SUCCESS)

    def _prepare_scheduled(self, message: Message) -> Deferred[None] | None:
        """As `inform_rules`: whoever handed it in may be gone long since."""
        preparing = None if message.source is None else self._prepare_sender(message, message.source)
        return None if preparing is None else preparing.addErrback(lambda _: None)

    def _publish_scheduled(self, message: Message) -> None:
        self.publish_message(message, message.source)

    @staticmethod
    def _make_message(policy: Policy, principal: Principal, publication: Publication, at: float) -> Message:
        message = publication.message(policy.mount_point, at)
        if message.retain:
            message.source = source_of(principal.client_id, principal.username, policy.name)
        return message

    def judge(self, policy: Policy, principal: Principal, message: Message) -> Deferred[Decision]:
        """What becomes of a message of somebody who is no MQTT client, as far as it does not matter when."""
        return deferred(self._judge(policy, principal, message))

    def _judge(self, policy: Policy, principal: Principal, message: Message) -> Decision | Deferred[Decision]:
        if not is_valid_name(message.topic):
            return ReasonCode.TOPIC_NAME_INVALID
        if 0 < self.limits.message_size_limit < len(message.payload):
            return ReasonCode.PACKET_TOO_LARGE
        if message.retain and not self.limits.retain_available:
            return ReasonCode.RETAIN_NOT_SUPPORTED
        verdict = self.may_write(policy, principal, message.topic)
        return then(verdict, self.decide, policy, principal, message)

    @staticmethod
    def decide(
        verdict: Verdict, policy: Policy, principal: Principal, message: Message
    ) -> Decision | Deferred[Decision]:
        """Ask the hooks about a message that is allowed."""
        if verdict is not ReasonCode.SUCCESS:
            return verdict or ReasonCode.NOT_AUTHORIZED
        hook = policy.hooks.publish
        return message if hook is None else hook(principal, message)

    def inform_rules(self, decision: Decision, sender: Principal) -> Decision | Deferred[Decision]:
        """
        Have at hand what routing rules ask about a sender who may have no session any more. Where that cannot
        be had, they go by what there is: nobody's message is lost for it.
        """
        if not isinstance(decision, Message):
            return decision
        preparing = self._prepare_sender(decision, sender)
        return decision if preparing is None else preparing.addBoth(lambda _: decision)

    def _prepare_sender(self, message: Message, sender: Principal) -> Deferred[None] | None:
        """:return: ``None`` if routing rules may be asked about a message now, else as `prepare_sender`."""
        if self.companion is None or not self.router.route(message.topic).ruled:
            return None
        return self.companion.prepare_sender(sender.username)

    def publish_durably(
        self,
        message: Decision,
        sender: Principal | None = None,
        taken: Callable[[], object] | None = None,
    ) -> ReasonCode | Deferred[ReasonCode]:
        """
        Pass on what became of a message of somebody who is no MQTT client.

        :param sender: ``None`` for a plugin.
        :param taken: see `Publication`.
        :return: when it is durable, ``SUCCESS``, ``NO_MATCHING_SUBSCRIBERS`` or ``QUOTA_EXCEEDED``; at once,
            the code that there is in place of a message.
        """
        if not isinstance(message, Message):
            return message
        matters = message.qos > 0 or message.retain
        if matters and not (self.has_place(message, sender) and self.can_retain(message, sender)):
            return ReasonCode.QUOTA_EXCEEDED
        if message.push is not None and message.push.keep_s:
            matters = True
            if self.store.failing is not None:
                return ReasonCode.QUOTA_EXCEEDED
        self.counters.publish_received += 1
        self.counters.publish_bytes_received += len(message.payload)
        code = self.publish_message(message, sender)
        if taken is not None:
            matters = True
            taken()
        if not (matters and self.store.pending):
            return code
        return self.store.barrier().addCallback(lambda _: code)

    def has_place(self, message: Message, sender: Principal | None) -> bool:
        """
        Whether a message of QoS 1 or 2 can be taken: it could be stored, and, by ``queue_full
        refuse_publisher``, no queue that it goes to is full, by whatever routing rule.
        """
        if self.store.failing is not None:
            return False
        if self.limits.queue_full != "refuse_publisher":
            return True
        targets = (target for part in self._deliveries(message, sender) for target in part.targets)
        return all(target.session.has_place(len(message.payload)) for target in targets if target.qos)

    def can_retain(self, message: Message, sender: Principal | None) -> bool:
        """Whether there is room for it among the retained messages, if it wants any, and for each copy."""
        if not (message.retain and message.payload):
            return True
        if self.memory_is_scarce:
            return False
        return all(self.retained.has_room_for(part.message) for part in self._deliveries(message, sender))

    def announce(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        """
        Publish something of the broker's own, below ``$SYS``. Asks nobody; such messages are retained
        without being recorded, for the next process makes its own.
        """
        message = Message(topic, payload, 2, retain)
        if retain:
            self.retained.keep(message)
        self.router.route(topic).publish(message)

    # Subscriptions

    def subscribe(
        self, session: Session, request: SubscriptionRequest, identifier: int = 0, *, automatic: bool = False
    ) -> Subscription:
        """
        Subscribe a session, in place of its subscription to the same filter (v3 [MQTT-3.8.4-3]).

        :param automatic: the server wants it, and not the client.
        """
        origin = Origin.SERVER if automatic else session.claim(request.filter)
        subscription = self._add_subscription(session, request, identifier, origin)
        if session.persistent:
            self.store.record(records.SubscriptionAdded(session.client_id, request, identifier, automatic))
        return subscription

    def _add_subscription(
        self, session: Session, request: SubscriptionRequest, identifier: int, origin: Origin
    ) -> Subscription:
        group_name, filter = split_shared(request.filter)
        subscription = Subscription(session, filter, request, identifier)
        subscription.origin = origin
        session.subscriptions[request.filter] = subscription
        if group_name is None:
            self.router.subscribe(subscription)
        else:
            self._group(request.filter, filter).join(session, subscription)
        return subscription

    def _group(self, name: str, filter: str) -> SharedGroup:
        group = self._groups.get(name)
        if group is None:
            # The group takes all that there is; what a member gets of it is up to its own subscription.
            every = SubscriptionRequest(filter, QoS.EXACTLY_ONCE, retain_as_published=True)
            group = self._groups[name] = SharedGroup(self, name)
            group.subscription = Subscription(group, filter, every)
            self.router.subscribe(group.subscription)
        return group

    def unsubscribe(self, session: Session, filter: str) -> bool:
        """
        A client does not want a subscription; the server will not make it again.

        :return: whether there was such a subscription.
        """
        subscription = session.subscriptions.get(filter)
        if subscription is None:
            return False
        if subscription.origin is Origin.CLIENT:
            self.withdraw(session, filter)
            return True
        self._remove_subscription(session, filter)
        session.give_up(filter)
        if session.persistent:
            self.store.record(records.SubscriptionGivenUp(session.client_id, filter))
        return True

    def withdraw(self, session: Session, filter: str) -> None:
        """Take a subscription away, as if it had never been."""
        self._remove_subscription(session, filter)
        if session.persistent:
            self.store.record(records.SubscriptionRemoved(session.client_id, filter))

    def _remove_subscription(self, session: Session, filter: str) -> None:
        subscription = session.subscriptions.pop(filter)
        group = self._groups.get(filter)
        if group is None:
            self.router.unsubscribe(subscription)
            return
        group.leave(session)
        if not group:
            del self._groups[filter]
            self.router.unsubscribe(group.subscription)

    def send_retained(self, session: Session, subscription: Subscription) -> None:
        """Send what is retained for a new subscription, marked so (v3 [MQTT-3.3.1-8])."""
        self.replays.start(session, subscription)

    # Who may do what

    def authorize(
        self, policy: Policy, principal: Principal, access: Access, topic: str
    ) -> Verdict | Deferred[Verdict]:
        """Ask the access rules of the listener that `principal` came through."""
        return policy.authorizer.authorize(principal, access, topic)

    def may_write(self, policy: Policy, principal: Principal, topic: str) -> Verdict | Deferred[Verdict]:
        """Whether a publish to this topic name is allowed; the broker's own topics never are."""
        if topic.startswith("$") and _is_reserved(topic):
            return ReasonCode.NOT_AUTHORIZED
        return policy.authorizer.authorize(principal, Access.WRITE, topic)

    def may_read(self, session: Session | Tap, topic: str) -> bool:
        """Whether somebody may be sent messages of this topic name. Decided at once, or not at all."""
        verdict = session.policy.authorizer.authorize(session, Access.READ, topic)
        if verdict is ReasonCode.SERVER_UNAVAILABLE:  # nobody can say now; who is away may get it later
            return isinstance(session, Session) and session.client is None
        return verdict is ReasonCode.SUCCESS

    def is_still_good(self, message: Message) -> bool:
        """
        Whether who has retained a message might still publish it (``check_retain_source``). An answer that
        comes later is none, and when it was published it was yes.
        """
        source = message.source
        if source is None or not self.limits.check_retain_source:
            return True
        policy = self.policies.get(source.listener, self._default_policy)
        verdict = None if policy is None else self.may_write(policy, source, message.topic)
        if isinstance(verdict, Deferred):
            verdict.addErrback(lambda _: None)
            return True
        return verdict is ReasonCode.SUCCESS

    def access_rules_changed(self) -> None:
        """Passwords or access rules were replaced: forget every verdict that was remembered."""
        self.router.forget_routes()

    def access_changed(self, session: Session | Tap) -> None:
        """What one session may read is not what it was: the same for its verdicts only."""
        self.router.presence_changed(session)
        if isinstance(session, Session) and session.client is not None:
            session.drop_unreadable()

    def store_changed(self) -> None:
        """The store has begun to fail, or is well again."""
        self.router.forget_routes()  # while it fails, each publish is looked at
        for session in list(self.sessions.values()):
            if session.persistent and session.client is not None:
                session.client.settle_window()
                session.catch_up()

    def expires_at(self, interval_s: int) -> float:
        """When a message expires that came now, in the wheel's seconds; never too early."""
        return self.wheel.seconds() + interval_s

    # Life

    def start(self, default_policy: Policy) -> Deferred[None]:
        """
        Take up what the store remembers, and start the clock.

        :param default_policy: holds for kept sessions whose listener is no more, until their client is back.
        """
        self._default_policy = default_policy
        return deferred(self.store.load()).addCallback(self._restore, default_policy)

    def _restore(self, state: records.SavedState, policy: Policy) -> None:
        self.archive.restore(state)  # first, for whatever is published from now on may be kept
        self.notes.restore(state.notes.values())
        self.retained.restore(state.retained.values())
        for client_id, saved in list(state.sessions.items()):
            session = Session(
                self, self.policies.get(saved.listener or "", policy), client_id, saved.username
            )
            session.restore(saved)
            session.offline_since = self._left_at(saved)
            self.sessions[client_id] = session
            self.by_user.add(session)
            for added in saved.subscriptions.values():
                origin = Origin.SERVER if added.automatic else Origin.CLIENT
                self._add_subscription(session, added.request, added.identifier, origin)
            self.wheel.add(session)
        for will in list(state.wills.values()):
            of = self.sessions.get(will.client_id) or Session(self, policy, will.client_id, will.username)
            self.wills.restore(of, will)
        self.receipts.restore()
        self.scheduled.restore(state.scheduled.values())
        self.wheel.start()
        self._store_watch.start()

    def _left_at(self, saved: records.SavedSession) -> float:
        """When a kept session's client left: with the last process, if nothing else is known."""
        if saved.left_at is not None:
            return saved.left_at
        now = self.wheel.seconds()
        self.store.record(records.SessionLeft(saved.client_id, now))
        return now

    def stop(self) -> Deferred[None]:
        """Disconnect every client and make everything durable."""
        for session in list(self.sessions.values()):
            if session.client is not None:
                session.client.connection.close(ReasonCode.SERVER_SHUTTING_DOWN)
                self.client_lost(session.client)
        for tap in list(self.taps):
            tap.cut()
        self.scheduled.stop()
        self.turn.finish()
        self.wheel.stop()
        return self.store.close()

    def gauges(self) -> Deferred[Gauges]:
        """Count anew. With thousands of sessions that takes some turns of the reactor."""
        return Census(self.sessions.values(), self.soon).count().addCallback(self._gauges)

    def _gauges(self, waiting: Waiting) -> Gauges:
        return Gauges(
            self.online,
            len(self.sessions),
            len(self.router.subscriptions) - len(self._groups) - len(self.taps),
            sum(len(group) for group in self._groups.values()),
            len(self.retained),
            len(self.retained) + waiting.messages,
            self.retained.payload_bytes + waiting.payload_bytes,
            waiting.unsent_packets,
            waiting.unsent_bytes,
        )


def _is_reserved(topic: str) -> bool:
    """
    Whether only the broker itself publishes there. The exception is Mosquitto's: bridges tell of their
    state on ``$SYS/broker/connection/NAME/state``.
    """
    if topic.startswith("$SYS/broker/connection/") and topic.endswith("/state") and topic.count("/") == 4:
        return False
    return topic.startswith(("$SYS/", "$CONTROL/", "$share/")) or topic in ("$SYS", "$CONTROL", "$share")
