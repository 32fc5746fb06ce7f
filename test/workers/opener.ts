/** Opens and closes a file over and over, with several opens in flight at once. */
import { Ring } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", async ({ data: path }: MessageEvent<string>) => {
  const ring = new Ring({ entries: 16 });
  const openAndClose = async () => {
    for (let opened = 0; ; opened++) {
      await using file = await ring.open(path);
      if (opened === 20) self.postMessage(file.fd);
    }
  };
  for (let lane = 0; lane < 8; lane++) void openAndClose();
});
