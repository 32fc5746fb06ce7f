/**
 * Virtual machines with a Debian kernel, and an initramfs packed from a root folder. Their processors are emulated.
 */
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output, session } from "./commands.ts";
import type { Architecture, Debian } from "./packages.ts";
import { packageFolder } from "./root.ts";

const emulators: Readonly<Record<Architecture, readonly string[]>> = {
  // The processor `max` was unstable, and so were two processors. cmpxchg16b is off (-cx16) because the emulated one
  // sometimes corrupts the flags register.
  amd64: ["qemu-system-x86_64", "-cpu", "Haswell-noTSX,-cx16", "-append", "console=ttyS0 quiet panic=-1"],
  arm64: ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-append", "console=ttyAMA0 quiet panic=-1"],
};

/** The path of the kernel image of a package linux-image-…. Newer ones have it in a package linux-binary-…. */
export async function kernelImage(debian: Debian, name: string, architecture: Architecture): Promise<string> {
  const image = join(await debian.unpacked(name, architecture), name.replace("linux-image-", "boot/vmlinuz-"));
  if (existsSync(image)) return image;
  const release = name.replace("linux-image-", "");
  return join(await debian.unpacked(`linux-binary-${release}`, architecture), `usr/lib/modules/${release}/vmlinuz`);
}

/**
 * Packs a root folder into an initramfs. Its first process mounts the usual file systems, sets sysctls, runs a command
 * in the package's folder, and powers off.
 */
export async function packInitramfs(
  root: string,
  file: string,
  command: string,
  sysctls: Readonly<Record<string, string>> = {},
): Promise<void> {
  const init = join(root, "init");
  writeFileSync(
    init,
    `#!/usr/bin/busybox sh
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/bin HOME=/root TMPDIR=/tmp NO_COLOR=1 BUN_URING_TEST_EFFORT=0.05 BUN_URING_TEST_EMULATED=1 BUN_URING_TEST_OWN_MACHINE=1 BUN_JSC_useConcurrentJIT=0 BUN_JSC_useDFGJIT=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ifconfig lo up
ln -s /proc/self/fd /dev/fd
echo
${Object.entries(sysctls)
  .map(([name, value]) => `echo ${value} > /proc/sys/${name.replaceAll(".", "/")}\n`)
  .join("")}cd /${packageFolder}
${command}
poweroff -f
`,
  );
  chmodSync(init, 0o755);
  await output(["sh", "-c", 'cd "$1" && find . | cpio --quiet -o -H newc > "$2"', "sh", root, file]);
}

/** Boots a kernel, and returns everything that it printed until it powered off. */
export async function boot(
  kernel: string,
  initramfs: string,
  architecture: Architecture,
  memoryMib: number,
  limitMs: number,
): Promise<string> {
  const machine = [
    "-accel",
    "tcg",
    "-m",
    String(memoryMib),
    "-smp",
    "1",
    "-nographic",
    "-no-reboot",
    "-nic",
    "none",
    "-kernel",
    kernel,
    "-initrd",
    initramfs,
  ];
  return (
    await session([...emulators[architecture], ...machine], { PATH: process.env["PATH"] ?? "" }, limitMs)
  ).replaceAll("\r", "");
}
