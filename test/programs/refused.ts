/** Makes a ring where that is refused. Argument "catch": catches what is thrown, and goes on. */
import { RawRing, UringError } from "bun-uring";

try {
  new RawRing();
} catch (error) {
  if (process.argv[2] !== "catch" || !(error instanceof UringError)) throw error;
  console.log(error.code);
}
console.log("last line");
