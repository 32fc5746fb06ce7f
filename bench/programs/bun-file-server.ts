/** Serves a folder with Bun.file. Prints the server's URL. */
import { join } from "node:path";

const [folder = ""] = process.argv.slice(2);
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: (request) => new Response(Bun.file(join(folder, new URL(request.url).pathname))),
});
console.log(server.url.href);
