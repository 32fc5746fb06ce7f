/** What the descriptors of a process refer to, so that the descriptors of two processes can be compared. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface Descriptor {
  readonly fd: number;
  /** Equal in two processes if the descriptors refer to the same open object, or to files with the same path. */
  readonly identity: string;
  readonly closesOnExec: boolean;
}

const O_CLOEXEC = 0o2000000;

/** All descriptors of this process. */
export function ownDescriptors(): Descriptor[] {
  const found: Descriptor[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      const about = readFileSync(`/proc/self/fdinfo/${name}`, "utf8");
      const flags = Number.parseInt(/^flags:\s+(\d+)/m.exec(about)?.[1] ?? "", 8);
      const eventfd = /^eventfd-id:\s*(\d+)/m.exec(about)?.[1];
      found.push({
        fd: Number(name),
        identity: eventfd === undefined ? target : `eventfd ${eventfd}`,
        closesOnExec: (flags & O_CLOEXEC) !== 0,
      });
    } catch {
      // The descriptor of this listing itself is closed by now.
    }
  }
  return found;
}
