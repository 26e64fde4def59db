// @ts-check
/** REST: the public API under /api/v1, with errors in the words of the engine. */
import { language, t } from "./i18n.js";

const DEADLINE_MS = 15_000;
const WRITE_ATTEMPTS = 4;

/** What went wrong, in words for people, and what programs branch on. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, reason?: string, fields?: Record<string, string>, retrySeconds?: number}} [details]
   *   `status` 0 is no answer at all; `fields` has what is wrong with each field
   */
  constructor(message, { status = 0, reason = "", fields = {}, retrySeconds } = {}) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.fields = fields;
    this.retrySeconds = retrySeconds;
  }

  /** Whether a write may have been done all the same, so that it is sent again with its key. */
  get unknown() {
    return this.status === 0 || this.status >= 502;
  }
}

/** @param {any} body google.rpc.Status @param {number} status @param {string | null} retryAfter */
function errorOf(body, status, retryAfter) {
  /** @type {any[]} */
  const details = body?.details ?? [];
  const detail = (/** @type {string} */ name) => details.find((one) => one["@type"]?.endsWith(`google.rpc.${name}`));
  return new ApiError(body?.message ?? t("error.status", { status }), {
    status,
    reason: detail("ErrorInfo")?.reason,
    fields: Object.fromEntries(
      (detail("BadRequest")?.field_violations ?? []).map((/** @type {any} */ one) => [one.field, one.description]),
    ),
    retrySeconds: retryAfter === null ? undefined : Number(retryAfter),
  });
}

export class Api {
  /** The API key; empty for none. */
  key = "";

  /**
   * @param {string} method @param {string} path under /api/v1
   * @param {{query?: Record<string, string | number>, body?: object, headers?: Record<string, string>}} [more]
   * @returns {Promise<any>}
   * @throws {ApiError}
   */
  async #call(method, path, { query, body, headers } = {}) {
    const search = query ? "?" + new URLSearchParams(/** @type {any} */ (query)) : "";
    let response;
    let answer;
    try {
      response = await fetch(`/api/v1${path}${search}`, {
        method,
        headers: { "Accept-Language": language(), ...(this.key && { "X-API-Key": this.key }), ...headers },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      answer = await response.json().catch(() => undefined);
    } catch {
      throw new ApiError(t("error.unreachable"));
    }
    if (!response.ok || answer === undefined) throw errorOf(answer, response.status, response.headers.get("retry-after"));
    return answer;
  }

  /** @param {string} path @param {Record<string, string | number>} [query] */
  get(path, query) {
    return this.#call("GET", path, { query });
  }

  /** Whose the key is. @returns {Promise<{account: string, scopes: string[]}>} */
  identity() {
    return this.#call("POST", "/auth/token", { body: {} });
  }

  /**
   * Writes once, however often it is sent: where there is no answer, the same request goes out again with its key.
   * @param {string} path @param {object} body @param {string} idempotencyKey
   */
  async write(path, body, idempotencyKey) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#call("POST", path, { body, headers: { "Idempotency-Key": idempotencyKey } });
      } catch (error) {
        if (!(error instanceof ApiError) || !error.unknown || attempt === WRITE_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, (error.retrySeconds ?? 2 ** attempt / 4) * 1000));
      }
    }
  }
}

/** A key that no other request has. `crypto.randomUUID` would need HTTPS on any host but this one. */
export const newIdempotencyKey = () =>
  "console-" + Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
