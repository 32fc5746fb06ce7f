/**
 * Errnos: constants for those that the library checks for, negative as the kernel and liburing return them; and the
 * errnos and codes of all others, by lookup.
 */
import { process } from "../base/globals.ts";

export const ENOENT = -2;
export const EINTR = -4;
export const EIO = -5;
export const ENXIO = -6;
export const EBADF = -9;
export const EAGAIN = -11;
export const ENOMEM = -12;
export const EEXIST = -17;
export const ENOTDIR = -20;
export const EINVAL = -22;
export const ESPIPE = -29;
export const ETIME = -62;
export const EOVERFLOW = -75;
export const ECANCELED = -125;

/** Errnos of Linux that files, devices and io_uring report and that node:os lacks. */
const others = { EBADFD: 77, EUSERS: 87, EUCLEAN: 117, EREMOTEIO: 121, ENOMEDIUM: 123, ENOKEY: 126, EHWPOISON: 133 };

/**
 * Negative errnos by code. Of two codes for the same errno, the one that the kernel uses comes last, so that `codeOf`
 * returns it.
 */
function errnos(): Map<string, number> {
  const { errno } = process.getBuiltinModule("node:os").constants;
  const found = new Map(Object.entries({ ...errno, ...others }).map(([code, number]) => [code, -number]));
  for (const code of ["EAGAIN", "EOPNOTSUPP"]) {
    const number = found.get(code) ?? 0;
    found.delete(code);
    found.set(code, number);
  }
  return found;
}

let errnoByCode: ReadonlyMap<string, number> | undefined;
let codeByErrno: ReadonlyMap<number, string> | undefined;

/** The negative errno of a code, or 0 if the code is not an errno. */
export function errnoOf(code: string): number {
  errnoByCode ??= errnos();
  return errnoByCode.get(code) ?? 0;
}

/** The code of a negative errno. */
export function codeOf(errno: number): string {
  errnoByCode ??= errnos();
  codeByErrno ??= new Map(Array.from(errnoByCode, ([code, one]) => [one, code] as const));
  return codeByErrno.get(errno) ?? `E${-errno}`;
}
