/** What every version of the protocol does with messages. */

import assert from "node:assert/strict";

import { numbers } from "./device.mjs";

/** Two devices send each other hundreds of messages at once, at each QoS. */
export async function inOrder(door) {
  const pair = [await door.connect("left"), await door.connect("right")];
  const expected = numbers(200);
  for (const qos of [0, 1, 2]) {
    for (const [index, device] of pair.entries()) await device.subscribe(door.topic(`${index}/${qos}`), qos);
    const sendings = expected.flatMap((payload) =>
      pair.map((device, index) => device.publish(door.topic(`${1 - index}/${qos}`), payload, qos)),
    );
    await Promise.all(sendings);
    for (const device of pair) {
      const messages = await device.messages.take(expected.length);
      assert.deepEqual(messages.map(({ payload }) => payload), expected);
      assert(messages.every(({ packet }) => packet.qos === qos && !packet.dup));
    }
  }
}

/** A message of many frames, and of bytes that are no text. */
export async function large(door) {
  const device = await door.connect("large");
  await device.subscribe(door.topic("large"), 2);
  for (const qos of [0, 1, 2]) {
    const payload = Buffer.alloc(300_000, Buffer.from([qos, 255, 0, 128, 13]));
    await device.publish(door.topic("large"), payload, qos);
    const { packet } = await device.messages.next();
    assert(payload.equals(packet.payload));
  }
}

/** It is marked for who comes later and not for who is there; an empty one takes it back. */
export async function retained(door) {
  const there = await door.connect("there");
  await there.subscribe(door.topic("lamp/#"), 1);
  await there.publish(door.topic("lamp/1"), "on", 1, { retain: true });
  assert.equal((await there.messages.next()).packet.retain, false);

  const later = await door.connect("later");
  await later.subscribe(door.topic("lamp/+"), 1);
  const { topic, payload, packet } = await later.messages.next();
  assert.deepEqual([topic, payload, packet.retain], [door.topic("lamp/1"), "on", true]);

  await there.publish(door.topic("lamp/1"), "", 1, { retain: true });
  await there.publish(door.topic("lamp/2"), "off", 1, { retain: true });
  const last = await door.connect("last");
  await last.subscribe(door.topic("lamp/+"), 1);
  assert.equal((await last.messages.next()).payload, "off");
}

/** It speaks for a device that is gone without a word, and only for that. */
export async function will(door) {
  const watcher = await door.connect("watcher");
  await watcher.subscribe(door.topic("wills/#"), 2);
  const ends = { polite: (device) => device.leave(), killed: (device) => device.die() };
  for (const [name, end] of Object.entries(ends)) {
    const topic = door.topic(`wills/${name}`);
    await end(await door.connect(name, { will: { topic, payload: "gone", qos: 2, retain: true } }));
  }
  const { topic, payload, packet } = await watcher.messages.next();
  assert.deepEqual([topic, payload, packet.qos], [door.topic("wills/killed"), "gone", 2]);
  const later = await door.connect("later");
  await later.subscribe(door.topic("wills/#"));
  assert.equal((await later.messages.next()).packet.retain, true);
}

/** Nothing comes after the answer to UNSUBSCRIBE. */
export async function unsubscribing(door) {
  const device = await door.connect("leaver");
  for (const letter of ["a", "b"]) await device.subscribe(door.topic(letter), 1);
  await device.client.unsubscribeAsync(door.topic("a"));
  await device.publish(door.topic("a"), "unheard");
  await device.publish(door.topic("b"), "heard");
  assert.equal((await device.messages.next()).payload, "heard");
}
