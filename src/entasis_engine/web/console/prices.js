// @ts-check
/** The list of instruments with their last price and the day's change; one of them is chosen. */
import { byId, el, put } from "./dom.js";
import { change, compare, direction, group } from "./format.js";
import { t } from "./i18n.js";
import { onFrame } from "./schedule.js";

/** @typedef {{price: string, tick: -1 | 0 | 1, open?: string, down: boolean, row: HTMLElement}} Line */

export class Prices {
  /** @type {Map<string, Line>} */
  #lines = new Map();
  #choose;
  #body = document.querySelector("#prices tbody");
  #chosen = "";

  /** @param {(symbol: string) => void} choose */
  constructor(choose) {
    this.#choose = choose;
  }

  /** @param {string[]} symbols */
  list(symbols) {
    for (const [symbol, line] of this.#lines) {
      if (symbols.includes(symbol)) continue;
      line.row.remove();
      this.#lines.delete(symbol);
    }
    for (const symbol of symbols) {
      if (this.#lines.has(symbol)) continue;
      const button = el("button", { type: "button", onclick: () => this.#choose(symbol) }, symbol);
      const row = el("tr", {}, el("th", { scope: "row" }, button), el("td"), el("td"));
      row.dataset.symbol = symbol;
      this.#lines.set(symbol, { price: "", tick: 0, down: false, row });
      this.#body?.append(row);
    }
    this.wait("prices.empty");
    this.choose(this.#chosen);
    onFrame(this.draw);
  }

  /** Say why there are none yet. @param {string} name of the words */
  wait(name) {
    byId("prices-empty").dataset.t = name;
    put(byId("prices-empty"), t(name));
  }

  /** @param {string} symbol */
  choose(symbol) {
    this.#chosen = symbol;
    for (const [one, { row }] of this.#lines) row.querySelector("button")?.setAttribute("aria-current", String(one === symbol));
  }

  /** @param {string} symbol @param {string} price */
  trade(symbol, price) {
    const line = this.#lines.get(symbol);
    if (!line) return;
    if (line.price) line.tick = compare(price, line.price) || line.tick;
    line.price = price;
    onFrame(this.draw);
  }

  /** The price that the day (UTC) began with. @param {string} symbol @param {string} open */
  day(symbol, open) {
    const line = this.#lines.get(symbol);
    if (line) line.open = open;
    onFrame(this.draw);
  }

  /** @param {string} symbol @param {boolean} down whether its data has stopped */
  interrupted(symbol, down) {
    const line = this.#lines.get(symbol);
    if (line) line.down = down;
    onFrame(this.draw);
  }

  /** What is shown of a symbol, elsewhere too. @param {string} symbol */
  of(symbol) {
    const line = this.#lines.get(symbol);
    return { price: line?.price ?? "", change: line?.open && line.price ? change(line.open, line.price) : "–", tick: line?.tick ?? 0 };
  }

  draw = () => {
    byId("prices-empty").hidden = [...this.#lines.values()].some((line) => line.price);
    for (const [symbol, line] of this.#lines) {
      const [, last, day] = /** @type {any} */ (line.row.children);
      const shown = this.of(symbol);
      arrow(last, shown.price, line.tick);
      put(day, line.down ? t("feed.mark") : shown.change);
      day.className = line.down ? "stale" : direction(shown.change.replace("+", ""));
    }
  };
}

/** A price, with an arrow of the last tick by its class. @param {HTMLElement} element @param {string} price @param {number} tick */
export function arrow(element, price, tick) {
  put(element, group(price));
  element.className = tick > 0 ? "tick up" : tick < 0 ? "tick down" : "tick";
}
