/** What the library needs, and since when Linux has what it uses. */

/** The oldest that do. The engines of package.json say the same of Bun. */
export const oldest = { bun: "1.4.0", linux: "6.1", liburing: "2.3" } as const;

/** The Linux that brought something, and the one that has it right. */
export const since = {
  clones: "6.12",
  ranges: "6.13",
  replaceKeepsTail: "6.18.44",
  registeredFiles: "6.13",
  FTRUNCATE: "6.9",
  READV_FIXED: "6.15",
} as const;

/** Whether a kernel's release, "6.1.0-39-amd64", is before a version, "6.12". Undefined where it says neither. */
export function isBefore(release: string, version: string): boolean | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  if (major === undefined) return undefined;
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
  return Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor);
}

/** What to do where the kernel lacks something. */
export function newerLinux(version: string): string {
  return `Linux ${version} or newer is needed.`;
}
