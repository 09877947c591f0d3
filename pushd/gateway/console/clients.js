// Who is there, and all about one of them.

import {ask, segment} from "./api.js";
import {element, figures, notice, table} from "./dom.js";
import {bytes, moment, number} from "./words.js";

const PAGE = 100;

export async function clients({place, complain}) {
  const list = element("div", {id: "clients"});
  const after = [""];
  let next = null;
  const draw = async () => {
    const query = new URLSearchParams({after: after[after.length - 1], limit: PAGE});
    const answer = await ask(`v1/clients?${query}`);
    back.disabled = after.length === 1;
    more.disabled = answer.next === null;
    next = answer.next;
    list.replaceChildren(rows(answer.clients));
  };
  const redraw = () => draw().catch(complain);
  const turn = (change) => () => {
    change();
    redraw();
  };
  const back = element("button", {class: "quiet", type: "button", click: turn(() => after.pop())}, "Back");
  const more = element(
    "button",
    {class: "quiet", type: "button", click: turn(() => after.push(next))},
    "More",
  );
  const wanted = element("input", {placeholder: "Client id"});
  const find = (event) => {
    event.preventDefault();
    if (wanted.value) location.hash = `#/client/${encodeURIComponent(wanted.value)}`;
  };
  place.append(
    element("h1", {}, "Clients"),
    element("form", {class: "row", submit: find}, wanted, element("button", {}, "Show"), back, more),
    list,
  );
  await draw();
}

function rows(answer) {
  return table(
    [
      {title: "Client", cell: (row) => element("a", {href: `#/client/${encodeURIComponent(row.client_id)}`}, row.client_id)},
      {title: "User", cell: (row) => row.username ?? "–"},
      {title: "", cell: (row) => (row.connected ? "connected" : "away")},
      {title: "Address", cell: (row) => row.address ?? "–"},
      {title: "Subscriptions", number: true, cell: (row) => number(row.subscriptions)},
      {title: "Waiting", number: true, cell: (row) => number(row.queued_messages)},
    ],
    answer,
    "There are no clients.",
  );
}

const PROTOCOLS = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"};

export async function client({place, words: [id], complain}) {
  const draw = async () => {
    const answer = await ask(`v1/clients/${segment(id)}`);
    place.replaceChildren(
      element("h1", {}, answer.client_id),
      figures([
        ["", answer.connected ? "connected" : "away"],
        ["User", answer.username ?? "–"],
        ["Address", answer.address ?? "–"],
        ["Protocol", PROTOCOLS[answer.protocol_version] ?? "–"],
        ["Since", moment(answer.connected_since)],
        ["Queued", `${number(answer.queued_messages)} (${bytes(answer.queued_bytes)})`],
        ["In flight", number(answer.inflight_messages)],
      ]),
      element("h2", {}, "Subscriptions"),
      subscriptions(answer.subscriptions),
      element("h2", {}, "Send away"),
      element(
        "div",
        {class: "row"},
        element("button", {type: "button", id: "kick", disabled: !answer.connected, click: kick("")}, "Disconnect"),
        element(
          "button",
          {type: "button", class: "danger", id: "end", click: kick("?session=1")},
          "Disconnect and forget its session",
        ),
      ),
    );
  };
  const kick = (query) => async () => {
    try {
      await ask(`v1/clients/${segment(id)}${query}`, {method: "DELETE"});
      notice(`${id} was sent away.`);
      location.hash = "#/clients"; // there may be nothing left of it to show here
    } catch (problem) {
      complain(problem);
    }
  };
  await draw();
}

function subscriptions(rows) {
  return table(
    [
      {title: "Topic filter", cell: (row) => row.filter},
      {title: "QoS", number: true, cell: (row) => row.qos},
      {title: "By", cell: (row) => (row.automatic ? "the server" : "the client")},
    ],
    rows,
    "It is subscribed to nothing.",
  );
}
