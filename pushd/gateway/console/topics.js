// What is published most, and what is subscribed to most.

import {ask} from "./api.js";
import {element, table} from "./dom.js";
import {bytes, number} from "./words.js";

const ORDERS = {
  messages: "messages",
  bytes: "bytes",
  deliveries: "deliveries",
  drops: "dropped messages",
  subscribers: "subscribers",
};
const WINDOWS = {"1m": "the last minute", "1h": "the last hour", start: "the start"};
const EACH_MS = 2000;

export async function topics({place, signal, complain}) {
  const list = element("div", {id: "hot"});
  const draw = async () => {
    const query = new URLSearchParams({by: by.value, window: span.value, n: 50});
    const answer = await ask(`v1/topics/hot?${query}`);
    list.replaceChildren(answer.by === "subscribers" ? ofFilters(answer.topics) : ofTopics(answer.topics, answer.by));
  };
  const redraw = () => draw().catch(complain);
  const by = choice(ORDERS, redraw);
  const span = choice(WINDOWS, redraw);
  place.append(
    element("h1", {}, "Hot topics"),
    element("div", {class: "row"}, element("label", {}, "By", by), element("label", {}, "Since", span)),
    list,
  );
  await draw();
  const timer = setInterval(redraw, EACH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function choice(options, change) {
  const rows = Object.entries(options).map(([value, title]) => element("option", {value}, title));
  return element("select", {change}, ...rows);
}

const link = (topic) => element("a", {href: `#/push/${encodeURIComponent(topic)}`}, topic);

// How much it is of the most, for the eye.
function bar(rows, by) {
  const most = Math.max(1, ...rows.map((row) => row[by]));
  return {title: "", cell: (row) => element("meter", {min: 0, max: most, value: row[by], "aria-label": by})};
}

function ofTopics(rows, by) {
  return table(
    [
      {title: "Topic", cell: (row) => link(row.topic)},
      bar(rows, by),
      {title: "Messages", number: true, cell: (row) => number(row.messages)},
      {title: "Bytes", number: true, cell: (row) => bytes(row.bytes)},
      {title: "Deliveries", number: true, cell: (row) => number(row.deliveries)},
      {title: "Dropped", number: true, cell: (row) => number(row.drops)},
    ],
    rows,
    "Nothing was published.",
  );
}

function ofFilters(rows) {
  return table(
    [
      {title: "Topic filter", cell: (row) => link(row.filter)},
      bar(rows, "subscribers"),
      {title: "Subscribers", number: true, cell: (row) => number(row.subscribers)},
    ],
    rows,
    "Nobody is subscribed.",
  );
}
