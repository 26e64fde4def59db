// @ts-check
/** The order book: its best levels, how much stands up to each, and the spread. */
import { byId, el, put } from "./dom.js";
import { add, group, subtract } from "./format.js";
import { t } from "./i18n.js";
import { onFrame } from "./schedule.js";

export const DEPTH = 10;

/** @typedef {[price: string, size: string]} Level */

export class Book {
  /** @type {{bids: Level[], asks: Level[]} | undefined} */
  #book;
  #box = byId("book");
  #spread = el("span");
  /** @type {Record<"asks" | "bids", HTMLElement[]>} */
  #rows = { asks: [], bids: [] };

  constructor() {
    this.translate();
  }

  /** Build the two tables, in the page's language. */
  translate() {
    const table = (/** @type {"asks" | "bids"} */ side) => {
      this.#rows[side] = Array.from({ length: DEPTH }, () =>
        el("tr", { role: "row" }, ...["", "", ""].map(() => el("td", { role: "cell" }))),
      );
      const heads = ["book.price", "book.size", "book.total"].map((name) => el("th", { scope: "col", role: "columnheader" }, t(name)));
      return el(
        "table",
        { className: side, role: "table", "aria-label": t(`book.${side}`) },
        el("thead", { role: "rowgroup", className: side === "bids" ? "unseen" : "" }, el("tr", { role: "row" }, ...heads)),
        el("tbody", { role: "rowgroup" }, ...this.#rows[side]),
      );
    };
    const spread = el("p", { className: "spread" }, el("span", { className: "quiet" }, t("book.spread")), " ", this.#spread);
    this.#box.replaceChildren(table("asks"), spread, table("bids"));
    onFrame(this.#draw);
  }

  /** @param {{bids: Level[], asks: Level[]} | undefined} book */
  show(book) {
    this.#book = book;
    onFrame(this.#draw);
  }

  #draw = () => {
    const book = this.#book;
    byId("book-empty").hidden = Boolean(book);
    this.#box.hidden = !book;
    if (!book) return;
    const [asks, bids] = [totals(book.asks), totals(book.bids)];
    const most = Math.max(Number(asks.at(-1) ?? 0), Number(bids.at(-1) ?? 0));
    fill(this.#rows.asks, book.asks, asks, most, true);
    fill(this.#rows.bids, book.bids, bids, most, false);
    const [ask, bid] = [book.asks[0]?.[0], book.bids[0]?.[0]];
    const points = ask && bid ? ((Number(ask) / Number(bid) - 1) * 10_000).toPrecision(2) : "";
    put(this.#spread, ask && bid ? `${group(subtract(ask, bid))} · ${points} bp` : "–");
  };
}

/** @param {Level[]} levels @returns {string[]} what stands up to each level */
function totals(levels) {
  let sum = "0";
  return levels.map(([, size]) => (sum = add(sum, size)));
}

/** @param {HTMLElement[]} rows @param {Level[]} levels @param {string[]} sums @param {number} most @param {boolean} upwards the best at the bottom */
function fill(rows, levels, sums, most, upwards) {
  rows.forEach((row, index) => {
    const level = upwards ? rows.length - 1 - index : index;
    const [price, size] = levels[level] ?? ["", ""];
    const [first, second, third] = row.children;
    put(first, price && group(price));
    put(second, size && group(size));
    put(third, size && group(sums[level]));
    row.style.setProperty("--depth", size ? `${((Number(sums[level]) / most) * 100).toFixed(1)}%` : "0%");
  });
}
