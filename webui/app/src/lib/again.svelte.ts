// Asks again every few seconds while a screen is looked at: for what the live stream does not carry.

const EVERY_MS = 3_000;

/** Within a component's set-up. Nothing is asked for a page in the background. */
export function again(ask: () => void): void {
  $effect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") ask();
    }, EVERY_MS);
    return () => clearInterval(timer);
  });
}
