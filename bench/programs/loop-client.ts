/** Sends sequential requests to a server. Posts the duration of each, in milliseconds. */
declare const self: Worker;

self.addEventListener(
  "message",
  async ({ data: { url, milliseconds } }: MessageEvent<{ url: string; milliseconds: number }>) => {
    const times: number[] = [];
    for (const until = performance.now() + milliseconds; performance.now() < until; ) {
      const started = performance.now();
      await (await fetch(url)).text();
      times.push(performance.now() - started);
    }
    self.postMessage(times);
  },
);
