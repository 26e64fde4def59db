// @ts-check
/** Small helpers around elements. Text is only ever set as text. */
import { t } from "./i18n.js";

/** @param {string} id @returns {any} the element, which the markup has */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] properties; those with a dash, and `role` and `scope`, are attributes
 * @param {...(Node | string | false | undefined)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== false && child !== undefined));
  return element;
}

/** Write only what is other than what stands there: screen readers and layout are left alone. @param {Element} element @param {string} text */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string} message empty hides it */
export function tell(element, message) {
  element.hidden = !message;
  put(element, message);
}

/** Name-value pairs. @param {[name: string, value: string, kind?: string][]} pairs */
export const facts = (pairs) =>
  el(
    "dl",
    { className: "pairs" },
    ...pairs.map(([name, value, kind]) => el("div", {}, el("dt", {}, name), el("dd", { className: kind ?? "" }, value))),
  );

/** @param {string} text @param {boolean} [wrong] */
export const empty = (text, wrong = false) => el("p", { className: wrong ? "empty wrong" : "empty" }, text);

/**
 * Fill a fieldset with radio buttons that look like one row of segments.
 * @param {HTMLFieldSetElement} fieldset @param {[value: string, words: string][]} options @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function segments(fieldset, options, chosen, choose) {
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  for (const [value, words] of options) {
    const radio = el("input", { type: "radio", name: fieldset.id, value, checked: value === chosen, onchange: () => choose(value) });
    fieldset.append(el("label", {}, radio, el("span", {}, words)));
  }
}

let toastTimer = 0;

/** Say what happened, to eyes and to screen readers alike. @param {string} message */
export function announce(message) {
  const toast = byId("toast");
  toast.textContent = message;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.textContent = ""), 8000);
}
