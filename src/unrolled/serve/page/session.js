// A text as a session of the server reads it: what is typed on is stepped, what is taken back begins anew.
import { ask, Gone, Refused } from "./server.js";

const AT_ONCE = 256;
const LIKELIEST = 200;

export class Session {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.id = null;
    this.wanted = "";
    this.read = "";
    this.steps = [];
    this.refusal = null;
    this.running = false;
    this.ended = false;
    // A word's letters are not its beginning: only single characters can be read on one by one.
    this.single = model.symbols.filter((s) => [...s].length > 1).length < model.symbols.length / 2;
  }

  want(text) {
    this.wanted = text;
    return this.run();
  }

  async run() {
    if (this.running) return;
    this.running = true;
    let text;
    try {
      while (this.wanted !== this.read && !this.ended) await this.onward((text = this.wanted));
      this.refusal = null;
    } catch (error) {
      if (error instanceof Refused) this.refusal = error.message;
      else if (!(error instanceof Gone)) throw error;
    } finally {
      this.running = false;
    }
    this.changed();
    if (this.ended) await this.end();
    else if (this.refusal !== null && text !== this.wanted) await this.run();
  }

  async onward(text) {
    if (this.model.task !== "language") {
      this.taken = text ? (await ask("POST", "/v1/predict", { model: this.model.name, texts: [text] })).predictions[0] : null;
      this.read = text;
      return;
    }
    if (!text.startsWith(this.read) || (!this.single && this.read)) await this.anew();
    if (!text) return;
    if (this.id === null) {
      const opened = await ask("POST", "/v1/sessions", { model: this.model.name });
      this.id = opened.id;
    }
    const piece = [...text.slice(this.read.length)].slice(0, AT_ONCE).join("");
    const top = Math.min(LIKELIEST, this.model.symbols.length);
    const data = { text: piece, see: true, top, model: this.model.name };
    let answer;
    try {
      answer = await ask("POST", `/v1/sessions/${this.id}/step`, data);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      await this.anew(); // it was idle for too long, or the server forgot it
      return;
    }
    if (answer.symbols !== this.steps.length + answer.predictions.length) {
      await this.anew(); // it had read what we never heard of
      return;
    }
    this.steps.push(...answer.predictions);
    this.read += piece;
    this.changed();
  }

  async anew() {
    await this.close();
    this.read = "";
    this.steps = [];
  }

  async close() {
    const id = this.id;
    this.id = null;
    if (id === null) return;
    try {
      await ask("DELETE", `/v1/sessions/${id}`);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
    }
  }

  async end() {
    this.ended = true;
    if (!this.running) await this.close().catch((error) => {
      if (!(error instanceof Gone)) throw error;
    });
  }
}
