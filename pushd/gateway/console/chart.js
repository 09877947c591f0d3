// A line chart of one or two series over time, drawn as SVG in the size of its place.

import {element, svg} from "./dom.js";
import {clock} from "./words.js";

const WIDTH = 400;
const HEIGHT = 120;
const CLASSES = ["first", "second"];

// title, a list of {name, of: (point) => value or null}, a way to write values, and [{at, ...}] in order of time.
export function chart(title, series, write, points) {
  const values = points.flatMap((point) => series.map((one) => one.of(point) ?? 0));
  const top = roundUp(Math.max(...values, 0));
  const names = series.map((one, index) => element("span", {class: CLASSES[index]}, one.name));
  return element(
    "figure",
    {"data-points": points.length},
    element("figcaption", {}, element("strong", {}, title), ...names),
    element("div", {class: "scale"}, element("span", {}, write(top))),
    svg(
      "svg",
      {class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title},
      ...[0.5, 60, 119.5].map((y) => svg("line", {class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y})),
      ...series.map((one, index) => svg("path", {class: CLASSES[index], d: path(points, one.of, top)})),
    ),
    timeScale(points),
  );
}

function timeScale(points) {
  const ends = points.length > 1 ? [points[0].at, points[points.length - 1].at] : [];
  return element("div", {class: "scale"}, ...ends.map((at) => element("span", {}, clock(at))));
}

// A gap where nothing is known.
function path(points, of, top) {
  if (points.length < 2) return "";
  const begin = points[0].at;
  const span = points[points.length - 1].at - begin || 1;
  let pen = "M";
  const steps = [];
  for (const point of points) {
    const value = of(point);
    if (value === null || value === undefined) {
      pen = "M";
      continue;
    }
    const x = ((point.at - begin) / span) * WIDTH;
    const y = HEIGHT - (value / top) * HEIGHT;
    steps.push(`${pen}${x.toFixed(1)} ${y.toFixed(1)}`);
    pen = "L";
  }
  return steps.join("");
}

// To 1, 2 or 5 times a power of ten, so that the scale does not jump with every value.
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value);
}
