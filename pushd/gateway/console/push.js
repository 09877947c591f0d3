// Push a message, and watch what comes to a topic.

import {ask, listen} from "./api.js";
import {element, notice} from "./dom.js";

const MOST_SHOWN = 100;
const PRIORITIES = [[3, "default"], [1, "lowest"], [2, "low"], [4, "high"], [5, "urgent"]];
const QOS = [[1, "1"], [0, "0"], [2, "2"]];
const RETAIN = [[0, "no"], [1, "yes"]];

export async function push({place, words: [topic], signal, complain}) {
  const field = (name, attributes = {}) => element("input", {name, ...attributes});
  const choice = (name, options) =>
    element("select", {name}, ...options.map(([value, text]) => element("option", {value}, text)));
  const form = element(
    "form",
    {class: "sheet", id: "push", submit: (event) => send(event).catch(complain)},
    element("label", {}, "Topic", field("topic", {required: true, value: topic ?? "alerts"})),
    element("label", {}, "Title", field("title")),
    element("label", {}, "Message", element("textarea", {name: "message", rows: 3})),
    element(
      "div",
      {class: "row"},
      element("label", {}, "Priority", choice("priority", PRIORITIES)),
      element("label", {}, "Quality of service", choice("qos", QOS)),
      element("label", {}, "Keep for later subscribers", choice("retain", RETAIN)),
    ),
    element("div", {}, element("button", {}, "Push")),
  );
  const list = element("ol", {class: "messages", id: "messages"});
  place.append(
    element("h1", {}, "Push"),
    form,
    element("h2", {}, "What comes"),
    watcher(list, topic ?? "alerts", signal, complain),
    list,
  );
}

async function send(event) {
  event.preventDefault();
  const {topic, title, message, priority, qos, retain} = Object.fromEntries(new FormData(event.target));
  const body = {topic, message, priority: Number(priority), ...(title ? {title} : {})};
  const answer = await ask(`./?qos=${qos}&retain=${retain}`, {method: "POST", body: JSON.stringify(body)});
  notice(`Pushed as ${answer.id}.`);
}

// A form that names the topic filter, and begins anew with each.
function watcher(list, topic, signal, complain) {
  const filter = element("input", {name: "filter", value: topic, required: true});
  let watching = new AbortController();
  const watch = (event) => {
    event?.preventDefault();
    watching.abort();
    watching = new AbortController();
    list.replaceChildren();
    const path = `v1/listen?${new URLSearchParams({filter: filter.value})}`;
    list.dataset.watching = "";
    const begun = () => (list.dataset.watching = filter.value);
    listen(path, watching.signal, (message) => add(list, message), begun).catch(complain);
  };
  signal.addEventListener("abort", () => watching.abort());
  watch();
  return element(
    "form",
    {class: "row", submit: watch},
    element("label", {}, "Topic filter", filter),
    element("button", {class: "quiet"}, "Watch"),
  );
}

function add(list, {time, topic, payload, payload_base64: encoded}) {
  const said = `${new Date(time * 1000).toLocaleTimeString()} · ${topic}`;
  list.prepend(
    element(
      "li",
      {},
      element("div", {class: "topic"}, said),
      element("div", {class: "payload"}, payload ?? `${encoded} (base64)`),
    ),
  );
  while (list.children.length > MOST_SHOWN) list.lastChild.remove();
}
