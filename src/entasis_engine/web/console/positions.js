// @ts-check
/** Open positions as the stream tells them, what the account has, and the dialog that closes one. */
import { ApiError, newIdempotencyKey } from "./api.js";
import { announce, byId, el, empty, facts, put, tell } from "./dom.js";
import { direction, group, sentence, signed } from "./format.js";
import { t } from "./i18n.js";
import { onFrame, Poll } from "./schedule.js";

const BALANCE_SECONDS = 5;
const ENDED = ["closed", "liquidated"];

/**
 * @typedef {{position_id: string, symbol: string, type: string, leverage: string, size: string, entry_price: string,
 *   current_price: string, pnl: string, margin: string, liquidation_price: string, status: string}} Position
 * @typedef {{currency: string, balance: string, equity: string, free_margin: string, used_margin: string, unrealised_pnl: string}} Balance
 */

const COLUMNS = ["symbol", "size", "entry", "current", "pnl", "margin", "liquidation"];

export class Positions {
  #api;
  #changed;
  /** @type {Map<string, Position> | undefined} nothing is known yet */
  #open;
  /** @type {Balance[]} */
  balances = [];
  #problem = "";
  #box = byId("positions");
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  #dialog = new CloseDialog(this);
  #poll = new Poll(() => this.#askBalance(), BALANCE_SECONDS);

  /** @param {import("./api.js").Api} api @param {() => void} changed other positions are open, or other sizes */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
  }

  get api() {
    return this.#api;
  }

  /** Begin anew with the key that there is, or with none. */
  again() {
    this.#open = undefined;
    this.balances = [];
    this.#problem = "";
    this.#rebuild();
    if (this.#api.key) this.#poll.again();
    else this.#poll.stop();
    this.#drawBalances();
  }

  /** A message of the channel `positions`. @param {{event: string, positions: Position[]}} message */
  receive({ event, positions }) {
    this.#problem = "";
    const before = this.#open;
    if (event === "snapshot" || !before) this.#open = new Map();
    const open = /** @type {Map<string, Position>} */ (this.#open);
    for (const one of positions) {
      if (ENDED.includes(one.status)) open.delete(one.position_id);
      else open.set(one.position_id, one);
      const side = t(`side.${one.type}`);
      if (event !== "snapshot" && event !== "price") {
        announce(t(`positions.${event}`, { side, size: one.size, symbol: one.symbol, pnl: `${signed(one.pnl)} ${one.symbol.split("-")[1]}` }));
      }
    }
    if (event !== "price") {
      this.#poll.again();
      this.#changed();
    }
    onFrame(this.#draw);
  }

  /** Why the stream does not come. @param {string} message */
  failed(message) {
    this.#problem = message;
    onFrame(this.#draw);
  }

  translate() {
    this.#rebuild();
    this.#drawBalances();
  }

  /** @param {string} id */
  position(id) {
    return this.#open?.get(id);
  }

  async #askBalance() {
    const { key } = this.#api;
    try {
      const { balances } = await this.#api.get("/portfolio/balance");
      if (key !== this.#api.key) return;
      this.balances = balances;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (key !== this.#api.key) return;
      if (error.status === 403) this.failed(error.message);
    }
    this.#drawBalances();
  }

  #drawBalances() {
    byId("balances").replaceChildren(
      ...this.balances.map((one) =>
        facts([
          [`${t("balance.equity")} (${one.currency})`, group(one.equity), "strong"],
          [t("balance.balance"), group(one.balance)],
          [t("balance.free"), group(one.free_margin)],
          [t("balance.used"), group(one.used_margin)],
          [t("balance.pnl"), signed(one.unrealised_pnl), direction(one.unrealised_pnl)],
        ]),
      ),
    );
  }

  #rebuild() {
    this.#rows.clear();
    this.#box.replaceChildren();
    onFrame(this.#draw);
  }

  #draw = () => {
    if (!this.#api.key) return this.#box.replaceChildren(empty(t("needs.positions")));
    if (this.#problem) return this.#say(empty(this.#problem, true));
    if (!this.#open) return this.#say(empty(t("loading")));
    if (this.#open.size === 0) return this.#say(empty(t("positions.empty")));
    if (this.#rows.size === 0) this.#box.replaceChildren(this.#table());
    const body = /** @type {HTMLElement} */ (this.#box.querySelector("tbody"));
    for (const [id, row] of this.#rows) {
      if (this.#open.has(id)) continue;
      const focused = row.contains(document.activeElement);
      row.remove();
      this.#rows.delete(id);
      if (focused) /** @type {HTMLElement} */ (this.#box.firstElementChild).focus();
    }
    for (const [id, one] of this.#open) {
      const known = this.#rows.get(id);
      const row = known ?? this.#row(one);
      if (!known) {
        this.#rows.set(id, row);
        body.append(row);
      }
      fill(row, one);
    }
  };

  /** @param {HTMLElement} words in place of the table */
  #say(words) {
    this.#rows.clear();
    this.#box.replaceChildren(words);
  }

  #table() {
    const heads = COLUMNS.map((name) => el("th", { scope: "col", role: "columnheader" }, t(`positions.${name}`)));
    heads.push(el("th", { scope: "col", role: "columnheader" }, el("span", { className: "unseen" }, t("positions.action"))));
    return el(
      "div",
      { className: "wide", tabIndex: 0, role: "group", "aria-label": t("positions") },
      el(
        "table",
        { className: "cards", role: "table", "aria-label": t("positions") },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
        el("tbody", { role: "rowgroup" }),
      ),
    );
  }

  /** @param {Position} one @returns {HTMLElement} */
  #row(one) {
    const side = t(`side.${one.type}`);
    const name = el(
      "th",
      { scope: "row", role: "rowheader" },
      one.symbol,
      " ",
      el("span", { className: `side ${one.type === "long" ? "up" : "down"}` }, `${side} ${one.leverage}×`),
    );
    const cells = COLUMNS.slice(1).map((column) => el("td", { role: "cell", "data-label": t(`positions.${column}`) }));
    const button = el(
      "button",
      { type: "button", "aria-label": t("close.which", { side, symbol: one.symbol }), onclick: () => this.#dialog.open(one.position_id) },
      t("close"),
    );
    return el("tr", { role: "row", "data-position": one.position_id }, name, ...cells, el("td", { role: "cell", className: "action" }, button));
  }
}

/** @param {HTMLElement} row @param {Position} one */
function fill(row, one) {
  const values = [group(one.size), group(one.entry_price), group(one.current_price), signed(one.pnl), group(one.margin), group(one.liquidation_price)];
  values.forEach((value, index) => put(row.children[index + 1], value));
  row.children[4].className = direction(one.pnl);
}

/** Asks how much of a position to close, and does it once. */
class CloseDialog {
  #positions;
  #dialog = byId("close");
  #id = "";
  /** @type {{body: string, key: string} | undefined} what was sent without an answer */
  #pending;

  /** @param {Positions} positions */
  constructor(positions) {
    this.#positions = positions;
    byId("close-cancel").addEventListener("click", () => this.#dialog.close());
    byId("close-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    });
  }

  /** @param {string} id of the position */
  open(id) {
    const one = this.#positions.position(id);
    if (!one) return;
    this.#id = id;
    this.#pending = undefined;
    byId("close-title").textContent = t("close.title", { side: t(`side.${one.type}`), size: one.size, symbol: one.symbol });
    const size = byId("close-size");
    size.value = "";
    size.placeholder = one.size;
    this.#problem("", "");
    this.#dialog.showModal();
  }

  async #submit() {
    const body = byId("close-size").value.trim() ? { size: byId("close-size").value.trim() } : {};
    const text = JSON.stringify(body);
    if (this.#pending?.body !== text) this.#pending = { body: text, key: newIdempotencyKey() };
    const button = byId("close-confirm");
    button.disabled = true;
    this.#problem("", "");
    try {
      await this.#positions.api.write(`/portfolio/positions/${this.#id}:close`, body, this.#pending.key);
      this.#dialog.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.unknown) this.#pending = undefined;
      const field = error.fields.size ?? "";
      this.#problem(field, field ? "" : error.unknown ? t("order.unknown", { message: sentence(error.message) }) : error.message);
      if (field) byId("close-size").focus();
    } finally {
      button.disabled = false;
    }
  }

  /** @param {string} field @param {string} form */
  #problem(field, form) {
    tell(byId("close-size-error"), field);
    byId("close-size").setAttribute("aria-invalid", String(Boolean(field)));
    tell(byId("close-error"), form);
  }
}
