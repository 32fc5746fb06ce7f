/** What the library says where it can't be used: by the code that BUN_URING_REFUSED announces. */
const everywhere = {
  EPERM: { errno: -1, syscall: "io_uring_setup", hint: ["seccomp", "Docker", "Kubernetes", "io_uring_disabled"] },
  ENOSYS: { errno: -38, syscall: "io_uring_setup", hint: ["no io_uring", "Linux 6.1"] },
  ENOENT: { errno: -2, syscall: "dlopen", hint: ["apt-get install liburing2", "dnf install liburing", "apk add liburing", "pacman -S liburing"] },
  EOPNOTSUPP: { errno: -95, syscall: "cc", hint: ["bun upgrade"] },
} as const;

function isKnown(code: string | undefined): code is keyof typeof everywhere {
  return code !== undefined && code in everywhere;
}

const announced = process.env["BUN_URING_REFUSED"];
if (!isKnown(announced)) throw new Error(`BUN_URING_REFUSED must be one of ${Object.keys(everywhere).join(", ")}, not ${announced}`);

export const expected = { code: announced, ...everywhere[announced] };
