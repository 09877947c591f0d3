// Shows what /openapi.json says, and sends what is filled in. Text goes into the page as text only.

const STREAM_MS = 20_000; // an answer without end is read for so long
const MOST_LETTERS = 100_000;

const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};

const authorization = () => {
  const { username, password } = document.getElementById("login").elements;
  if (!username.value && !password.value) return {};
  const bytes = new TextEncoder().encode(`${username.value}:${password.value}`);
  return { Authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
};

const field = (parameter) => {
  const hint = parameter.description || (parameter.schema.enum || []).join(", ");
  const input = make("input", { name: parameter.name, required: parameter.required, placeholder: hint });
  input.dataset.place = parameter.in;
  return make("label", {}, `${parameter.name} (${parameter.in})`, input);
};

const bodyField = (content) => {
  const [type] = Object.keys(content);
  const area = make("textarea", { name: "body", spellcheck: false });
  area.dataset.type = type;
  area.value = content[type].schema ? JSON.stringify(example(content[type].schema), null, 2) : "";
  return make("label", {}, `Body (${type})`, area);
};

// A value that a reader can change into what is meant.
const example = (schema) => {
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return example(schema.anyOf[0]);
  if (schema.type === "object") {
    return Object.fromEntries(Object.entries(schema.properties || {}).map(([name, of]) => [name, example(of)]));
  }
  return { array: [], integer: schema.minimum || 0, number: 0, boolean: false, string: "" }[schema.type] ?? null;
};

const requestOf = (method, path, form) => {
  const query = new URLSearchParams();
  const headers = authorization();
  let target = path;
  for (const input of form.querySelectorAll("input[data-place]")) {
    const { place } = input.dataset;
    if (place === "path") target = target.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value && place === "query") query.set(input.name, input.value);
    else if (input.value) headers[input.name] = input.value;
  }
  const area = form.querySelector("textarea");
  if (area) headers["Content-Type"] = area.dataset.type;
  const text = query.toString();
  // Relative: a proxy may have put the gateway below a path.
  return [`.${target}${text && "?"}${text}`, { method, headers, body: area ? area.value : undefined }];
};

const show = async (answer, output) => {
  output.textContent = `${answer.status} ${answer.statusText}\n\n`;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const stop = setTimeout(() => reader.cancel(), STREAM_MS);
  for (;;) {
    const { value, done } = await reader.read();
    if (done || output.textContent.length > MOST_LETTERS) break;
    output.append(value);
  }
  clearTimeout(stop);
  await reader.cancel();
};

const call = (method, path, operation) => {
  const output = make("pre", { hidden: true });
  const form = make("form", {}, ...(operation.parameters || []).map(field));
  if (operation.requestBody) form.append(bodyField(operation.requestBody.content));
  form.append(make("button", {}, "Send"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    output.hidden = false;
    output.textContent = "...";
    try {
      await show(await fetch(...requestOf(method.toUpperCase(), path, form)), output);
    } catch (problem) {
      output.append(String(problem));
    }
  });
  const title = make("summary", {}, make("code", { className: "method" }, method.toUpperCase()),
    make("code", {}, path), ` ${operation.summary}`);
  const about = make("p", { className: "about" }, operation.description || "");
  return make("details", {}, title, about, form, output);
};

const main = async () => {
  const { paths } = await (await fetch("openapi.json")).json();
  const calls = document.getElementById("calls");
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) calls.append(call(method, path, operation));
  }
};

main();
