// @ts-check
/** Forecast, risk and accuracy of the chosen instrument, and the risk of the account. */
import { ApiError } from "./api.js";
import { byId, el, empty, facts, segments } from "./dom.js";
import { change, direction, group, moment, percent, sentence, share } from "./format.js";
import { t } from "./i18n.js";
import { Poll } from "./schedule.js";

const POLL_SECONDS = 60;

/** One panel that is asked for, and what it shows meanwhile. @template T */
class Panel {
  #box;
  #ask;
  #render;
  #needs;
  #api;
  /** @type {T | undefined} */
  answer;
  /** @type {string | undefined} the answer's question */
  #asked;
  #poll;

  /**
   * @param {{api: import("./api.js").Api, box: HTMLElement, needs?: string, question: () => string,
   *   ask: () => Promise<T>, render: (answer: T) => Node[], answered?: (answer: T | undefined) => void}} parts
   */
  constructor({ api, box, needs, question, ask, render, answered }) {
    this.#api = api;
    this.#box = box;
    this.#needs = needs;
    this.#render = render;
    this.#ask = async () => {
      const asked = question();
      if (this.#asked !== asked) {
        this.#asked = asked;
        this.answer = undefined;
        answered?.(undefined);
        this.#box.replaceChildren(empty(t("loading")));
      }
      try {
        const answer = await ask();
        if (asked !== question()) return undefined;
        this.answer = answer;
        answered?.(answer);
        this.draw();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (asked !== question()) return undefined;
        this.answer = undefined;
        answered?.(undefined);
        const seconds = error.retrySeconds ?? POLL_SECONDS;
        const training = error.reason === "AI_001" && error.retrySeconds !== undefined;
        const words = training ? t("forecast.training", { n: seconds }) : t("retry", { message: sentence(error.message), n: seconds });
        this.#box.replaceChildren(empty(words, !training));
        return seconds;
      }
      return undefined;
    };
    this.#poll = new Poll(() => this.#ask(), POLL_SECONDS);
  }

  /** Ask now, if there is a key to ask with. */
  again() {
    if (this.#api.key) {
      this.#poll.again();
      return;
    }
    this.#poll.stop();
    this.#asked = undefined;
    this.answer = undefined;
    this.#box.replaceChildren(...(this.#needs ? [empty(t(this.#needs))] : []));
  }

  draw() {
    if (this.answer) this.#box.replaceChildren(...this.#render(this.answer));
    else this.again();
  }
}

export class Analysis {
  horizon = "1h";
  model = "ensemble";
  #symbol = "";
  #quote = "";
  #panels;
  #forecast;
  #accuracy;
  #accountRisk;

  /** @param {import("./api.js").Api} api @param {(forecast: any) => void} forecastChanged */
  constructor(api, forecastChanged) {
    const symbol = () => this.#symbol;
    this.#forecast = new Panel({
      api,
      box: byId("forecast"),
      needs: "needs.forecast",
      question: () => `${this.#symbol} ${this.horizon} ${this.model} ${api.key}`,
      ask: () => api.get(`/analysis/prediction/${this.#symbol}`, { timeframe: this.horizon, model: this.model }),
      render: (answer) => this.#renderForecast(answer),
      answered: forecastChanged,
    });
    this.#accountRisk = new Panel({
      api,
      box: byId("account-risk"),
      question: () => api.key,
      ask: () => api.get("/analysis/portfolio/risk"),
      render: renderAccountRisk,
    });
    const risk = new Panel({
      api,
      box: byId("risk"),
      needs: "needs.risk",
      question: () => symbol() + api.key,
      ask: () => api.get(`/analysis/risk/${this.#symbol}`),
      render: (answer) => this.#renderRisk(answer),
    });
    this.#accuracy = new Panel({
      api,
      box: byId("accuracy"),
      needs: "needs.accuracy",
      question: () => symbol() + api.key,
      ask: () => api.get(`/analysis/accuracy/${this.#symbol}`),
      render: (answer) => this.#renderAccuracy(answer),
    });
    this.#panels = [this.#forecast, risk, this.#accuracy, this.#accountRisk];
    this.translate();
  }

  /** @param {string} symbol */
  show(symbol) {
    this.#symbol = symbol;
    this.#quote = symbol.split("-")[1];
    this.again();
  }

  /** Ask for everything anew: another instrument, another key, another hour. */
  again() {
    if (this.#symbol) for (const panel of this.#panels) panel.again();
  }

  /** The account has other positions than before. */
  positionsChanged() {
    this.#accountRisk.again();
  }

  translate() {
    const horizons = /** @type {[string, string][]} */ (["1h", "4h", "1d"].map((one) => [one, one]));
    segments(byId("horizons"), horizons, this.horizon, (value) => {
      this.horizon = value;
      this.#forecast.again();
    });
    const models = /** @type {[string, string][]} */ ([["ensemble", "Ensemble"], ["lstm", "LSTM"]]);
    segments(byId("models"), models, this.model, (value) => {
      this.model = value;
      this.#forecast.again();
      this.#accuracy.draw();
    });
    if (this.#symbol) for (const panel of this.#panels) panel.draw();
  }

  /** @param {any} answer */
  #renderForecast(answer) {
    const difference = change(answer.last_price, answer.prediction);
    return [
      el(
        "p",
        { className: "headline" },
        el("strong", {}, group(answer.prediction)),
        " ",
        el("span", { className: direction(difference.replace("+", "")), title: t("forecast.change") }, difference),
      ),
      el("p", { className: "quiet" }, t("forecast.due", { from: moment(answer.as_of), due: moment(answer.target_time) })),
      facts([[t("forecast.confidence", { band: percent(answer.band) }), share(answer.confidence)]]),
      table(
        [t("forecast.level"), t("forecast.low"), t("forecast.high")],
        answer.intervals.map((/** @type {any} */ one) => [share(one.level, 0), group(one.low), group(one.high)]),
        t("forecast"),
      ),
      el("p", { className: "hint" }, t("forecast.version", { version: answer.model_version.split("-").at(-1), cutoff: moment(answer.training_cutoff) })),
    ];
  }

  /** @param {any} answer */
  #renderRisk(answer) {
    const money = (/** @type {string} */ amount) => `${group(amount)} ${this.#quote}`;
    return [
      el("h3", {}, t("risk.unit", { base: answer.symbol.split("-")[0] })),
      facts([
        [t("risk.var"), money(answer.var_95)],
        [t("risk.es"), money(answer.expected_shortfall)],
        [t("risk.volatility"), percent(answer.volatility)],
      ]),
      el("p", { className: "hint" }, t("risk.sample", { n: answer.sample_size })),
    ];
  }

  /** @param {any} answer */
  #renderAccuracy(answer) {
    const rows = answer.accuracies.filter((/** @type {any} */ one) => one.model === this.model).map((/** @type {any} */ one) => [
      one.timeframe,
      String(one.sample_size),
      one.relative_error === undefined ? "–" : one.relative_error.toFixed(3),
      share(one.hit_rate, 0),
    ]);
    return [
      table([t("forecast.horizon"), t("accuracy.n"), t("accuracy.error"), t("accuracy.hits")], rows, t("accuracy")),
      el("p", { className: "hint" }, t("accuracy.note")),
    ];
  }
}

/** @param {any} answer */
function renderAccountRisk(answer) {
  return answer.risks.map((/** @type {any} */ one) =>
    facts([
      [t("risk.account") + (answer.risks.length > 1 ? ` (${one.currency})` : ""), group(one.var_95)],
      [t("risk.es"), group(one.expected_shortfall)],
      [t("risk.net"), group(one.net_notional)],
      [t("risk.gross"), group(one.gross_notional)],
    ]),
  );
}

/** @param {string[]} heads @param {string[][]} rows the first of each names its row @param {string} label */
function table(heads, rows, label) {
  return el(
    "table",
    { "aria-label": label },
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((cell) => el("td", {}, cell))))),
  );
}
