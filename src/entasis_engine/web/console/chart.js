// @ts-check
/** Candles, with the forecast as a fan ahead of them. Pixels may be floats; what is read as text is the engine's own. */
import { byId, el, tell } from "./dom.js";
import { group, moment, scaleOf } from "./format.js";
import { t } from "./i18n.js";
import { onFrame } from "./schedule.js";

/**
 * @typedef {{timestamp: string, open: string, high: string, low: string, close: string, volume: string}} Candle
 * @typedef {{level: number, low: string, high: string}} Interval
 * @typedef {{prediction: string, timeframe: string, as_of: string, target_time: string, last_price: string, intervals: Interval[]}} Forecast
 */

export const INTERVALS = { "1m": 60, "5m": 300, "1h": 3600, "1d": 86400 };
const CANDLES_MAX = 1000;
const FUTURE_BARS_MAX = 60;
const TABLE_ROWS = 12;
const TEXT_EVERY_MS = 10_000;

// The library is a classic script, which defines one global.
const library = /** @type {any} */ (globalThis).LightweightCharts;

/** @param {string} time */
const seconds = (time) => Date.parse(time) / 1000;

/** @param {Candle} candle */
const bar = (candle) => ({
  time: seconds(candle.timestamp),
  open: Number(candle.open),
  high: Number(candle.high),
  low: Number(candle.low),
  close: Number(candle.close),
});

/** The colours of the theme, which the style sheet decides. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`);
  return { up: colour("up"), down: colour("down"), text: colour("quiet"), line: colour("line"), accent: colour("accent"), panel: colour("panel") };
}

/**
 * The fan: from the close that the forecast knows to its horizon. Only the end is published; on the way there it widens
 * as a random walk does, with the root of time.
 */
class Fan {
  /** @type {Forecast | undefined} */
  forecast;
  colour = "";
  #chart;
  #series;
  #logical;
  #update = () => {};

  /** @param {any} chart @param {any} series @param {(time: number) => number} logical where a time is on the axis, in bars */
  constructor(chart, series, logical) {
    this.#chart = chart;
    this.#series = series;
    this.#logical = logical;
  }

  /** @param {any} parameters */
  attached(parameters) {
    this.#update = parameters.requestUpdate;
  }

  changed() {
    this.#update();
  }

  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (/** @type {any} */ target) => this.#draw(target) }) }];
  }

  autoscaleInfo() {
    const [widest] = this.#levels();
    return widest ? { priceRange: { minValue: Number(widest.low), maxValue: Number(widest.high) } } : null;
  }

  /** The widest first. */
  #levels() {
    return [...(this.forecast?.intervals ?? [])].sort((a, b) => b.level - a.level);
  }

  /** @param {any} target */
  #draw(target) {
    const { forecast } = this;
    if (!forecast) return;
    const begin = this.#logical(seconds(forecast.as_of));
    const end = this.#logical(seconds(forecast.target_time));
    const from = Number(forecast.last_price);
    const to = Number(forecast.prediction);
    const scale = this.#chart.timeScale();
    const { barSpacing } = scale.options(); // the scale itself gives places of whole bars only
    const x = (/** @type {number} */ share) => scale.logicalToCoordinate(0) + (begin + (end - begin) * share) * barSpacing;
    const y = (/** @type {number} */ share, /** @type {number} */ bound) =>
      this.#series.priceToCoordinate(from + (to - from) * share + (bound - to) * Math.sqrt(share));
    const steps = Array.from({ length: 33 }, (_, step) => (step / 32) ** 2); // denser where the root is steep
    if (y(0, to) === null) return;
    target.useMediaCoordinateSpace((/** @type {any} */ { context }) => {
      context.fillStyle = context.strokeStyle = this.colour;
      for (const { low, high } of this.#levels()) {
        context.globalAlpha = 0.13;
        context.beginPath();
        for (const share of steps) context.lineTo(x(share), y(share, Number(high)));
        for (const share of steps.toReversed()) context.lineTo(x(share), y(share, Number(low)));
        context.fill();
      }
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(x(0), y(0, to));
      context.lineTo(x(1), y(1, to));
      context.stroke();
      context.setLineDash([]);
      context.beginPath();
      context.arc(x(1), y(1, to), 3.5, 0, 2 * Math.PI);
      context.fill();
    });
  }
}

export class Chart {
  #box = byId("chart");
  #symbol = "";
  #interval = "1m";
  /** @type {Candle[]} */
  #candles = [];
  #chart;
  #series;
  #volumes;
  #future;
  #fan;
  /** @type {any} */
  #line;
  #spoken = 0;
  #described = () => this.#describe();

  constructor() {
    const time = (/** @type {number} */ at) => new Date(at * 1000).toISOString();
    this.#chart = library.createChart(this.#box, {
      autoSize: true,
      handleScale: { axisPressedMouseMove: false },
      localization: { timeFormatter: (/** @type {number} */ at) => `${moment(time(at))} UTC` },
      timeScale: { timeVisible: true, borderVisible: false },
      rightPriceScale: { borderVisible: false, entireTextOnly: true },
    });
    this.#series = this.#chart.addCandlestickSeries({ borderVisible: false });
    this.#volumes = this.#chart.addHistogramSeries({ priceScaleId: "", lastValueVisible: false, priceLineVisible: false });
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    this.#series.priceScale().applyOptions({ scaleMargins: { top: 0.06, bottom: 0.16 } });
    // It has no values: its points give the time axis the bars that are still to come.
    this.#future = this.#chart.addLineSeries({ lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false });
    this.#fan = new Fan(this.#chart, this.#series, (at) => this.#logical(at));
    this.#series.attachPrimitive(this.#fan);
    byId("candles").addEventListener("toggle", () => this.#tabulate());
    byId("chart-keys").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
    this.restyle();
  }

  /** Begin anew with another instrument or interval. @param {string} symbol @param {string} interval */
  show(symbol, interval) {
    this.#symbol = symbol;
    this.#interval = interval;
    this.forecast(undefined);
    this.load([]);
  }

  /** What is known of the past, oldest first. @param {Candle[]} candles */
  load(candles) {
    const later = this.#candles.filter((one) => candles.length && one.timestamp > candles[candles.length - 1].timestamp);
    this.#candles = [...candles, ...later];
    if (candles.length) this.#precision(candles[0]);
    this.#series.setData(this.#candles.map(bar));
    this.#volumes.setData(this.#candles.map((one) => this.#volume(one)));
    this.#extend();
    this.home();
    this.#changed();
  }

  /**
   * A candle as it stands now.
   * @param {Candle} candle
   * @returns {boolean} whether candles between the last one and this are missing
   */
  update(candle) {
    const last = this.#candles.at(-1);
    if (last && candle.timestamp < last.timestamp) return false;
    if (!last) this.#precision(candle);
    const begins = candle.timestamp !== last?.timestamp;
    if (begins) this.#candles.push(candle);
    else this.#candles[this.#candles.length - 1] = candle;
    if (this.#candles.length > CANDLES_MAX) {
      this.#candles.splice(0, CANDLES_MAX / 4);
      this.load(this.#candles);
      return false;
    }
    onFrame(this.#draw);
    if (!begins) return false;
    onFrame(this.#begin);
    return last !== undefined && seconds(candle.timestamp) - seconds(last.timestamp) > this.#seconds;
  }

  #draw = () => {
    const last = this.#candles.at(-1);
    if (!last) return;
    this.#series.update(bar(last));
    this.#volumes.update(this.#volume(last));
    if (performance.now() - this.#spoken > TEXT_EVERY_MS) this.#described();
  };

  #begin = () => {
    this.#extend();
    this.#changed();
  };

  /** @param {Forecast | undefined} forecast */
  forecast(forecast) {
    const other = forecast?.target_time !== this.#fan.forecast?.target_time;
    this.#fan.forecast = forecast;
    if (this.#line) this.#series.removePriceLine(this.#line);
    this.#line = forecast && this.#series.createPriceLine({ price: Number(forecast.prediction), title: forecast.timeframe, color: this.#fan.colour, lineWidth: 1, lineStyle: 1 });
    this.#box.dataset.forecast = forecast?.timeframe ?? "";
    byId("chart-legend").hidden = !forecast;
    if (other) {
      this.#extend();
      this.home();
    }
    this.#fan.changed();
    onFrame(this.#described);
  }

  /** Why there is nothing to see, or not all. @param {string} words */
  note(words) {
    tell(byId("chart-note"), words);
  }

  /** Show the latest, and what is ahead of it. */
  home() {
    const ahead = Math.min(this.#ahead(), FUTURE_BARS_MAX);
    const width = this.#box.clientWidth;
    const bars = Math.max(width / 8, Math.min(2.2 * ahead, width / 4), 20);
    const last = this.#candles.length - 1;
    if (last >= 0) this.#chart.timeScale().setVisibleLogicalRange({ from: last + ahead + 3 - bars, to: last + ahead + 3 });
  }

  /** Take the colours of the theme that is shown now. */
  restyle() {
    const { up, down, text, line, accent, panel } = colours();
    this.#chart.applyOptions({
      layout: { background: { color: panel }, textColor: text, fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
    });
    this.#series.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.#fan.colour = accent;
    this.#line?.applyOptions({ color: accent });
    this.#volumes.setData(this.#candles.map((one) => this.#volume(one)));
    this.#fan.changed();
  }

  get #seconds() {
    return INTERVALS[/** @type {keyof typeof INTERVALS} */ (this.#interval)];
  }

  /** @param {Candle} candle */
  #volume(candle) {
    const { up, down } = colours();
    const colour = Number(candle.close) < Number(candle.open) ? down : up;
    return { time: seconds(candle.timestamp), value: Number(candle.volume), color: colour.replace("rgb(", "rgba(").replace(")", ", 0.35)") };
  }

  /** @param {Candle} candle */
  #precision(candle) {
    const precision = scaleOf(candle.close);
    this.#series.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
  }

  /** Bars from the last candle to the horizon. */
  #ahead() {
    const last = this.#candles.at(-1);
    const forecast = this.#fan.forecast;
    return last && forecast ? Math.max(Math.ceil((seconds(forecast.target_time) - seconds(last.timestamp)) / this.#seconds), 1) : 0;
  }

  #extend() {
    const last = this.#candles.at(-1);
    const ahead = Math.min(this.#ahead(), FUTURE_BARS_MAX);
    const at = last ? seconds(last.timestamp) : 0;
    this.#future.setData(Array.from({ length: last ? ahead : 0 }, (_, step) => ({ time: at + (step + 1) * this.#seconds })));
  }

  /** @param {number} at */
  #logical(at) {
    const last = this.#candles.length - 1;
    if (last < 0) return 0;
    const end = seconds(this.#candles[last].timestamp);
    if (at >= end) return last + (at - end) / this.#seconds;
    const index = this.#candles.findLastIndex((one) => seconds(one.timestamp) <= at);
    return index < 0 ? (at - seconds(this.#candles[0].timestamp)) / this.#seconds : index;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    const width = range.to - range.from;
    const move = (/** @type {number} */ from, /** @type {number} */ to) => scale.setVisibleLogicalRange({ from: range.from + from, to: range.to + to });
    if (event.key === "ArrowLeft") move(-width / 10, -width / 10);
    else if (event.key === "ArrowRight") move(width / 10, width / 10);
    else if (event.key === "+" || event.key === "=") move(width / 10, 0);
    else if (event.key === "-") move(-width / 8, 0);
    else if (event.key === "Home") this.home();
    else return;
    event.preventDefault();
  }

  #changed() {
    this.#box.dataset.candles = String(this.#candles.length);
    this.#tabulate();
    onFrame(this.#described);
  }

  /** Say in words what is drawn: often enough for who asks, too seldom to get in the way. */
  #describe() {
    this.#spoken = performance.now();
    const last = this.#candles.at(-1);
    const forecast = this.#fan.forecast;
    const likely = forecast?.intervals.find((one) => one.level === 0.8);
    let words = this.#symbol;
    if (last) words = t("chart.text", { ...last, symbol: this.#symbol, interval: this.#interval, count: this.#candles.length });
    if (forecast && likely) words += t("chart.text.forecast", { due: moment(forecast.target_time), prediction: forecast.prediction, low: likely.low, high: likely.high });
    this.#box.setAttribute("aria-label", words);
  }

  #tabulate() {
    const details = byId("candles");
    if (!details.open) return;
    const rows = this.#candles.slice(-TABLE_ROWS).reverse();
    details.querySelector("tbody").replaceChildren(
      ...rows.map((one) =>
        el("tr", {}, el("th", { scope: "row" }, moment(one.timestamp)), ...[one.open, one.high, one.low, one.close, one.volume].map((value) => el("td", {}, group(value)))),
      ),
    );
  }
}
