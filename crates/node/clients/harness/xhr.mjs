// What old clients need of a browser for long polling: `window.XMLHttpRequest`, as far as they use it. Posts to one server
// go over one connection, since these clients send each message in a post of its own and leave the order to the browser.

import { Agent, request } from "node:http";

const posts = new Agent({ keepAlive: true, maxSockets: 1 });
const polls = new Agent({ keepAlive: true });

class XMLHttpRequest {
  readyState = 0;
  responseText = "";
  timeout = 0;
  #headers = {};
  #asked;
  #isAborted = false;

  open(method, url) {
    this.method = method;
    this.url = url;
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  send(body) {
    const agent = this.method === "POST" ? posts : polls;
    const asked = request(this.url, { method: this.method, headers: this.#headers, agent });
    let isLate = false;
    if (this.timeout) {
      asked.setTimeout(this.timeout, () => {
        isLate = true;
        asked.destroy();
      });
    }
    this.#asked = asked;
    asked.on("error", () => {
      if (!this.#isAborted) isLate ? this.ontimeout?.() : this.onerror?.();
    });
    asked.on("response", (answer) => {
      answer.setEncoding("utf8");
      answer.on("data", (text) => (this.responseText += text));
      answer.on("end", () => {
        if (this.#isAborted) return;
        this.readyState = 4;
        this.onreadystatechange?.();
      });
    });
    asked.end(body ?? undefined);
  }

  abort() {
    this.#isAborted = true;
    this.#asked?.destroy();
  }
}

globalThis.window = { XMLHttpRequest };
