/**
 * The error that the library has to report on a machine where it cannot be used. BUN_URING_REFUSED announces the
 * error's code.
 */
import { existsSync, readFileSync } from "node:fs";

const sysctl = "/proc/sys/kernel/io_uring_disabled";
const disabled = existsSync(sysctl) ? Number(readFileSync(sysctl, "utf8")) : 0;
const filtered = existsSync("/proc/self/status") && /^Seccomp:\s+2$/m.test(readFileSync("/proc/self/status", "utf8"));

const systemCalls = "io_uring_setup, io_uring_enter and io_uring_register";

/**
 * The error's hint has to contain all parts of `hint`. `finding` is the name of the finding that the doctor reports as
 * failed.
 */
const everywhere = {
  EPERM: {
    errno: -1,
    syscall: "io_uring_setup",
    hint:
      disabled > 0
        ? [`kernel.io_uring_disabled is ${disabled}`]
        : ["seccomp", "Docker", "Kubernetes", "systemd", systemCalls],
    finding: "io_uring",
    fix: disabled > 0 ? "sysctl -w kernel.io_uring_disabled=0" : "--security-opt seccomp=io_uring.json",
  },
  ENOSYS: {
    errno: -38,
    syscall: "io_uring_setup",
    hint: ["no io_uring", ...(filtered ? ["seccomp", "Podman", systemCalls] : ["Linux 6.1"])],
    finding: "io_uring",
    fix: filtered ? "--security-opt seccomp=io_uring.json" : "CONFIG_IO_URING",
  },
  ENOENT: {
    errno: -2,
    syscall: "dlopen",
    hint: ["apt-get install liburing2", "dnf install liburing", "apk add liburing", "pacman -S liburing"],
    finding: "liburing",
    fix: "apt-get install liburing2",
  },
  EOPNOTSUPP: { errno: -95, syscall: "cc", hint: ["bun upgrade"], finding: "Bun", fix: "bun upgrade" },
} as const;

function isKnown(code: string | undefined): code is keyof typeof everywhere {
  return code !== undefined && code in everywhere;
}

const announced = process.env["BUN_URING_REFUSED"];
if (!isKnown(announced))
  throw new Error(`BUN_URING_REFUSED must be one of ${Object.keys(everywhere).join(", ")}, not ${announced}`);

export const expected = { code: announced, ...everywhere[announced] };
