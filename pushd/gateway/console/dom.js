// Elements without markup: what a client, a topic or a user is called is only ever text.

// element("td", {class: "number"}, 5) - attributes, or listeners where the value is a function.
export function element(name, attributes = {}, ...children) {
  return furnish(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function furnish(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// columns: [{title, number, cell: (row) => text or element}]
export function table(columns, rows, nothing) {
  if (rows.length === 0) return element("div", {class: "table"}, element("p", {class: "nothing"}, nothing));
  const kind = (column) => (column.number ? "number" : "text");
  const head = columns.map((column) => element("th", {class: kind(column), scope: "col"}, column.title));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map((column) => element("td", {class: kind(column)}, column.cell(row) ?? ""))),
  );
  return element(
    "div",
    {class: "table"},
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)),
  );
}

// [["Clients", "12"], ...]
export function figures(pairs) {
  const boxes = pairs.map(([title, value]) =>
    element("div", {}, element("dt", {}, title), element("dd", {}, value)),
  );
  return element("dl", {class: "figures"}, ...boxes);
}

let hiding = 0;

// Say something for a while, at the foot of the page.
export function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (place.hidden = true), 6000);
}
