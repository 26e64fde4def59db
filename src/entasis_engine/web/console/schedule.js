// @ts-check
/** When things are done: drawing once per animation frame, asking only while somebody looks. */

/** @type {Set<() => void>} */
const waiting = new Set();

/** Draw at the next animation frame; a drawing that is asked for again until then is made once. @param {() => void} draw */
export function onFrame(draw) {
  if (waiting.size === 0) requestAnimationFrame(flush);
  waiting.add(draw);
}

function flush() {
  const draws = [...waiting];
  waiting.clear();
  for (const draw of draws) draw();
}

/**
 * Asks again and again, one question at a time; not while the tab is hidden, and at once when it is seen again.
 * An answer to a question that `again` has overtaken is not waited for: whoever asks compares what it asked for.
 */
export class Poll {
  #ask;
  #seconds;
  /** @type {number | undefined} */
  #timer;
  #asked = 0;
  #running = false;

  /** @param {() => Promise<number | void>} ask gives the seconds until the next, if other than usual @param {number} seconds */
  constructor(ask, seconds) {
    this.#ask = ask;
    this.#seconds = seconds;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.#timer);
      else if (this.#running) this.again();
    });
  }

  /** Ask now; from then on it goes on by itself. */
  again() {
    this.#running = true;
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const mine = ++this.#asked;
    this.#ask().then((seconds) => {
      if (mine !== this.#asked || !this.#running || document.hidden) return;
      this.#timer = setTimeout(() => this.again(), (seconds ?? this.#seconds) * 1000);
    });
  }

  stop() {
    this.#running = false;
    this.#asked++;
    clearTimeout(this.#timer);
  }
}
