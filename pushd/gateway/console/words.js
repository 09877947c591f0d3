// Figures as people read them.

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return value.toPrecision(2);
}

const PREFIXES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let power = 0;
  while (value >= 1024 && power < PREFIXES.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${power === 0 ? value.toFixed(0) : value.toPrecision(3)} ${PREFIXES[power]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export function clock(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
}

export function moment(unixSeconds) {
  return unixSeconds ? new Date(unixSeconds * 1000).toLocaleString() : "–";
}
