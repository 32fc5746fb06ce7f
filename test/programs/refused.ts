/** Makes a ring on a machine that refuses it. With the argument "catch" it catches the error and goes on. */
import { RawRing, UringError } from "bun-uring";

try {
  new RawRing();
} catch (error) {
  if (process.argv[2] !== "catch" || !(error instanceof UringError)) throw error;
  console.log(error.code);
}
console.log("last line");
