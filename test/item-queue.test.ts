import { expect, test } from "bun:test";
import { ItemQueue } from "../lib/base/item-queue.ts";
import { fc } from "./support/properties.ts";

test("a queue returns its items in the order in which they were added, however long it gets", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat({ max: 5000 }), fc.nat({ max: 20 })), { maxLength: 20, size: "max" }),
      (batches) => {
        const queue = new ItemQueue<number>();
        const model: number[] = [];
        let next = 0;
        for (const [index, count] of batches.entries()) {
          for (let step = 0; step < count; step++) {
            if (index % 2 === 0) {
              queue.push(next);
              model.push(next++);
            } else {
              expect(queue.peek()).toBe(model[0]);
              expect(queue.shift()).toBe(model.shift());
            }
          }
          expect(queue.size).toBe(model.length);
        }
      },
    ),
    { numRuns: 30 },
  );
});
