// How the server is, now and over time.

import {ask, listen} from "./api.js";
import {chart} from "./chart.js";
import {element, figures, table} from "./dom.js";
import {bytes, duration, number} from "./words.js";

const SPANS = {"-1h": "the last hour", "-1d": "the last day", "-30d": "the last 30 days", "-1y": "the last year"};
const LIVE_POINTS = 120;
const REDRAW_MS = 60_000;

const percent = (value) => (value === null || value === undefined ? "–" : `${number(value)} %`);
const per_s = (value) => `${number(value)}/s`;
const bytes_per_s = (value) => `${bytes(value)}/s`;
const milliseconds = (value) => `${number(value)} ms`;
const one = (name, column) => ({name, of: (point) => point[column]});

const CHARTS = [
  ["Messages", [one("received", "messages_received_per_s"), one("sent", "messages_sent_per_s")], per_s],
  ["Traffic", [one("received", "bytes_received_per_s"), one("sent", "bytes_sent_per_s")], bytes_per_s],
  ["Clients", [one("connected", "clients_connected"), one("known", "clients_total")], number],
  ["Waiting messages", [one("waiting", "waiting_messages")], number],
  ["CPU", [one("this process", "cpu_percent"), one("machine", "machine_cpu_percent")], percent],
  ["Memory", [one("this process", "memory_bytes")], bytes],
  ["Latency", [one("event loop", "event_loop_late_ms"), one("store commit", "store_commit_ms")], milliseconds],
  ["Dropped messages", [one("dropped", "dropped_per_s")], per_s],
];

export async function overview({place, signal, complain}) {
  const now = element("section");
  const live = element("section", {class: "charts", id: "live"});
  const history = element("section", {class: "charts", id: "history"});
  const choice = element(
    "select",
    {change: () => drawHistory(history, choice.value).catch(complain)},
    ...Object.entries(SPANS).map(([span, title]) => element("option", {value: span}, title)),
  );
  place.append(
    now,
    element("h2", {}, "Now"),
    live,
    element("h2", {}, "History"),
    element("div", {class: "row"}, element("label", {}, "Of", choice)),
    history,
  );
  const points = [];
  const take = (status) => {
    now.replaceChildren(...summary(status));
    points.push({at: status.time, ...status.figures});
    points.splice(0, points.length - LIVE_POINTS);
    live.replaceChildren(...CHARTS.slice(0, 2).map((row) => chart(...row, points)));
  };
  take(await ask("v1/status"));
  await drawHistory(history, choice.value);
  const timer = setInterval(() => drawHistory(history, choice.value).catch(complain), REDRAW_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  await listen("v1/status/sse", signal, take);
}

function summary({figures: values, dropped}) {
  const reasons = Object.entries(dropped).filter(([, count]) => count > 0);
  return [
    figures([
      ["Clients connected", number(values.clients_connected)],
      ["Messages in", per_s(values.messages_received_per_s)],
      ["Messages out", per_s(values.messages_sent_per_s)],
      ["Waiting messages", number(values.waiting_messages)],
      ["Subscriptions", number(values.subscriptions)],
      ["Retained messages", number(values.retained_messages)],
      ["CPU", percent(values.cpu_percent)],
      ["Memory", bytes(values.memory_bytes)],
      ["Event loop late", milliseconds(values.event_loop_late_ms)],
      ["Store commit", milliseconds(values.store_commit_ms)],
      ["Open files", number(values.open_files)],
      ["Up for", duration(values.uptime_s)],
    ]),
    reasons.length ? element("h2", {}, "Dropped since the start") : null,
    reasons.length
      ? table(
          [
            {title: "Reason", cell: ([reason]) => reason.replaceAll("_", " ")},
            {title: "Messages", number: true, cell: ([, count]) => number(count)},
          ],
          reasons,
        )
      : null,
  ].filter(Boolean);
}

async function drawHistory(place, span) {
  const {columns, rows} = await ask(`v1/status/history?from=${span}`);
  const points = rows.map((row) => {
    const point = Object.fromEntries(columns.map((column, index) => [column, row[index]]));
    return {...point, at: point.time};
  });
  place.replaceChildren(...CHARTS.map((row) => chart(...row, points)));
}
