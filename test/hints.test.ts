import { expect, test } from "bun:test";
import { constants } from "node:fs";
import { release } from "node:os";
import { RawRing, Ring, UringError } from "bun-uring";
import { uringError } from "./support/errors.ts";

test("if descriptors run out, the hint of any system call says how to get more, unless it has a more specific hint", () => {
  for (const syscall of ["io_uring_setup", "io_uring_register_eventfd", "eventfd", "openat"])
    for (const part of ["ulimit -n", "LimitNOFILE=", "--ulimit nofile="])
      expect(new UringError("EMFILE", syscall).hint).toContain(part);
  expect(new UringError("ENFILE", "openat").hint).toContain("fs.file-max");
  expect(new UringError("EMFILE", "io_uring_register_files").hint).toStartWith("A file table");
});

test("if memory runs out, the hint names the limits that may be reached: of the machine, the cgroup, or locked memory", () => {
  for (const syscall of ["io_uring_setup", "io_uring_register_buffers"])
    for (const part of ["cgroup", "ulimit -l", "LimitMEMLOCK="])
      expect(new UringError("ENOMEM", syscall).hint).toContain(part);
});

test("the hint for unknown or incompatible flags names the kernel's version and what the flags need", async () => {
  for (const flags of [2 ** 31, 1 << 13]) {
    const { code, hint } = await uringError(() => new RawRing({ flags }));
    expect([code, hint]).toEqual([
      "EINVAL",
      expect.stringContaining(`this kernel, Linux ${release()}, does not know one of them`),
    ]);
    expect(hint).toContain("IORING_SETUP_DEFER_TASKRUN needs IORING_SETUP_SINGLE_ISSUER");
  }
});

test("errnos of files and devices have the kernel's names and a message, and a name gives the same errno", () => {
  const reported = {
    EAGAIN: 11,
    EDEADLK: 35,
    ENOLCK: 37,
    EBADMSG: 74,
    EBADFD: 77,
    EUSERS: 87,
    EOPNOTSUPP: 95,
    ESTALE: 116,
    EUCLEAN: 117,
    EREMOTEIO: 121,
  };
  const all = {
    ...reported,
    EDQUOT: 122,
    ENOMEDIUM: 123,
    ECANCELED: 125,
    ENOKEY: 126,
    EHWPOISON: 133,
    EIO: 5,
    ENOSPC: 28,
  };
  for (const [code, errno] of Object.entries(all)) {
    const error = new UringError(-errno, "read");
    expect([error.code, new UringError(code, "read").errno]).toEqual([code, -errno]);
    expect(error.message).not.toContain("failed");
  }
});

test("if the file system has no O_DIRECT, the hint says so, for option and flag; other EINVALs of an open have no hint", async () => {
  await using ring = new Ring();
  for (const open of [
    () => ring.open("/proc/self/status", "r", 0, { direct: true }),
    () => ring.open("/proc/self/status", constants.O_DIRECT),
  ]) {
    const { code, hint, path } = await uringError(open);
    expect([code, path, hint]).toEqual([
      "EINVAL",
      "/proc/self/status",
      expect.stringContaining("does not support O_DIRECT"),
    ]);
  }
  const { code, hint } = await uringError(() =>
    ring.open("/proc/self/status", constants.O_DIRECTORY | constants.O_CREAT),
  );
  expect([code, hint]).toEqual(["EINVAL", undefined]);
});

test("an error whose cause is not known has no hint", () => {
  expect(new UringError("EIO", "read_fixed").hint).toBeUndefined();
  expect(new UringError("EINVAL", "read_fixed").hint).toBeUndefined();
});
