import { expect, test } from "bun:test";
import { constants } from "node:fs";
import { release } from "node:os";
import { RawRing, Ring, UringError } from "bun-uring";
import { uringError } from "./support/errors.ts";

test("a want of descriptors says how to get more, whichever system call it met; a more special hint goes before", () => {
  for (const syscall of ["io_uring_setup", "io_uring_register_eventfd", "eventfd", "openat"])
    for (const part of ["ulimit -n", "LimitNOFILE=", "--ulimit nofile="]) expect(new UringError("EMFILE", syscall).hint).toContain(part);
  expect(new UringError("ENFILE", "openat").hint).toContain("fs.file-max");
  expect(new UringError("EMFILE", "io_uring_register_files").hint).toStartWith("A file table");
});

test("a want of memory names what may be in the way: the machine, the cgroup, the limit on locked memory", () => {
  for (const syscall of ["io_uring_setup", "io_uring_register_buffers"])
    for (const part of ["cgroup", "ulimit -l", "LimitMEMLOCK="]) expect(new UringError("ENOMEM", syscall).hint).toContain(part);
});

test("flags that the kernel does not know, or that do not go together, are named with its version", async () => {
  for (const flags of [2 ** 31, 1 << 13]) {
    const { code, hint } = await uringError(() => new RawRing({ flags }));
    expect([code, hint]).toEqual(["EINVAL", expect.stringContaining(`this kernel, Linux ${release()}, does not know one of them`)]);
    expect(hint).toContain("IORING_SETUP_DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER");
  }
});

test("errnos that files and devices report have the kernel's names and a text, and names lead back to the errno", () => {
  const reported = { EAGAIN: 11, EDEADLK: 35, ENOLCK: 37, EBADMSG: 74, EBADFD: 77, EUSERS: 87, EOPNOTSUPP: 95, ESTALE: 116, EUCLEAN: 117, EREMOTEIO: 121 };
  const all = { ...reported, EDQUOT: 122, ENOMEDIUM: 123, ECANCELED: 125, ENOKEY: 126, EHWPOISON: 133, EIO: 5, ENOSPC: 28 };
  for (const [code, errno] of Object.entries(all)) {
    const error = new UringError(-errno, "read");
    expect([error.code, new UringError(code, "read").errno]).toEqual([code, -errno]);
    expect(error.message).not.toContain("failed");
  }
});

test("an open with O_DIRECT where the file system has none says so, by option or by flag; any other EINVAL of an open does not", async () => {
  await using ring = new Ring();
  for (const open of [() => ring.open("/proc/self/status", "r", 0, { direct: true }), () => ring.open("/proc/self/status", constants.O_DIRECT)]) {
    const { code, hint, path } = await uringError(open);
    expect([code, path, hint]).toEqual(["EINVAL", "/proc/self/status", expect.stringContaining("does not support O_DIRECT")]);
  }
  const { code, hint } = await uringError(() => ring.open("/proc/self/status", constants.O_DIRECTORY | constants.O_CREAT));
  expect([code, hint]).toEqual(["EINVAL", undefined]);
});

test("what is not known has no hint", () => {
  expect(new UringError("EIO", "read_fixed").hint).toBeUndefined();
  expect(new UringError("EINVAL", "read_fixed").hint).toBeUndefined();
});
