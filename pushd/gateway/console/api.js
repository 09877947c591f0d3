// What the server is asked, and who asks. The login is kept for this tab only, and leaves it as a header only.

const KEY = "pushd login";

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const isLoggedIn = () => sessionStorage.getItem(KEY) !== null;

export function logIn(username, password) {
  const encoded = new TextEncoder().encode(`${username}:${password}`);
  sessionStorage.setItem(KEY, `Basic ${btoa(String.fromCharCode(...encoded))}`);
}

export function logOut() {
  sessionStorage.removeItem(KEY);
}

// The JSON that comes back. Paths are relative to the gateway's root, wherever a proxy has put it.
export async function ask(path, options = {}) {
  const answer = await send(path, options);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

async function send(path, options) {
  const headers = {Authorization: sessionStorage.getItem(KEY) ?? "", ...options.headers};
  const answer = await fetch(path, {...options, headers, cache: "no-store", credentials: "omit"});
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server says ${answer.status}`;
  }
}

// A segment of a path: whatever is in it.
export const segment = (text) => encodeURIComponent(text);

const AGAIN_MS = 3000;

// Server-sent events until `signal` is aborted; `begun` is called each time that the stream is open. EventSource
// cannot send a login as a header; this reads the same format, and comes back when the connection is lost.
export async function listen(path, signal, take, begun = () => {}) {
  while (!signal.aborted) {
    try {
      const answer = await send(path, {signal, headers: {Accept: "text/event-stream"}});
      begun();
      for await (const event of events(answer.body)) take(event);
    } catch (problem) {
      if (signal.aborted) return;
      if (problem instanceof Refused && problem.status < 500 && problem.status !== 429) throw problem;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5).trimStart()).join("\n"));
    }
  }
}
