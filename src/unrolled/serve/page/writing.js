// Generation: symbols as the server draws them, until the length, a stop or the server's end.
import { byId, fixed } from "./nodes.js";
import { Gone, Refused, stream } from "./server.js";
import { say } from "./words.js";

let stopping = null;
let told = () => "";
const tell = (words) => {
  told = words;
  draw();
};

export function draw() {
  byId("written-said").textContent = told();
}

async function write(event) {
  event.preventDefault();
  const prompt = byId("prompt").value;
  const seed = byId("seed").value;
  const data = {
    model: byId("write-model").value, prompt, length: Number(byId("length").value),
    temperature: Number(byId("temperature").value), ...(seed !== "" && { seed: Number(seed) }),
  };
  stopping = new AbortController();
  byId("go").disabled = byId("take").disabled = true;
  byId("stop").disabled = false;
  const box = byId("written");
  const drawn = document.createTextNode(prompt);
  box.replaceChildren(drawn);
  let count = 0;
  tell(() => say("writes"));
  try {
    const text = await stream("/v1/generate", data, stopping.signal, (symbol) => {
      drawn.appendData(symbol);
      count += 1;
      box.scrollTop = box.scrollHeight;
    });
    // What came symbol by symbol may be bytes, jamo or words without spaces.
    drawn.data = prompt + text;
    tell(() => say("done", count));
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Gone) tell(() => say("stopped", count));
    else if (error instanceof Refused) tell(() => say("refused", error.message));
    else throw error;
  } finally {
    byId("go").disabled = false;
    byId("stop").disabled = true;
    byId("take").disabled = !box.textContent;
  }
}

export function begin(take) {
  byId("write").addEventListener("submit", write);
  byId("stop").addEventListener("click", () => stopping.abort());
  byId("take").addEventListener("click", () => take([...byId("written").textContent].slice(0, 400).join("")));
  byId("temperature").addEventListener("input", () => {
    byId("temperature-value").textContent = fixed(Number(byId("temperature").value));
  });
}
