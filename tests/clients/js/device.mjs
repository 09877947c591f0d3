/**
 * An MQTT.js client that scenarios can wait for, and the doors of the broker that it comes through.
 *
 * Nothing here has a deadline: play.mjs ends a scenario that waits for too long.
 */

import { once } from "node:events";
import { readFileSync } from "node:fs";

import mqtt from "mqtt";

export const V311 = 4;
export const V5 = 5;

/** Things that came, in their order. Whoever asks too early waits. */
class Inbox {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  /** @returns {Promise<any>} the next one. */
  async next() {
    return this.#items.length ? this.#items.shift() : new Promise((taker) => this.#takers.push(taker));
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  get isEmpty() {
    return this.#items.length === 0;
  }
}

/** One connection, and those after it if `reconnectPeriod` asks for them. */
export class Device {
  /** One `{topic, payload, packet}` for each message; `topic` is whole even if the packet has an alias. */
  messages = new Inbox();
  /** The CONNACK of the first connection. */
  connack;
  /** The DISCONNECT packets of the broker. */
  farewells = new Inbox();
  /** One entry for each connection that ended. */
  ends = new Inbox();
  /** Each PUBLISH as it went over the line. */
  sent = [];
  received = [];

  constructor(client) {
    this.client = client;
    this.connected = this.#connected();
    client.on("disconnect", (packet) => this.farewells.put(packet));
    client.on("close", () => this.ends.put("closed"));
    client.on("message", (topic, payload, packet) => {
      this.messages.put({ topic, payload: payload.toString(), packet });
    });
    // MQTT.js goes on changing the packets: what is kept is a copy.
    client.on("packetsend", (packet) => packet.cmd === "publish" && this.sent.push({ ...packet }));
    client.on("packetreceive", (packet) => packet.cmd === "publish" && this.received.push({ ...packet }));
    client.on("error", (error) => this.ends.put(error)); // without a listener it would be the end of all
  }

  async #connected() {
    [this.connack] = await once(this.client, "connect"); // or it throws the error that there was
  }

  /** Until it is acknowledged. @returns the QoS granted, or the reason why not. */
  async subscribe(filter, qos = 0, options = {}) {
    const [granted] = await this.client.subscribeAsync(filter, { qos, ...options });
    return granted?.qos;
  }

  /** Until it is acknowledged, at QoS 1 and 2. */
  async publish(topic, payload, qos = 1, options = {}) {
    return this.client.publishAsync(topic, payload, { qos, ...options });
  }

  async nextPayloads(count) {
    return (await this.messages.take(count)).map(({ payload }) => payload);
  }

  /** Those before the last one. */
  async payloadsUntil(last) {
    const payloads = [];
    while (payloads.at(-1) !== last) payloads.push(...(await this.nextPayloads(1)));
    return payloads.slice(0, -1);
  }

  /** With a DISCONNECT. */
  async leave(properties) {
    await this.client.endAsync(false, properties ? { properties } : {});
  }

  /** Lose the connection without a DISCONNECT. */
  async die() {
    await this.client.endAsync(true);
  }
}

/**
 * A way into the broker: an address and a version of the protocol. Client ids and topics begin with its name,
 * so that nobody meets who came through another one.
 */
export class Door {
  #devices = [];

  constructor(url, version, scenario) {
    this.url = url;
    this.version = version;
    this.name = `${scenario}-${new URL(url).protocol.slice(0, -1)}${new URL(url).port}-${version}`;
  }

  /** A topic, or a filter, that only this door uses. */
  topic(rest) {
    return `${this.name}/${rest}`;
  }

  /** A device that is connected. It leaves with the door. */
  async connect(name, options = {}) {
    const device = new Device(
      mqtt.connect(this.url, {
        clientId: `${this.name}-${name}`,
        protocolVersion: this.version,
        reconnectPeriod: 0,
        ...this.#certificates(),
        ...options,
      }),
    );
    this.#devices.push(device);
    await device.connected;
    return device;
  }

  /** Options for a session that outlives its connection. */
  lasting(seconds = 1000) {
    const properties = this.version === V5 ? { sessionExpiryInterval: seconds } : undefined;
    return { clean: false, properties };
  }

  async close() {
    await Promise.all(this.#devices.map((device) => device.die()));
  }

  /** The directory that scenarios run in has them. */
  #certificates() {
    if (!/^(mqtts|wss):/.test(this.url)) return {};
    const [ca, cert, key] = ["ca.crt", "phone.crt", "phone.key"].map((name) => readFileSync(`certs/${name}`));
    return { ca, cert, key, wsOptions: { ca, cert, key } };
  }
}

/** The numbers from 0 on, as payloads. */
export function numbers(count) {
  return Array.from({ length: count }, (_, number) => String(number));
}
