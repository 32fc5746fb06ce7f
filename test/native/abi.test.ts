import { expect, test } from "bun:test";
import { abi } from "../../lib/uring/native.ts";

test("the shim's struct layouts match <linux/io_uring.h> and liburing.so.2", () => {
  // Offsets on 64-bit machines, from offsetof() with liburing's own header.
  expect(abi()).toMatchObject({
    "sizeof io_uring": 216,
    "io_uring.sq.sqes": 56,
    "io_uring.sq.sqe_tail": 68,
    "io_uring.sq.ring_entries": 92,
    "io_uring.cq.khead": 104,
    "io_uring.cq.cqes": 152,
    "io_uring.cq.ring_entries": 180,
    "io_uring.flags": 192,
    "io_uring.ring_fd": 196,
    "io_uring.features": 200,
    "io_uring.enter_ring_fd": 204,
    "io_uring.int_flags": 208,
    "sizeof io_uring_sqe": 64,
    "io_uring_sqe.user_data": 32,
    "sizeof io_uring_cqe": 16,
    "sizeof io_uring_params": 120,
    "io_uring_params.features": 20,
    "sizeof io_uring_clone_buffers": 32,
    "sizeof io_uring_sync_cancel_reg": 64,
  });
});

test("the layout constants of the C teardown match those of TypeScript", async () => {
  const { slotsPerBlock } = await import("../../lib/pool/slots.ts");
  const { participantCount, participantsStart, participantWords } = await import("../../lib/pool/control.ts");
  const { indexSpan, kindUnit } = await import("../../lib/engines/in-flight.ts");
  const values = abi();
  expect(values["slots a block"]).toBe(slotsPerBlock);
  expect(values["participants"]).toBe(participantCount);
  expect(values["control.participants"]).toBe(participantsStart * 4);
  expect(values["control.words"]).toBe((participantsStart + participantCount * participantWords) * 4);
  expect(2 ** (values["user_data kind shift"] ?? 0)).toBe(kindUnit);
  expect(values["user_data operation mask"]).toBe(indexSpan - 1);
});
