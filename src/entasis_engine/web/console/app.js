// @ts-check
/** Puts the page together: which instrument is shown, whose key is used, and what goes where. */
import { Analysis } from "./analysis.js";
import { Api, ApiError } from "./api.js";
import { Book, DEPTH } from "./book.js";
import { Chart, INTERVALS } from "./chart.js";
import { announce, byId, put, segments, tell } from "./dom.js";
import { direction, group, sentence } from "./format.js";
import { language, t, translate } from "./i18n.js";
import { Order } from "./order.js";
import { Positions } from "./positions.js";
import { arrow, Prices } from "./prices.js";
import { onFrame } from "./schedule.js";
import { Socket } from "./socket.js";

const KEY = "entasis.key";
const HISTORY_CANDLES = 500;
const RETRY_SECONDS = 10;
const SKIPPED_SECONDS = 5;

const api = new Api();
const socket = new Socket({ changed: connectionChanged, refused: keyRefused });
const prices = new Prices(choose);
const book = new Book();
const chart = new Chart();
const analysis = new Analysis(api, (answer) => {
  forecast = answer;
  chart.forecast(answer);
});
const order = new Order(api, (symbol) => prices.of(symbol).price);
const positions = new Positions(api, () => analysis.positionsChanged());

let symbol = "";
let interval = "1m";
let account = "";
/** @type {string[]} */
let scopes = [];
/** Symbols whose data has stopped. @type {Set<string>} */
const silent = new Set();
let anyData = false;
let historyTimer = 0;
let listTimer = 0;
/** Ends the subscriptions of the chosen instrument. @type {(() => void)[]} */
let chosen = [];
/** @type {Map<string, (() => void)[]>} */
const listed = new Map();
/** @type {(() => void) | undefined} */
let endPositions;
/** The day's candle of each instrument. @type {Map<string, any>} */
const days = new Map();
/** @type {any} */
let forecast;

// ---- Instruments

/** @param {string[]} symbols */
function follow(symbols) {
  for (const [one, ends] of listed) {
    if (symbols.includes(one)) continue;
    for (const end of ends) end();
    listed.delete(one);
    silent.delete(one);
  }
  prices.list(symbols);
  for (const one of symbols) {
    if (listed.has(one)) continue;
    const error = (/** @type {any} */ problem) => streamFailed(one, problem);
    listed.set(one, [
      socket.subscribe({ channel: "market", symbol: one }, { message: (trade) => traded(one, trade.price), error }),
      socket.subscribe({ channel: "candles", symbol: one, interval: "1d" }, { message: (candle) => dayChanged(one, candle) }),
    ]);
  }
  if (!symbols.includes(symbol) && symbols.length) choose(symbols[0]);
}

/** @param {string} one @param {string} price */
function traded(one, price) {
  if (silent.delete(one) || !anyData) {
    anyData = true;
    interruptionsChanged();
  }
  prices.trade(one, price);
  if (one === symbol) onFrame(drawLast);
}

/** @param {string} one @param {any} candle */
function dayChanged(one, candle) {
  days.set(one, candle);
  prices.day(one, candle.open);
  if (one !== symbol) return;
  if (interval === "1d") candleChanged(candle);
  onFrame(drawLast);
}

/** @param {string} one @param {any} problem */
function streamFailed(one, problem) {
  const reason = problem.details?.[0]?.reason;
  if (reason === "MARKET_001") follow([...listed.keys()].filter((other) => other !== one));
  else if (reason === "MARKET_002" || reason === "SERVER_002") {
    silent.add(one);
    interruptionsChanged();
  }
}

function interruptionsChanged() {
  for (const one of listed.keys()) prices.interrupted(one, silent.has(one));
  connectionChanged();
}

function drawLast() {
  const shown = prices.of(symbol);
  const day = days.get(symbol);
  arrow(byId("last"), shown.price, shown.tick);
  put(byId("last-change"), shown.change);
  byId("last-change").className = direction(shown.change.replace("+", ""));
  put(byId("day-high"), group(day?.high));
  put(byId("day-low"), group(day?.low));
  put(byId("day-volume"), group(day?.volume));
  document.title = shown.price ? `${group(shown.price)} ${symbol} · Entasis` : "Entasis Engine";
  order.estimate();
}

/** Show another instrument. @param {string} one */
function choose(one) {
  if (one === symbol) return;
  symbol = one;
  prices.choose(one);
  order.choose(one);
  put(byId("chart-title"), one);
  put(byId("book-symbol"), one);
  book.show(undefined);
  showChosen();
  analysis.show(one);
  onFrame(drawLast);
}

function showChosen() {
  for (const end of chosen) end();
  const [one, length] = [symbol, interval];
  chart.show(one, length);
  chart.note(t("chart.loading"));
  chosen = [socket.subscribe({ channel: "orderbook", symbol: one, depth: DEPTH }, { message: (message) => book.show(message) })];
  // The days are followed for the list already.
  const reader = { message: candleChanged, skipped: loadHistorySoon };
  if (length !== "1d") chosen.push(socket.subscribe({ channel: "candles", symbol: one, interval: length }, reader));
  else if (days.has(one)) candleChanged(days.get(one));
  chart.forecast(forecast);
  void loadHistory();
}

/** @param {any} candle */
function candleChanged(candle) {
  if (chart.update(candle)) void loadHistory();
}

/** Where changes are skipped again and again, history is read once in a while. */
function loadHistorySoon() {
  historyTimer ||= setTimeout(loadHistory, SKIPPED_SECONDS * 1000);
}

async function loadHistory() {
  clearTimeout(historyTimer);
  historyTimer = 0;
  const [one, length] = [symbol, interval];
  if (!api.key) return chart.note(t("needs.history"));
  try {
    const { data } = await api.get(`/market/history/${one}`, { interval: length, page_size: HISTORY_CANDLES });
    if (one !== symbol || length !== interval) return;
    chart.load(data);
    chart.note("");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (one !== symbol || length !== interval) return;
    const again = error.retrySeconds ?? RETRY_SECONDS;
    chart.note(t("retry", { message: sentence(error.message), n: again }));
    historyTimer = setTimeout(loadHistory, again * 1000);
  }
}

// ---- The connection

const AWAY = ["reconnecting", "offline"];
let lastMessages = 0;

function connectionChanged() {
  const { state } = socket;
  const connection = byId("connection");
  const before = connection.dataset.state;
  if (before === "connected" && AWAY.includes(state)) announce(t("state.lost"));
  if (AWAY.includes(before) && state === "connected") announce(t("state.restored"));
  connection.dataset.state = state;
  put(connection, t(`state.${state}`));
  const feed = byId("feed");
  const live = state === "connected" && anyData;
  feed.dataset.state = silent.size ? "down" : live ? "live" : "waiting";
  const which = silent.size === listed.size ? t("feed.all") : [...silent].join(", ");
  put(feed, silent.size ? t("feed.down", { symbols: which }) : t(live ? "feed.live" : "feed.waiting"));
}

/** Once a second: how fresh and how busy the connection is. */
function tick() {
  const age = (performance.now() - socket.heard) / 1000;
  put(byId("age"), socket.messages ? t("status.seconds", { n: age.toFixed(age < 10 ? 1 : 0) }) : "–");
  put(byId("rate"), String(socket.messages - lastMessages));
  put(byId("gaps"), String(socket.gaps));
  put(byId("reconnections"), String(socket.reconnections));
  lastMessages = socket.messages;
}

// ---- The key

/** Use a key, or none. @param {string} key */
function useKey(key) {
  api.key = key;
  endPositions?.();
  endPositions = undefined;
  if (key) {
    sessionStorage.setItem(KEY, key);
    endPositions = socket.subscribe(
      { channel: "positions" },
      { message: (message) => positions.receive(message), error: (problem) => positions.failed(problem.message) },
    );
  } else {
    sessionStorage.removeItem(KEY);
    account = "";
    scopes = [];
  }
  socket.open(key);
  positions.again();
  order.translate();
  analysis.again();
  drawKey();
  if (symbol) void loadHistory();
  void listInstruments();
}

/** Whatever the engine lists, which it may tell without a key. */
async function listInstruments() {
  clearTimeout(listTimer);
  const { key } = api;
  try {
    const { instruments } = await api.get("/market/instruments");
    if (key !== api.key) return;
    follow(instruments.map((/** @type {any} */ one) => one.symbol));
    order.list(instruments);
    order.choose(symbol);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (key !== api.key) return;
    if (key) announce(error.message);
    else if (error.status === 401) prices.wait("needs.prices");
    const refused = error.status >= 400 && error.status < 500 && error.status !== 429;
    if (!refused) listTimer = setTimeout(listInstruments, (error.retrySeconds ?? RETRY_SECONDS) * 1000);
  }
}

/** Ask whose a key is that was kept or pasted; one that the engine refuses is not kept. @param {string} key @param {boolean} pasted */
async function checkKey(key, pasted) {
  const asking = new Api();
  asking.key = key;
  try {
    ({ account, scopes } = await asking.identity());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (pasted || error.status === 401 || error.status === 403) keyRefused(error.message);
    return;
  }
  if (pasted) {
    byId("key").value = "";
    keyRefused("");
    useKey(key);
    announce(t("key.accepted", { account }));
  }
  drawKey();
}

/** @param {string} message in the engine's words; empty where all is well */
function keyRefused(message) {
  if (api.key && message) useKey("");
  tell(byId("key-error"), message);
  byId("key").setAttribute("aria-invalid", String(Boolean(message)));
}

function drawKey() {
  const known = Boolean(api.key);
  byId("key-form").hidden = known;
  byId("key-why").hidden = known;
  byId("account").hidden = !known;
  put(byId("account-name"), t("key.account", { account }));
  byId("account-name").title = t("key.scopes", { scopes: scopes.join(", ") });
}

// ---- Language and theme

function speak() {
  translate();
  byId("theme").value = document.documentElement.dataset.theme;
  byId("language").value = language();
  segments(byId("intervals"), Object.keys(INTERVALS).map((one) => [one, one]), interval, (value) => {
    interval = value;
    showChosen();
  });
  prices.draw();
  book.translate();
  analysis.translate();
  positions.translate();
  order.translate();
  if (symbol && !api.key) chart.note(t("needs.history"));
  drawKey();
  connectionChanged();
  tick();
}

byId("theme").addEventListener("change", (/** @type {any} */ event) => {
  sessionStorage.setItem("entasis.theme", event.target.value);
  document.documentElement.dataset.theme = event.target.value;
  chart.restyle();
});
byId("language").addEventListener("change", (/** @type {any} */ event) => {
  sessionStorage.setItem("entasis.language", event.target.value);
  document.documentElement.lang = event.target.value;
  speak();
});
byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const key = byId("key").value.trim();
  if (key) void checkKey(key, true);
});
byId("forget").addEventListener("click", () => {
  useKey("");
  announce(t("key.forgotten"));
  byId("key").focus();
});

speak();
const kept = sessionStorage.getItem(KEY) ?? "";
useKey(kept);
if (kept) void checkKey(kept, false);
setInterval(tick, 1000);
