/**
 * Which paths lie on file systems whose server answers requests: FUSE, network file systems. io_uring's first attempt to
 * open or read a file may wait for that server on the thread of the event loop, so a worker thread of the kernel has to
 * do it.
 */
import { Bun, process } from "../base/globals.ts";
import { readProc } from "../base/machine.ts";

const servedTypes =
  /^(fuse|fuseblk|fuse\..*|virtiofs|nfs4?|cifs|smb3|9p|ceph|afs|coda|lustre|glusterfs|orangefs|prl_fs|vboxsf)$/;
/** Mounts that serve no files to read: the control file system of FUSE, and FUSE within /proc and /sys, as of lxcfs. */
const ignoredPaths = /^\/(proc|sys)(\/|$)/;

/** How long a list of mounts is taken for current. */
const currentNs = 1_000_000_000;

let listedNs = Number.NEGATIVE_INFINITY;
let served: readonly string[] = [];

/** The path of a mount as /proc/self/mountinfo writes it: spaces and others in octal. */
function decoded(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function list(): string[] {
  return readProc("/proc/self/mountinfo")
    .split("\n")
    .flatMap((line) => {
      const [, path = "", type = ""] = /^\S+ \S+ \S+ \S+ (\S+) .* - (\S+) /.exec(line) ?? [];
      const at = decoded(path);
      return servedTypes.test(type) && !ignoredPaths.test(at) ? [at] : [];
    });
}

/**
 * Whether a path probably leads to such a file system. Goes by the path alone: through a symbolic link the file may lie
 * elsewhere. That costs time and breaks nothing.
 */
export function isServed(path: string): boolean {
  const now = Bun.nanoseconds();
  if (now - listedNs > currentNs) {
    served = list();
    listedNs = now;
  }
  if (served.length === 0) return false;
  const absolute = process.getBuiltinModule("node:path").resolve(path);
  return served.some((mount) => mount === "/" || absolute === mount || absolute.startsWith(`${mount}/`));
}
