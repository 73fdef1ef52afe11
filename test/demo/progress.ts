import { setTimeout as delay } from 'node:timers/promises';

interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** The one way to the terminal: lines that stay, and below them one that lives. */
export interface Terminal {
  print(text?: string): void;
  /** Shows once a second what is going on, with the seconds so far, until the work is done. */
  follow<T>(work: Promise<T>, describe: () => Promise<string>): Promise<T>;
  /** From now on nothing lives, whatever is still being followed. */
  settle(): void;
}

const TICK_MS = 1000;
/** Where lines cannot be rewritten, each one stays. */
const PLAIN_EVERY_TICKS = 5;
const CLEAR_LINE = '\r\x1b[2K';

export function createTerminal(output: Output): Terminal {
  let alive = '';
  let settled = false;

  function show(text: string): void {
    alive = text.slice(0, (output.columns ?? 80) - 1);
    output.write(CLEAR_LINE + alive);
  }

  return {
    settle() {
      settled = true;
      if (alive !== '') show('');
    },
    print(text = '') {
      if (alive === '') output.write(`${text}\n`);
      else output.write(`${CLEAR_LINE}${text}\n${alive}`);
    },
    async follow(work, describe) {
      const began = performance.now();
      const done = new AbortController();
      const ticking = (async () => {
        for (let tick = 1; ; tick++) {
          await delay(TICK_MS, undefined, { signal: done.signal });
          if (output.isTTY !== true && tick % PLAIN_EVERY_TICKS !== 0) continue;
          const text = await describe().catch(() => '');
          if (done.signal.aborted || settled) return;
          const line = `  ${((performance.now() - began) / 1000).toFixed(0).padStart(3)} s  ${text}`;
          if (output.isTTY === true) show(line);
          else output.write(`${line}\n`);
        }
      })().catch(() => undefined);
      try {
        return await work;
      } finally {
        done.abort();
        await ticking;
        if (alive !== '') show('');
      }
    },
  };
}
