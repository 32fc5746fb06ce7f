/** The versions that the library needs, and the Linux versions that introduced the features it uses. */

/** The oldest supported versions. `engines` in package.json has the same version of Bun. */
export const oldest = { bun: "1.4.0", linux: "6.1", liburing: "2.3" } as const;

/** The version of Linux that introduced a feature; for `replaceKeepsTail`, the one that fixed it. */
export const since = {
  clones: "6.12",
  ranges: "6.13",
  replaceKeepsTail: "6.18.44",
  registeredFiles: "6.13",
  FIXED_FD_INSTALL: "6.8",
  FTRUNCATE: "6.9",
  READV_FIXED: "6.15",
  DONTCACHE: "6.14",
} as const;

/**
 * Whether a kernel's release, "6.1.0-39-amd64", is older than a version, "6.12". Undefined if the release does not
 * start with a version.
 */
export function isBefore(release: string, version: string): boolean | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  if (major === undefined) return undefined;
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
  return Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor);
}

/** The hint for a feature that the kernel lacks. */
export function newerLinux(version: string): string {
  return `Linux ${version} or newer is needed.`;
}
