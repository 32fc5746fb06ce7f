import { expect, test } from "bun:test";
import { constants } from "node:fs";
import * as flags from "../lib/requests/open-flags.ts";

test("the O_* constants equal those of node:fs on this processor", () => {
  const lacking = ["O_ACCMODE", "O_CLOEXEC", "O_PATH"]; // node:fs does not have these
  const own = Object.entries(flags).filter(([name]) => name.startsWith("O_") && !lacking.includes(name));
  expect(own).toEqual(own.map(([name]) => [name, Reflect.get(constants, name)]));
  expect(own.length).toBe(12);
});
