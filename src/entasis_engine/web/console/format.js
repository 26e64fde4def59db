// @ts-check
/** Decimals are strings, and stay exact: they are grouped, shifted, added and compared as digits, never as floats. */

/** @param {string} decimal @param {number} scale @returns {bigint} the decimal in units of 10^-scale */
const units = (decimal, scale) => {
  const [whole, fraction = ""] = decimal.split(".");
  return BigInt(whole + fraction.padEnd(scale, "0"));
};

/** @param {string} decimal */
export const scaleOf = (decimal) => decimal.split(".")[1]?.length ?? 0;

/** @param {bigint} value @param {number} scale */
const text = (value, scale) => {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  return (value < 0n ? "-" : "") + whole + (scale ? "." + digits.slice(-scale) : "");
};

/** @param {string} a @param {string} b @param {1n | -1n} [sign] @returns {string} a + b, exact */
export const add = (a, b, sign = 1n) => {
  const scale = Math.max(scaleOf(a), scaleOf(b));
  return text(units(a, scale) + sign * units(b, scale), scale);
};

/** @param {string} a @param {string} b @returns {string} a − b, exact */
export const subtract = (a, b) => add(a, b, -1n);

/** @param {string} a @param {string} b @returns {-1 | 0 | 1} */
export const compare = (a, b) => {
  const scale = Math.max(scaleOf(a), scaleOf(b));
  const difference = units(a, scale) - units(b, scale);
  return difference > 0n ? 1 : difference < 0n ? -1 : 0;
};

/** Thousands by commas, and a minus of a minus's width. @param {string | undefined} decimal */
export const group = (decimal) => {
  if (!decimal) return "–";
  const [whole, fraction] = decimal.replace("-", "−").split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction === undefined ? "" : "." + fraction);
};

/** With its sign, plus included. @param {string | undefined} decimal */
export const signed = (decimal) => (decimal && !decimal.startsWith("-") && /[1-9]/.test(decimal) ? "+" : "") + group(decimal);

/** `0.45` is `45 %`, exact. @param {string | undefined} decimal */
export const percent = (decimal) => {
  if (!decimal) return "–";
  const scale = Math.max(scaleOf(decimal), 2);
  return text(units(decimal, scale), scale - 2).replace("-", "−") + " %";
};

/** A share that the engine gives as a JSON number. @param {number | undefined} share @param {number} [digits] */
export const share = (share, digits = 1) => (share === undefined ? "–" : `${(share * 100).toFixed(digits)} %`);

/** How far `to` is from `from`, rounded: for a glance, and no figure to reckon with. @param {string} from @param {string} to */
export const change = (from, to) => {
  const ratio = Number(to) / Number(from) - 1;
  const sign = ratio > 0 ? "+" : ratio < 0 ? "−" : "";
  return Number.isFinite(ratio) ? `${sign}${Math.abs(ratio * 100).toFixed(2)} %` : "–";
};

/** What colour says, for a class: `up`, `down`, or nothing. @param {string} decimal */
export const direction = (decimal) => (/^[-−]/.test(decimal) ? "down" : /[1-9]/.test(decimal) ? "up" : "");

/** The engine's messages end without a full stop. @param {string} message */
export const sentence = (message) => (/[.!?]$/.test(message) ? message : `${message}.`);

/** UTC, `03-21 09:30`. @param {string | undefined} time RFC 3339 */
export const moment = (time) => (time ? `${time.slice(5, 10)} ${time.slice(11, 16)}` : "–");
