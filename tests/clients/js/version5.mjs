/** What only version 5 has. */

import assert from "node:assert/strict";

import { numbers } from "./device.mjs";

const NOT_AUTHORIZED = 0x87;

/** What a publisher says about a message reaches the subscriber as it was said. */
export async function properties(door) {
  const device = await door.connect("both");
  await device.subscribe(door.topic("#"), 1);
  const said = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: door.topic("answers"),
    correlationData: Buffer.from([0, 255, 7]),
    userProperties: { colour: ["red", "grün"], empty: "" },
  };
  await device.publish(door.topic("questions"), "why?", 1, { properties: said });
  const { packet } = await device.messages.next();
  assert.deepEqual({ ...packet.properties, userProperties: { ...packet.properties.userProperties } }, said);
}

/** A request tells where its answer goes, and the answer which request it belongs to. */
export async function request(door) {
  const server = await door.connect("server");
  await server.subscribe(door.topic("sum"), 1);
  server.client.on("message", (_, payload, { properties: { responseTopic, correlationData } }) => {
    const sum = JSON.parse(payload).reduce((left, right) => left + right);
    server.publish(responseTopic, String(sum), 0, { properties: { correlationData } });
  });
  const client = await door.connect("client");
  const responseTopic = door.topic("answers/client");
  await client.subscribe(responseTopic, 1);
  for (const [id, question] of [["a", "[1, 2]"], ["b", "[3, 4]"]]) {
    const asked = { responseTopic, correlationData: Buffer.from(id) };
    await client.publish(door.topic("sum"), question, 1, { properties: asked });
  }
  const answers = await client.messages.take(2);
  assert.deepEqual(
    answers.map(({ payload, packet }) => [String(packet.properties.correlationData), payload]),
    [["a", "3"], ["b", "7"]],
  );
}

/**
 * Messages that wait are counted down and go when their time is up. That it is up is known from a Will that
 * the broker keeps back for as long.
 */
export async function messageExpiry(door) {
  const away = await door.connect("away", door.lasting());
  await away.subscribe(door.topic("news"), 1);
  await away.leave();
  const clock = await door.connect("clock");
  await clock.subscribe(door.topic("time"), 1);
  for (const [payload, messageExpiryInterval] of [["short", 1], ["long", 100]]) {
    await clock.publish(door.topic("news"), payload, 1, { properties: { messageExpiryInterval } });
  }
  await die(door, "mortal", { willDelayInterval: 1 }, 1000);
  await clock.messages.next();
  const back = await door.connect("away", door.lasting());
  const { payload, packet } = await back.messages.next();
  assert.equal(payload, "long");
  const left = packet.properties.messageExpiryInterval;
  assert(90 <= left && left <= 99, `${left} of 100 seconds are left after 1`);
}

/** A session ends when its time is up, and then its Will is sent, however long that was to wait. */
export async function sessionExpiry(door) {
  const watcher = await door.connect("watcher");
  await watcher.subscribe(door.topic("time"), 1);
  const died = performance.now();
  await die(door, "mortal", { willDelayInterval: 100 }, 1);
  await watcher.messages.next();
  assert(performance.now() - died >= 1000, "never early");
  const again = await door.connect("mortal", door.lasting());
  assert.equal(again.connack.sessionPresent, false);
}

async function die(door, name, properties, seconds) {
  const will = { topic: door.topic("time"), payload: "gone", qos: 1, properties };
  await (await door.connect(name, { ...door.lasting(seconds), will })).die();
}

/** DISCONNECT changes how long a session is kept. */
export async function changedExpiry(door) {
  const device = await door.connect("changing", door.lasting(1000));
  await device.leave({ sessionExpiryInterval: 0 });
  assert.equal((await door.connect("changing", door.lasting())).connack.sessionPresent, false);
}

/** Both sides say each topic once and use its number then. */
export async function topicAliases(door) {
  const reader = await door.connect("reader", { properties: { topicAliasMaximum: 5 } });
  await reader.subscribe(door.topic("#"), 1);
  const writer = await door.connect("writer", { autoAssignTopicAlias: true });
  const expected = [];
  for (const payload of numbers(30)) {
    const topic = door.topic(`room/${payload % 3}`);
    expected.push([topic, payload]);
    await writer.publish(topic, payload, 1);
  }
  const messages = await reader.messages.take(expected.length);
  assert.deepEqual(messages.map(({ topic, payload }) => [topic, payload]), expected);
  for (const packets of [writer.sent, reader.received]) {
    assert.equal(packets.filter(({ topic }) => topic === "").length, 27);
  }
}

/** A publisher may number its topics itself; MQTT.js remembers them. */
export async function ownAliases(door) {
  const device = await door.connect("own", { autoUseTopicAlias: true });
  await device.subscribe(door.topic("#"), 1);
  await device.publish(door.topic("a"), "named", 1, { properties: { topicAlias: 1 } });
  await device.publish(door.topic("b"), "renamed", 1, { properties: { topicAlias: 1 } });
  await device.publish(door.topic("b"), "by number", 1);
  const messages = await device.messages.take(3);
  assert.deepEqual(messages.map(({ topic }) => topic), ["a", "b", "b"].map((letter) => door.topic(letter)));
  assert.deepEqual(device.sent.map(({ topic }) => topic !== ""), [true, true, false]);
}

/** Of a device that takes one message at a time, none is overrun and nothing is lost. */
export async function receiveMaximum(door) {
  const sender = await door.connect("sender");
  for (const qos of [1, 2]) {
    const slow = await door.connect(`slow-${qos}`, { properties: { receiveMaximum: 1 } });
    let unanswered = 0;
    slow.client.on("packetreceive", ({ cmd }) => {
      if (cmd === "publish") assert.equal(++unanswered, 1);
    });
    slow.client.on("packetsend", ({ cmd }) => {
      if (cmd === "puback" || cmd === "pubcomp") unanswered--;
    });
    await slow.subscribe(door.topic(`${qos}`), qos);
    const expected = numbers(100);
    await Promise.all(expected.map((payload) => sender.publish(door.topic(`${qos}`), payload, qos)));
    assert.deepEqual(await slow.nextPayloads(expected.length), expected);
  }
}

/** A message says which subscriptions it comes for. */
export async function identifiers(door) {
  const device = await door.connect("numbered");
  for (const [filter, subscriptionIdentifier] of [["news/+", 7], ["news/sport", 268_435_455]]) {
    await device.subscribe(door.topic(filter), 1, { properties: { subscriptionIdentifier } });
  }
  const ids = [];
  for (const topic of ["news/weather", "news/sport"]) await device.publish(door.topic(topic), topic);
  const [weather, ...sport] = [await device.messages.next(), await device.messages.next()];
  assert.equal(weather.packet.properties.subscriptionIdentifier, 7);
  for (const { packet } of sport) ids.push(packet.properties.subscriptionIdentifier);
  assert.deepEqual(ids.flat().sort(), [268_435_455, 7]);
}

/** The members of a group share its messages; each is given to one of them. */
export async function shared(door) {
  const members = [];
  for (const name of ["ann", "ben", "cy"]) {
    const member = await door.connect(name);
    await member.subscribe(`$share/workers/${door.topic("jobs")}`, 1);
    await member.subscribe(door.topic("end"), 1);
    members.push(member);
  }
  const sender = await door.connect("sender");
  const expected = numbers(90);
  await Promise.all(expected.map((payload) => sender.publish(door.topic("jobs"), payload)));
  await sender.publish(door.topic("end"), "end"); // comes to all, after whatever was before it
  const shares = await Promise.all(members.map((member) => member.payloadsUntil("end")));
  assert(shares.every((share) => share.length));
  assert.deepEqual(shares.flat().sort(), expected.sort());
}

/** What a member of a group had not acknowledged when it left goes to another one. */
export async function handedOn(door) {
  const jobs = `$share/workers/${door.topic("jobs")}`;
  const stuck = await door.connect("stuck");
  stuck.client.handleMessage = () => {}; // no acknowledgement, and so no further message either
  await stuck.subscribe(jobs, 1);
  const sender = await door.connect("sender");
  for (const payload of numbers(5)) await sender.publish(door.topic("jobs"), payload);
  await stuck.messages.next();
  const willing = await door.connect("willing");
  await willing.subscribe(jobs, 1);
  await stuck.die();
  assert.deepEqual(await willing.nextPayloads(5), numbers(5));
}

/** Retain Handling, Retain As Published and No Local. */
export async function subscriptionOptions(door) {
  const device = await door.connect("choosy");
  await device.publish(door.topic("state"), "old", 1, { retain: true });
  await device.subscribe(door.topic("state"), 1, { rh: 2, rap: true });
  await device.publish(door.topic("state"), "new", 1, { retain: true });
  const { payload, packet } = await device.messages.next();
  assert.deepEqual([payload, packet.retain], ["new", true]);

  await device.subscribe(door.topic("state"), 1, { nl: true, rh: 1 });
  await device.publish(door.topic("state"), "of my own");
  await (await door.connect("other")).publish(door.topic("state"), "of another");
  assert.equal((await device.messages.next()).payload, "of another");
}

/** Who has no client id is given one; who asks for too long a keep alive is told the one that counts. */
export async function connack(door) {
  const { client, connack } = await door.connect("", { clientId: "", keepalive: 3600 });
  assert.match(connack.properties.assignedClientIdentifier, /^.+$/);
  assert.equal(connack.properties.serverKeepAlive, 600);
  assert.equal(client.keepalive, 600);
}

/** What the ACL forbids is refused with its reason, and the connection goes on. */
export async function refusals(door) {
  const device = await door.connect("refused");
  await assert.rejects(device.publish("secret/topic", "x", 1), { code: NOT_AUTHORIZED });
  await assert.rejects(device.publish("secret/topic", "x", 2), { code: NOT_AUTHORIZED });
  await device.subscribe(door.topic("open"), 1);
  await device.publish(door.topic("open"), "still here");
  assert.equal((await device.messages.next()).payload, "still here");
}
