/** What outlives a connection. */

import assert from "node:assert/strict";

import { V5, numbers } from "./device.mjs";

const TAKEN_OVER = 0x8e;

/** Hundreds of messages wait, in their order, and come without a new SUBSCRIBE. */
export async function waiting(door) {
  const expected = numbers(200);
  const sender = await door.connect("sender");
  for (const qos of [1, 2]) {
    const before = await door.connect(`away-${qos}`, door.lasting());
    assert.equal(before.connack.sessionPresent, false);
    await before.subscribe(door.topic(`${qos}/#`), qos);
    await before.leave();
    await Promise.all(expected.map((payload) => sender.publish(door.topic(`${qos}/topic`), payload, qos)));
    const after = await door.connect(`away-${qos}`, door.lasting());
    assert.equal(after.connack.sessionPresent, true);
    assert.deepEqual(await after.nextPayloads(expected.length), expected);
  }
}

/** A session that is not to be kept is not there the next time. */
export async function forgotten(door) {
  for (const [options, present] of [
    [door.lasting(), false],
    [door.lasting(), true],
    [{ clean: true }, false],
    [door.lasting(), false],
  ]) {
    const device = await door.connect("forgetful", options);
    assert.equal(device.connack.sessionPresent, present);
    await device.leave();
  }
}

/** The second connection of a client takes the session over, and the first is told why it ends. */
export async function takeover(door) {
  const first = await door.connect("twin", door.lasting());
  await first.subscribe(door.topic("twin"), 1);
  const second = await door.connect("twin", door.lasting());
  if (door.version === V5) assert.equal((await first.farewells.next()).reasonCode, TAKEN_OVER);
  await first.ends.next();
  assert.equal(second.connack.sessionPresent, true);
  await second.publish(door.topic("twin"), "hello");
  assert.equal((await second.messages.next()).payload, "hello");
  assert(first.messages.isEmpty);
}

/**
 * A device that is there before and after the broker is started again: it says "ready", comes back by itself,
 * and sends what it was given meanwhile.
 */
export async function restart(door) {
  const device = await door.connect("faithful", { ...door.lasting(), reconnectPeriod: 50 });
  await device.subscribe(door.topic("news"), 1);
  await device.publish(door.topic("news"), "before");
  console.log(`ready ${door.name}`);
  await device.ends.next();
  // Retained, because MQTT.js sends what it owes before it subscribes again.
  await device.publish(door.topic("news"), "after", 1, { retain: true });
  assert.deepEqual(await device.nextPayloads(2), ["before", "after"]);
}
