/** What keeps io_uring or this library from working, and what to do about it: each of these texts is here once, for errors and for `bun-uring doctor`. */
import { oldest } from "./requirements.ts";

/** Where a step is taken. */
export type Host = "docker" | "podman" | "kubernetes" | "systemd" | "login";

/** Lines to paste: commands, or what to put into a file that a comment names. */
export interface Step {
  /** Omitted: anywhere. */
  readonly place?: Host;
  readonly lines: readonly string[];
}

/** What to do about one cause. */
export interface Remedy {
  /** The cause and the way out in a sentence or a few, as errors say it. */
  readonly hint: string;
  /** The same at length, one step a place. */
  readonly steps: readonly Step[];
}

function anywhere(...lines: readonly string[]): Step[] {
  return [{ lines }];
}

const systemCalls = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
const allowed = `.syscalls += [{names: [${systemCalls.map((name) => `"${name}"`).join(", ")}], action: "SCMP_ACT_ALLOW"}]`;
const allow = `allow ${systemCalls.slice(0, -1).join(", ")} and ${systemCalls.at(-1)}`;

/** A systemd unit gets a setting of its own. */
function inUnit(setting: string, unit = "UNIT"): string[] {
  const [name = ""] = setting.split("=");
  return [
    `sudo mkdir -p /etc/systemd/system/${unit}.service.d`,
    `printf '[Service]\\n${setting}\\n' | sudo tee /etc/systemd/system/${unit}.service.d/${name}.conf`,
    `sudo systemctl daemon-reload && sudo systemctl restart ${unit}`,
  ];
}

function ofService(setting: string, which = "the service UNIT"): Step {
  return { place: "systemd", lines: [`# systemd, for ${which}`, ...inUnit(setting)] };
}

/** A limit is raised for containers and services, or for whoever logs in. */
function raised(item: string, setting: string, option: string, value: string | number, kubernetes: readonly string[]): Step[] {
  return [
    { place: "login", lines: ["# shells, from the next login on", `echo "$USER - ${item} ${value}" | sudo tee /etc/security/limits.d/60-${item}.conf`] },
    ofService(`${setting}=${value === "unlimited" ? "infinity" : value}`),
    ...(["docker", "podman"] as const).map((place) => ({
      place,
      lines: [`# ${place === "docker" ? "Docker" : "Podman"}`, `${place} run --ulimit ${item}=${option} IMAGE`],
    })),
    { place: "docker", lines: ["# Docker Compose, in compose.yaml", "services:", "  NAME:", "    ulimits:", `      ${item}: ${option.split(":")[0]}`] },
    { place: "kubernetes", lines: kubernetes },
  ];
}

const seccompSteps: readonly Step[] = [
  {
    place: "docker",
    lines: [
      "# Docker: its default profile, and io_uring",
      "curl -fsSL https://raw.githubusercontent.com/moby/profiles/main/seccomp/default.json |",
      `  jq '${allowed}' > io_uring.json`,
      "docker run --security-opt seccomp=io_uring.json IMAGE",
    ],
  },
  { place: "docker", lines: ["# Docker Compose, in compose.yaml", "services:", "  NAME:", "    security_opt:", "      - seccomp:./io_uring.json"] },
  {
    place: "podman",
    lines: [
      "# Podman: its default profile, and io_uring",
      `jq '${allowed}' /usr/share/containers/seccomp.json > io_uring.json`,
      "podman run --security-opt seccomp=io_uring.json IMAGE",
    ],
  },
  {
    place: "kubernetes",
    lines: [
      "# Kubernetes, on each node: the profile that the container CONTAINER has now, and io_uring",
      "sudo mkdir -p /var/lib/kubelet/seccomp/profiles",
      `sudo crictl inspect "$(sudo crictl ps --quiet --name CONTAINER)" | jq '.info.runtimeSpec.linux.seccomp | ${allowed}' |`,
      "  sudo tee /var/lib/kubelet/seccomp/profiles/io_uring.json > /dev/null",
      "# and in the pod's manifest, for the container",
      "securityContext:",
      "  seccompProfile:",
      "    type: Localhost",
      "    localhostProfile: profiles/io_uring.json",
    ],
  },
  ofService("SystemCallFilter=@aio", "the service UNIT, where it has a SystemCallFilter=: without one this would allow nothing else"),
];

/** A filter that answers EPERM. */
export const seccomp: Remedy = {
  hint: `A seccomp profile refuses io_uring to this process, as Docker's and Kubernetes' default ones do, or SystemCallFilter= of systemd: ${allow} in it.`,
  steps: seccompSteps,
};

/** A filter that answers ENOSYS. */
export const seccompHides: Remedy = {
  hint:
    "This process has no io_uring: a seccomp profile most likely hides it, as Podman's default one does, unless the kernel is built without it. " +
    `${allow[0]?.toUpperCase()}${allow.slice(1)} in the profile.`,
  steps: seccompSteps,
};

/** kernel.io_uring_disabled=2 */
export const disabled: Remedy = {
  hint: "The sysctl kernel.io_uring_disabled is 2, so nobody may use io_uring on this machine. Set it to 0.",
  steps: anywhere(
    "# on the machine itself: a container has the sysctl of its host",
    "sudo sysctl -w kernel.io_uring_disabled=0",
    "echo 'kernel.io_uring_disabled = 0' | sudo tee /etc/sysctl.d/60-io_uring.conf  # from the next start on, too",
  ),
};

/** kernel.io_uring_disabled=1 */
export function restricted(group: number | undefined): Remedy {
  const members = group === undefined || group < 0 ? "which is nobody now" : `which has the id ${group} now`;
  return {
    hint:
      "The sysctl kernel.io_uring_disabled is 1, so only root of the machine may use io_uring, and the group that kernel.io_uring_group names, " +
      `${members}. Let it name a group of this process, or set kernel.io_uring_disabled to 0.`,
    steps: anywhere(
      "# on the machine itself: a container has the sysctls of its host. As the user who is to have io_uring:",
      "sudo sysctl -w kernel.io_uring_group=$(id -g)",
      'echo "kernel.io_uring_group = $(id -g)" | sudo tee /etc/sysctl.d/60-io_uring.conf  # from the next start on, too',
      "# or for everybody",
      "sudo sysctl -w kernel.io_uring_disabled=0",
    ),
  };
}

/** EPERM, and nothing in /proc that explains it. */
export const refused: Remedy = {
  hint:
    "The process may not use io_uring. Either a seccomp profile refuses it, as Docker's and Kubernetes' default ones do " +
    `(${allow}), or the sysctl kernel.io_uring_disabled is 1 or 2 (set it to 0).`,
  steps: [...disabled.steps, ...seccompSteps],
};

/** EACCES. */
export const securityModule: Remedy = {
  hint: "A security module refuses io_uring to this process, most likely SELinux: its audit log says which rule to add.",
  steps: anywhere(
    "sudo ausearch -m avc -ts recent | grep io_uring",
    "sudo ausearch -m avc -ts recent | audit2allow -M io_uring && sudo semodule -i io_uring.pp",
  ),
};

/** ENOSYS, and no filter. */
export const noIoUring: Remedy = {
  hint: `This kernel, or the sandbox around this process, has no io_uring. Linux ${oldest.linux} or newer is needed, built with CONFIG_IO_URING.`,
  steps: anywhere("# what the kernel was built with", `grep CONFIG_IO_URING "/boot/config-$(uname -r)" || zcat /proc/config.gz | grep CONFIG_IO_URING`),
};

/** The kernel of a sandbox. */
export const gvisor: Remedy = {
  hint: "This process runs under gVisor, which has no io_uring that is of use. Run it with another container runtime.",
  steps: [
    { place: "docker", lines: ["# Docker", "docker run --runtime=runc IMAGE"] },
    { place: "kubernetes", lines: ["# Kubernetes: in the pod's manifest, no runtimeClassName that stands for gVisor", "kubectl get runtimeclass"] },
  ],
};

/** A kernel of the distribution that is newer than the one it began with. */
export const newerKernel: readonly Step[] = anywhere(
  "# on the machine itself, one of these, then a restart",
  "sudo apt-get install linux-generic-hwe-$(. /etc/os-release; echo $VERSION_ID)  # Ubuntu LTS",
  "sudo apt-get install -t $(. /etc/os-release; echo $VERSION_CODENAME)-backports linux-image-$(dpkg --print-architecture)  # Debian with backports",
  "sudo dnf upgrade kernel  # Fedora",
);

/** @param release - the kernel's, "5.15.0" */
export function oldKernel(release: string): Remedy {
  return { hint: `Linux ${oldest.linux} or newer is needed, and this is ${release}.`, steps: newerKernel };
}

export const notLinux: Remedy = {
  hint: "Use bun-uring on Linux only.",
  steps: [
    ...anywhere("# Docker runs containers on a Linux kernel, here too; its default seccomp profile refuses io_uring, so with another:"),
    ...seccompSteps.filter(({ place }) => place === "docker"),
  ],
};

export const oldBun: Remedy = { hint: "Run `bun upgrade`.", steps: anywhere("bun upgrade") };

export const compilerOff: Remedy = {
  hint: "Run Bun without --no-ffi-cc.",
  steps: anywhere("# --no-ffi-cc is on the command line, or in one of these", 'echo "$BUN_OPTIONS"', "grep -r no-ffi-cc package.json Dockerfile"),
};

export const noShim: Remedy = {
  hint: "Install bun-uring again: its folder c is missing. `bun build` carries it into a program; for other bundlers keep bun-uring external.",
  steps: anywhere("bun install --force", "# of a bundled program: one of these", "bun build --target bun ENTRY", "esbuild --bundle --external:bun-uring ENTRY"),
};

/** The C shim of a program that it was bundled into is compiled from a file in memory, which is found in /proc; or from one of these. */
export const noTemporaryFile: Remedy = {
  hint: "Set TMPDIR to a folder that this process may write to, or mount /proc.",
  steps: anywhere("TMPDIR=/dev/shm PROGRAM"),
};

const install = [
  ["apt-get install liburing2", "Debian, Ubuntu"],
  ["dnf install liburing", "Fedora, RHEL"],
  ["apk add liburing", "Alpine"],
  ["pacman -S liburing", "Arch"],
] as const;
const installSteps = anywhere(...install.map(([command, distributions]) => `sudo ${command}  # ${distributions}`));

export const noLiburing: Remedy = {
  hint: `Install liburing's runtime library: ${install.map(([command, distributions]) => `\`${command}\` (${distributions})`).join(", ")}.`,
  steps: installSteps,
};

export const oldLiburing: Remedy = { hint: `liburing ${oldest.liburing} or newer is needed.`, steps: installSteps };

/** What registered memory counts against, and on newer kernels rings, too. */
export const lockedMemory: Remedy = {
  hint:
    "Raise the limit (`ulimit -l`, memlock in /etc/security/limits.conf, LimitMEMLOCK= of systemd, --ulimit memlock= of Docker), " +
    "or give the process the capability CAP_IPC_LOCK (of the machine, not of a container's user namespace), which frees it of the limit.",
  steps: raised("memlock", "LimitMEMLOCK", "-1:-1", "unlimited", [
    "# Kubernetes: in the pod's manifest, for a container that runs as root",
    "securityContext:",
    "  capabilities:",
    '    add: ["IPC_LOCK"]',
  ]),
};

/** What a process needs descriptors for, and how it gets more. */
export const moreDescriptors: Remedy = {
  hint:
    "A ring takes two descriptors, and one more while it is in use, a pool up to three in each thread, and an open file one. The limit is raised with `ulimit -n`, nofile in " +
    "/etc/security/limits.conf, LimitNOFILE= of systemd, or --ulimit nofile= of Docker.",
  steps: raised("nofile", "LimitNOFILE", "65536:65536", 65536, [
    "# Kubernetes, on each node: the limit of the container runtime, here containerd",
    ...inUnit("LimitNOFILE=65536", "containerd"),
  ]),
};

/** EMFILE. */
export const openFiles: Remedy = {
  hint: `The process has as many descriptors as it may: close some, or raise the limit. ${moreDescriptors.hint}`,
  steps: moreDescriptors.steps,
};

/** ENFILE. */
export const openFilesOfMachine: Remedy = {
  hint: "The machine has as many files open as it may: the sysctl fs.file-max says how many.",
  steps: anywhere("sudo sysctl -w fs.file-max=1000000"),
};

/** ENOMEM where the limit on locked memory is not what is in the way. */
export const noMemory: Remedy = {
  hint: "The machine, or the cgroup of this container or service, has no memory left.",
  steps: anywhere("free -m", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.current"),
};

export const noProc: Remedy = {
  hint: "Limits and what refuses are read from /proc, which is not mounted here.",
  steps: anywhere("sudo mount -t proc proc /proc"),
};
