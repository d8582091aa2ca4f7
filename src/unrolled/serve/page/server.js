// The server: asking, its token, whether it is there, and streams of events.
import { byId } from "./nodes.js";
import { say } from "./words.js";

export class Refused extends Error {
  constructor(status, body) {
    super(body.do ? `${body.error}; ${body.do}` : body.error);
    this.status = status;
  }
}
export class Gone extends Error {}

let token = sessionStorage.getItem("token");
let state = "connected";
const returns = [];
export const whenBack = (act) => returns.push(act);

export function showState() {
  byId("server").textContent = say(state);
  byId("server").classList.toggle("gone", state === "gone");
  byId("entry").hidden = state !== "wantsToken";
}
function become(next) {
  if (state === next) return;
  state = next;
  showState();
}

async function reach(method, path, data, signal) {
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(data && { "content-type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: data && JSON.stringify(data), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost();
    throw new Gone();
  }
  if (answer.status === 401) become("wantsToken");
  if (!answer.ok) {
    throw new Refused(answer.status, await answer.json().catch(() => ({ error: `${answer.status}` })));
  }
  return answer;
}

export async function ask(method, path, data) {
  const answer = await reach(method, path, data);
  try {
    return answer.status === 204 ? null : await answer.json();
  } catch {
    lost();
    throw new Gone();
  }
}

// Calls told(symbol) for each symbol of a stream; ends with it.
export async function stream(path, data, signal, told) {
  const answer = await reach("POST", path, data, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      part = { done: true };
    }
    if (part.done) {
      lost();
      throw new Gone();
    }
    const events = (rest + part.value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event === "end") return JSON.parse(fields.data).text;
      if (fields.event === "error") throw new Refused(500, JSON.parse(fields.data));
      told(JSON.parse(fields.data).symbol);
    }
  }
}

// Once it is gone, looks for it every second, and tells all who wait when it is back.
function lost() {
  if (state === "gone") return;
  become("gone");
  setTimeout(look, 1000);
}
async function look() {
  try {
    await fetch("/health");
  } catch {
    setTimeout(look, 1000);
    return;
  }
  become("came");
  for (const act of returns) act();
}
// Also when nobody types: a server that went is noticed within some seconds.
setInterval(async () => {
  if (state === "gone" || document.hidden) return;
  try {
    await fetch("/health");
    if (state === "came") become("connected");
  } catch {
    lost();
  }
}, 3000);

byId("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  sessionStorage.setItem("token", token);
  become("connected");
  for (const act of returns) act();
});
