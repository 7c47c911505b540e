// The coordinator's HTTP interface (`/v1`): questions, answers, problem documents, and the events of
// a rotation. An EventSource cannot carry a token, so the stream is read by hand.

/** Longest that an answer is waited for, in ms. */
const PATIENCE_MS = 40_000;
/** The server says something every 15 s; a stream that is silent for longer than this is broken. */
const SILENCE_MS = 40_000;
/** First and longest pause before a stream is asked for again, in ms. */
const PAUSE_MS = [200, 5_000];

/** What a server answered instead of what was asked for, or that it did not answer. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    this.document = document;
  }

  get status() {
    return this.document.status;
  }
}

/** Talks to the coordinator that gave this page, with the token of whoever signed in. */
export class Client {
  #token;
  /** Milliseconds that the server's clock is ahead of the browser's, to a second. */
  #ahead = 0;
  /** Is told when a token is not believed any more. */
  onUnauthenticated = () => {};

  constructor(token) {
    this.#token = token;
  }

  get(path, { signal } = {}) {
    return this.#json("GET", path, undefined, signal);
  }

  post(path, body, { signal } = {}) {
    return this.#json("POST", path, body, signal);
  }

  /** A document as the server gives it, to be kept as a file. */
  async file(path, { signal } = {}) {
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    const response = await this.#send("GET", path, undefined, {}, both);
    try {
      return await response.blob();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem(unreachable("The answer of the coordinator broke off."));
    }
  }

  /** The server's time, in ms since 1970. */
  now() {
    return Date.now() + this.#ahead;
  }

  async #json(method, path, body, signal) {
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    const response = await this.#send(method, path, body, {}, both);
    try {
      return await response.json();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem(unreachable("The answer of the coordinator broke off."));
    }
  }

  async #send(method, path, body, headers, signal) {
    const request = {
      method,
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      headers: { accept: "application/json", ...headers, authorization: `Bearer ${this.#token}` },
    };
    if (body !== undefined) {
      request.body = JSON.stringify(body);
      request.headers["content-type"] = "application/json";
    }
    let response;
    try {
      response = await fetch(new URL(`../v1/${path}`, document.baseURI), request);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(unreachable(`The coordinator at ${location.host} does not answer.`));
    }
    const date = Date.parse(response.headers.get("date") ?? "");
    if (!Number.isNaN(date)) this.#ahead = date + 500 - Date.now();
    if (response.ok) return response;
    const problem = new Problem(await problemOf(response));
    if (response.status === 401) this.onUnauthenticated(problem);
    throw problem;
  }

  /**
   * Every event of a rotation, each once and in order, over lost connections, until it has ended or
   * `signal` says so. `onLink` hears whether the server is there; what `isStale` is left out, and no
   * end.
   */
  async *events(rotation, { signal, onLink = () => {}, isStale = () => false }) {
    let lastId = "";
    let pause = PAUSE_MS[0];
    for (;;) {
      try {
        const headers = { accept: "text/event-stream" };
        if (lastId) headers["last-event-id"] = lastId;
        const silence = new Silence(signal);
        const path = `rotations/${encodeURIComponent(rotation)}/events`;
        const response = await this.#send("GET", path, undefined, headers, silence.signal);
        // By the standard: there is nothing more, and the client does not come back.
        if (response.status === 204) return;
        onLink(true);
        for await (const found of messages(response.body, silence)) {
          if (found.retry !== undefined) pause = found.retry;
          if (found.event !== "message") continue;
          lastId = found.id;
          pause = PAUSE_MS[0];
          const event = JSON.parse(found.data);
          if (isStale(event)) continue;
          yield event;
          if (isEnded(event.rotation)) return;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && !isPassing(error)) throw error;
        onLink(false);
      }
      await sleep(pause, signal);
      if (signal.aborted) return;
      pause = Math.min(pause * 2, PAUSE_MS[1]);
    }
  }
}

export const isEnded = (rotation) => rotation.phase === "done" || rotation.phase === "aborted";

/** Whether the same question may be answered in a while. */
export const isPassing = (problem) =>
  problem.status === 0 || [429, 502, 503, 504].includes(problem.status);

/** Waits; less long if `signal` says so. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

function unreachable(detail) {
  return {
    title: "No answer",
    status: 0,
    code: "unreachable",
    detail,
    safe: "No key is lost: a rotation that runs goes on without this page.",
    next_command: null,
  };
}

async function problemOf(response) {
  const isProblem = (response.headers.get("content-type") ?? "").startsWith(
    "application/problem+json",
  );
  const found = isProblem ? await response.json().catch(() => null) : null;
  if (found) return found;
  return {
    title: response.statusText || "Error",
    status: response.status,
    code: "unreadable",
    detail: `What answered at ${location.host} is no coordinator, or something stands before it.`,
    safe: "Nothing is known to have changed.",
    next_command: null,
  };
}

/** Ends a stream that nobody has heard of for too long. */
class Silence {
  #own = new AbortController();
  #timer;

  constructor(outer) {
    this.signal = AbortSignal.any([outer, this.#own.signal]);
    this.heard();
  }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#own.abort(), SILENCE_MS);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

async function* messages(body, silence) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      silence.heard();
      yield* parser.feed(value);
    }
  } finally {
    silence.end();
    reader.cancel().catch(() => {});
  }
}

/** Server-sent events out of chunks that may end anywhere (HTML standard, section 9.2). */
export class Parser {
  #rest = "";
  #fields = { event: "message", data: [] };
  #id = "";

  /** Takes a chunk and gives the events that it completes. */
  *feed(chunk) {
    this.#rest += chunk;
    for (;;) {
      const end = this.#rest.search(/\r\n|\n|\r(?!$)/);
      if (end < 0) return;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
      const event = this.#line(line);
      if (event) yield event;
    }
  }

  #line(line) {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#fields.data.push(value);
    else if (name === "event") this.#fields.event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.#fields.retry = Number(value);
    return null;
  }

  #end() {
    const { event, data, retry } = this.#fields;
    this.#fields = { event: "message", data: [] };
    return data.length ? { event, retry, id: this.#id, data: data.join("\n") } : null;
  }
}
