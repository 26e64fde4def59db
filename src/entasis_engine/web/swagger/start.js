// Starts Swagger UI on the engine's own document. A key that is entered lives as long as the tab.
"use strict";

const KEPT = "entasis.swagger.credentials";
const STREAM_SECONDS_MAX = 2;
const STREAM_BYTES_MAX = 20_000;

// A stream never ends, and Swagger UI shows an answer only once it has: show how it begins.
async function beginningOf(url, request) {
  const response = await fetch(url, request);
  if (!response.ok || !response.body) return response;
  const reader = response.body.getReader();
  const timer = setTimeout(() => reader.cancel(), STREAM_SECONDS_MAX * 1000);
  const parts = [];
  let bytes = 0;
  try {
    while (bytes < STREAM_BYTES_MAX) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.length;
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {}); // it may have ended by itself
  }
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  if (headers.get("content-type") === "application/x-ndjson") headers.set("content-type", "text/plain"); // lines, no JSON
  const shown = new Response(new Blob(parts), { status, statusText, headers });
  Object.defineProperty(shown, "url", { value: response.url });
  return shown;
}

// Light or dark, as the system has it.
const dark = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyTheme);
applyTheme();

// Names that Swagger UI leaves out of what it draws, for screen readers.
const NAMES = {
  "#servers": () => "Server",
  "select.examples-select-element": () => "Example",
  "select.content-type": () => "Media type",
  "textarea.body-param__text": () => "Request body",
  ".parameters :is(select, input)": (one) => one.closest("tr")?.dataset.paramName ?? "Value",
  "table.responses-table": (one) => `Responses ${one.id} ${one.className.includes("live") ? "(live)" : ""}`.trim(),
};

const LEVELS = { "h3.opblock-tag": "2", ".models > h4": "2", ".opblock h4": "3", ".opblock h5": "4" };
const REGIONS = { ".information-container": "About", ".schemes-server-container": "Server and key" };

function name() {
  for (const [selector, named] of Object.entries(NAMES)) {
    for (const one of document.querySelectorAll(`.swagger-ui ${selector}:not([aria-label])`)) {
      one.setAttribute("aria-label", named(one));
    }
  }
  for (const [selector, level] of Object.entries(LEVELS)) {
    for (const one of document.querySelectorAll(`${selector}:not([aria-level])`)) one.setAttribute("aria-level", level);
  }
  for (const one of document.querySelectorAll(".swagger-ui pre:not([tabindex])")) one.tabIndex = 0; // they scroll
  for (const [selector, label] of Object.entries(REGIONS)) {
    for (const one of document.querySelectorAll(`${selector}:not([role])`)) {
      one.setAttribute("role", "region");
      one.setAttribute("aria-label", label);
    }
  }
}
new MutationObserver(name).observe(document.getElementById("api"), { childList: true, subtree: true });

const ui = SwaggerUIBundle({
  url: "/docs/openapi.yaml",
  dom_id: "#api",
  deepLinking: false, // its links would stand inside buttons, where a screen reader does not find them
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // it would ask another host
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => {
    if (/:stream(\?|$)/.test(request.url)) request.userFetch = beginningOf;
    return request;
  },
  onComplete: () => {
    try {
      ui.authActions.authorize(JSON.parse(sessionStorage.getItem(KEPT) ?? "{}"));
    } catch {
      sessionStorage.removeItem(KEPT);
    }
    ui.getStore().subscribe(() => {
      const credentials = ui.authSelectors.authorized()?.toJS() ?? {};
      sessionStorage.setItem(KEPT, JSON.stringify(credentials));
    });
  },
});
