// @ts-check
/** The form that opens a position: what was typed goes out as it was typed, once, and errors come back to their fields. */
import { ApiError, newIdempotencyKey } from "./api.js";
import { byId, empty, put, segments, tell } from "./dom.js";
import { group, sentence } from "./format.js";
import { t } from "./i18n.js";

/** @typedef {{symbol: string, base_currency: string, quote_currency: string, lot_size: string, max_leverage: string}} Instrument */

const FIELDS = ["type", "symbol", "size", "leverage"];
const DECIMAL = /^\d+(\.\d+)?$/;

export class Order {
  #api;
  #priceOf;
  #side = "long";
  /** @type {Instrument[]} */
  #instruments = [];
  /** @type {{body: string, key: string} | undefined} what was sent without an answer */
  #pending;

  /** @param {import("./api.js").Api} api @param {(symbol: string) => string} priceOf the last price, for an estimate */
  constructor(api, priceOf) {
    this.#api = api;
    this.#priceOf = priceOf;
    const form = byId("order");
    form.addEventListener("input", () => this.#labels());
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.translate();
  }

  /** @param {Instrument[]} instruments */
  list(instruments) {
    this.#instruments = instruments;
    byId("order-symbol").replaceChildren(...instruments.map((one) => new Option(one.symbol)));
    this.translate();
  }

  /** The instrument that was chosen elsewhere. @param {string} symbol */
  choose(symbol) {
    if (this.#instruments.some((one) => one.symbol === symbol)) byId("order-symbol").value = symbol;
    this.#labels();
  }

  translate() {
    const sides = /** @type {[string, string][]} */ ([["long", t("side.long")], ["short", t("side.short")]]);
    segments(byId("sides"), sides, this.#side, (value) => {
      this.#side = value;
      this.#labels();
    });
    const usable = Boolean(this.#api.key);
    byId("order").hidden = !usable;
    byId("order-needs").replaceChildren(...(usable ? [] : [empty(t("needs.order"))]));
    this.#problems({}, "");
    this.#labels();
  }

  #labels() {
    const one = this.#instruments.find(({ symbol }) => symbol === byId("order-symbol").value);
    put(byId("order-size-label"), t("order.size", { base: one?.base_currency ?? "" }));
    put(byId("order-leverage-label"), t("order.leverage", { most: one?.max_leverage ?? "" }));
    put(byId("order-lot"), one ? t("order.lot", { lot: one.lot_size }) : "");
    const button = byId("order-submit");
    put(button, t(`order.submit.${this.#side}`));
    button.className = `main ${this.#side === "long" ? "buy" : "sell"}`;
    this.estimate();
  }

  /** What it would cost, roughly: the engine fills at what the book gives. */
  estimate() {
    const one = this.#instruments.find(({ symbol }) => symbol === byId("order-symbol").value);
    const [size, leverage] = [byId("order-size").value.trim(), byId("order-leverage").value.trim() || "1"];
    const price = one && this.#priceOf(one.symbol);
    const usable = one && price && DECIMAL.test(size) && DECIMAL.test(leverage) && Number(leverage) > 0;
    const about = (/** @type {number} */ value) => (value < 1 ? value.toPrecision(3) : group(value.toFixed(value < 100 ? 2 : 0)));
    const notional = Number(size) * Number(price);
    put(
      byId("order-about"),
      usable ? t("order.about", { notional: about(notional), quote: one.quote_currency, margin: about(notional / Number(leverage)) }) : "",
    );
  }

  async #submit() {
    const [size, leverage] = [byId("order-size").value.trim(), byId("order-leverage").value.trim()];
    /** @type {Record<string, string>} */
    const mistakes = {};
    if (!DECIMAL.test(size)) mistakes.size = t("order.number");
    if (leverage && !DECIMAL.test(leverage)) mistakes.leverage = t("order.number");
    this.#problems(mistakes, "");
    if (Object.keys(mistakes).length) return;
    const body = { symbol: byId("order-symbol").value, size, type: this.#side, leverage };
    const text = JSON.stringify(body);
    // What had no answer keeps its key when it is sent again: it is then done once. Anything else is another order.
    if (this.#pending?.body !== text) this.#pending = { body: text, key: newIdempotencyKey() };
    const button = byId("order-submit");
    button.setAttribute("aria-disabled", "true");
    put(button, t("order.sending"));
    try {
      await this.#api.write("/portfolio/positions", body, this.#pending.key);
      this.#pending = undefined;
      byId("order-size").value = "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.unknown) this.#pending = undefined;
      const fields = Object.fromEntries(Object.entries(error.fields).filter(([field]) => FIELDS.includes(field)));
      const form = error.unknown ? t("order.unknown", { message: sentence(error.message) }) : error.message;
      this.#problems(fields, Object.keys(fields).length ? "" : form);
    } finally {
      button.removeAttribute("aria-disabled");
      this.#labels();
    }
  }

  /** @param {Record<string, string>} fields @param {string} form */
  #problems(fields, form) {
    for (const field of FIELDS) {
      tell(byId(`order-${field}-error`), fields[field] ?? "");
      document.getElementById(`order-${field}`)?.setAttribute("aria-invalid", String(field in fields));
    }
    tell(byId("order-error"), form);
    const first = FIELDS.find((field) => field in fields);
    if (first) document.getElementById(`order-${first}`)?.focus();
  }
}
