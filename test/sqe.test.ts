import { expect, test } from "bun:test";
import { sqeWords, writeSqe } from "../lib/uring/sqe.ts";
import { fc } from "./support/properties.ts";

const u8 = fc.integer({ min: 0, max: 255 });
const u16 = fc.integer({ min: 0, max: 65535 });
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const safe = fc.maxSafeNat();
const position = fc.oneof(safe, fc.constant(-1), fc.bigInt({ min: -1n, max: 2n ** 63n - 1n }));

test("a length of 4 GiB, which the entry would hold as 0, is refused", () => {
  const words = new Int32Array(sqeWords).fill(-1);
  const sqe = { opcode: 4, flags: 0, fd: 3, off: 0, addr: 0, len: 2 ** 32, opFlags: 0, bufIndex: 0, spliceFdIn: 0 };
  expect(() => writeSqe(words, 0, sqe, sqe.flags, sqe.fd, 1)).toThrow("32 bits");
  expect(words.every((word) => word === -1)).toBe(true);
});

test("writeSqe puts every field where struct io_uring_sqe has it, whatever the entry held before", () => {
  fc.assert(
    fc.property(
      u8,
      u8,
      u32,
      position,
      fc.oneof(safe, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      u32,
      u32,
      safe,
      u16,
      fc.integer({ min: -1, max: 2 ** 31 - 1 }),
      fc.nat({ max: 3 }),
      (opcode, flags, fd, off, addr, len, opFlags, userData, bufIndex, spliceFdIn, entry) => {
        const words = new Int32Array(4 * sqeWords).fill(-1);
        writeSqe(
          words,
          entry * sqeWords,
          { opcode, flags: 0, fd: 0, off, addr, len, opFlags, bufIndex, spliceFdIn },
          flags,
          fd,
          userData,
        );
        const sqe = new DataView(words.buffer, entry * 64, 64);
        expect({
          opcode: sqe.getUint8(0),
          flags: sqe.getUint8(1),
          ioprio: sqe.getUint16(2, true),
          fd: sqe.getUint32(4, true),
          off: sqe.getBigInt64(8, true),
          addr: sqe.getBigUint64(16, true),
          len: sqe.getUint32(24, true),
          rwFlags: sqe.getUint32(28, true),
          userData: sqe.getBigUint64(32, true),
          bufIndex: sqe.getUint16(40, true),
          personality: sqe.getUint16(42, true),
          spliceFd: sqe.getInt32(44, true),
          rest: [sqe.getBigUint64(48, true), sqe.getBigUint64(56, true)],
        }).toEqual({
          opcode,
          flags,
          ioprio: 0,
          fd,
          off: BigInt(off),
          addr: BigInt(addr),
          len,
          rwFlags: opFlags,
          userData: BigInt(userData),
          bufIndex,
          personality: 0,
          spliceFd: spliceFdIn,
          rest: [0n, 0n],
        });
        const others = words.filter((_, index) => Math.floor(index / sqeWords) !== entry);
        expect(others.every((word) => word === -1)).toBe(true);
      },
    ),
  );
});
