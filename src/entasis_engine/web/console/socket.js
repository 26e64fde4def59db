// @ts-check
/** One WebSocket to /ws/market: it comes back by itself, resumes, and says when data stops. See docs/websocket.md. */

const HEARTBEAT_SECONDS = 5;
const SILENCE_MS_MAX = 3 * HEARTBEAT_SECONDS * 1000;
const BACKOFF_MS = { first: 250, most: 8000 };
/** Close codes after which the same credentials would be refused again. */
const REFUSED = [4401, 4403];

/**
 * @typedef {"connecting" | "connected" | "reconnecting" | "offline" | "refused"} State
 * @typedef {{channel: string, symbol?: string, depth?: number, interval?: string}} Stream
 * @typedef {{message: (data: any) => void, error?: (error: any) => void, skipped?: () => void}} Reader
 * @typedef {{stream: Stream, reader: Reader, seq?: number}} Subscription
 */

export class Socket {
  /** @type {State} */
  state = "connecting";
  /** When the last message came, by `performance.now()`. */
  heard = 0;
  /** How often numbers of trades and positions were skipped: updates that were missed. */
  gaps = 0;
  messages = 0;
  reconnections = 0;

  #key = "";
  #events;
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {Map<string, Subscription>} by id */
  #subscriptions = new Map();
  #nextId = 0;
  #failures = 0;
  #reconnectTimer = 0;
  #authTimer = 0;

  /** @param {{changed: () => void, refused: (message: string) => void}} events the key was refused */
  constructor(events) {
    this.#events = events;
    addEventListener("offline", () => this.#set("offline"));
    addEventListener("online", () => this.#connect());
    setInterval(() => this.#watch(), 1000);
  }

  /** Connect as whoever the key belongs to; a socket cannot change its account, so a new one is made. @param {string} key */
  open(key) {
    this.#key = key;
    this.#failures = 0;
    this.#set("connecting");
    this.#connect();
  }

  /** @param {Stream} stream @param {Reader} reader @returns {() => void} ends it */
  subscribe(stream, reader) {
    const id = `s${++this.#nextId}`;
    this.#subscriptions.set(id, { stream, reader });
    if (this.state === "connected") this.#ask(id);
    return () => {
      this.#subscriptions.delete(id);
      const alone = ![...this.#subscriptions.values()].some((one) => same(one.stream, stream));
      if (alone && this.state === "connected") this.#send({ action: "unsubscribe", ...stream });
    };
  }

  #connect() {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#authTimer);
    this.#drop();
    const url = new URL("/ws/market", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.heard = performance.now();
    socket.onopen = () => (this.#key ? this.#authenticate() : this.#ready());
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event);
  }

  /** Let go of the socket that there is, whatever it still has to say. */
  #drop() {
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  /** @param {CloseEvent} event */
  #closed(event) {
    this.#socket = undefined;
    if (REFUSED.includes(event.code)) {
      this.#set("refused");
      this.#events.refused(event.reason);
    } else this.#retry();
  }

  #retry() {
    clearTimeout(this.#authTimer);
    this.#drop();
    this.#set(navigator.onLine ? "reconnecting" : "offline");
    // Half of the wait is by chance, so that those who lost the same engine do not all come back at once.
    const wait = Math.min(BACKOFF_MS.first * 2 ** this.#failures++, BACKOFF_MS.most) * (0.5 + Math.random() / 2);
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = setTimeout(() => this.#connect(), wait);
  }

  /** A socket that is open and says nothing, not even that it lives, is none. */
  #watch() {
    if (this.#socket && performance.now() - this.heard > SILENCE_MS_MAX) this.#retry();
  }

  #authenticate() {
    this.#send({ action: "auth", api_key: this.#key, id: "auth" });
  }

  #ready() {
    if (this.#failures) this.reconnections++;
    this.#failures = 0;
    this.#set("connected");
    this.#send({ action: "heartbeat", seconds: HEARTBEAT_SECONDS });
    for (const id of this.#subscriptions.keys()) this.#ask(id);
  }

  /** @param {string} id */
  #ask(id) {
    const { stream, seq } = /** @type {Subscription} */ (this.#subscriptions.get(id));
    const resume = stream.channel === "market" && seq !== undefined ? { [/** @type {string} */ (stream.symbol)]: seq } : undefined;
    this.#send({ action: "subscribe", ...stream, id, resume });
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #receive(message) {
    this.heard = performance.now();
    this.messages++;
    if (message.type === "ack") this.#acknowledged(message);
    else if (message.type === "error") this.#failed(message);
    else if (message.channel) this.#data(message);
  }

  /** @param {any} message */
  #acknowledged(message) {
    if (message.id === "auth") this.#ready();
    for (const result of message.results ?? []) {
      if (result.error) this.#subscriptions.get(message.id)?.reader.error?.(result.error);
    }
  }

  /** @param {any} message */
  #failed(message) {
    const reason = message.details?.[0]?.reason;
    if (message.id === "auth") {
      if (reason === "AUTH_001" || reason === "AUTH_003") {
        this.#drop();
        this.#set("refused");
        this.#events.refused(message.message);
      } else this.#authTimer = setTimeout(() => this.#authenticate(), 2000); // the engine is away, or has enough of us
      return;
    }
    for (const [id, { stream, reader }] of this.#subscriptions) {
      const meant = message.id === undefined ? concerns(message, stream) : message.id === id;
      if (meant) reader.error?.(message);
    }
  }

  /** @param {any} message */
  #data(message) {
    for (const [id, one] of this.#subscriptions) {
      if (!concerns(message, one.stream)) continue;
      if (this.#skipped(message, one)) {
        // Of trades only the last is shown, so one that was missed is only counted; positions begin anew.
        if (message.channel !== "candles") this.gaps++;
        if (message.channel === "positions") this.#ask(id);
        one.reader.skipped?.();
      }
      one.seq = message.seq;
      one.reader.message(message);
    }
  }

  /** Books skip numbers as they like: each replaces the one before. @param {any} message @param {Subscription} one */
  #skipped(message, one) {
    if (one.seq === undefined || message.event === "snapshot" || message.channel === "orderbook") return false;
    return message.seq > one.seq + 1;
  }

  /** @param {State} state */
  #set(state) {
    this.state = state;
    this.#events.changed();
  }
}

/** @param {any} message @param {Stream} stream */
const concerns = (message, stream) =>
  (message.channel === undefined || message.channel === stream.channel) &&
  (message.symbol === undefined || message.symbol === stream.symbol) &&
  (message.depth === undefined || message.depth === stream.depth) &&
  (message.interval === undefined || message.interval === stream.interval);

/** @param {Stream} a @param {Stream} b */
const same = (a, b) => a.channel === b.channel && a.symbol === b.symbol && a.depth === b.depth && a.interval === b.interval;
