/** Serves a folder with examples/file-server.ts. Prints the server's URL. */
import { serveFiles } from "../../examples/file-server.ts";

const [folder = ""] = process.argv.slice(2);
const server = serveFiles({ folder, hostname: "127.0.0.1" });
console.log(server.url.href);
