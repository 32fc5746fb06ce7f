/** What to do about each cause, in detail: lines that `bun-uring doctor` prints, for the user to paste. */
import { type Cause, liburingInstalls, systemCalls } from "../errors/remedies.ts";

/** The environment that a step applies to. */
export type Host = "docker" | "podman" | "kubernetes" | "systemd" | "login";

/** Lines to paste: commands, or the content of a file that a comment names. */
export interface Step {
  /** If omitted, the step applies everywhere. */
  readonly place?: Host;
  readonly lines: readonly string[];
}

function anywhere(...lines: readonly string[]): Step[] {
  return [{ lines }];
}

const allowed = `.syscalls += [{names: [${systemCalls.map((name) => `"${name}"`).join(", ")}], action: "SCMP_ACT_ALLOW"}]`;

/** Commands that add a setting to a systemd unit. */
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

/** Steps that raise a limit: for login shells, services and containers. */
function raised(
  item: string,
  setting: string,
  option: string,
  value: string | number,
  kubernetes: readonly string[],
): Step[] {
  return [
    {
      place: "login",
      lines: [
        "# login shells, from the next login on",
        `echo "$USER - ${item} ${value}" | sudo tee /etc/security/limits.d/60-${item}.conf`,
      ],
    },
    ofService(`${setting}=${value === "unlimited" ? "infinity" : value}`),
    ...(["docker", "podman"] as const).map((place) => ({
      place,
      lines: [`# ${place === "docker" ? "Docker" : "Podman"}`, `${place} run --ulimit ${item}=${option} IMAGE`],
    })),
    {
      place: "docker",
      lines: [
        "# Docker Compose, in compose.yaml",
        "services:",
        "  NAME:",
        "    ulimits:",
        `      ${item}: ${option.split(":")[0]}`,
      ],
    },
    { place: "kubernetes", lines: kubernetes },
  ];
}

const seccompSteps: readonly Step[] = [
  {
    place: "docker",
    lines: [
      "# Docker: its default profile plus io_uring",
      "curl -fsSL https://raw.githubusercontent.com/moby/profiles/main/seccomp/default.json |",
      `  jq '${allowed}' > io_uring.json`,
      "docker run --security-opt seccomp=io_uring.json IMAGE",
    ],
  },
  {
    place: "docker",
    lines: [
      "# Docker Compose, in compose.yaml",
      "services:",
      "  NAME:",
      "    security_opt:",
      "      - seccomp:./io_uring.json",
    ],
  },
  {
    place: "podman",
    lines: [
      "# Podman: its default profile plus io_uring",
      `jq '${allowed}' /usr/share/containers/seccomp.json > io_uring.json`,
      "podman run --security-opt seccomp=io_uring.json IMAGE",
    ],
  },
  {
    place: "kubernetes",
    lines: [
      "# Kubernetes, on each node: the profile that the container CONTAINER has now, plus io_uring",
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
  ofService(
    "SystemCallFilter=@aio",
    "the service UNIT, only if it already has a SystemCallFilter=: otherwise this would block all other system calls",
  ),
];

const disabled = anywhere(
  "# on the machine itself: a container uses the sysctl of its host",
  "sudo sysctl -w kernel.io_uring_disabled=0",
  "echo 'kernel.io_uring_disabled = 0' | sudo tee /etc/sysctl.d/60-io_uring.conf  # also after a reboot",
);

/** The steps for each cause. There may be several for the same environment. */
export const steps: Readonly<Record<Cause, readonly Step[]>> = {
  seccomp: seccompSteps,
  disabled,
  restricted: anywhere(
    "# on the machine itself: a container uses the sysctls of its host. As the user who is to use io_uring:",
    "sudo sysctl -w kernel.io_uring_group=$(id -g)",
    'echo "kernel.io_uring_group = $(id -g)" | sudo tee /etc/sysctl.d/60-io_uring.conf  # also after a reboot',
    "# or for everybody",
    "sudo sysctl -w kernel.io_uring_disabled=0",
  ),
  refused: [...disabled, ...seccompSteps],
  securityModule: anywhere(
    "sudo ausearch -m avc -ts recent | grep io_uring",
    "sudo ausearch -m avc -ts recent | audit2allow -M io_uring && sudo semodule -i io_uring.pp",
  ),
  noIoUring: anywhere(
    "# what the kernel was built with",
    `grep CONFIG_IO_URING "/boot/config-$(uname -r)" || zcat /proc/config.gz | grep CONFIG_IO_URING`,
  ),
  gvisor: [
    { place: "docker", lines: ["# Docker", "docker run --runtime=runc IMAGE"] },
    {
      place: "kubernetes",
      lines: [
        "# Kubernetes: in the pod's manifest, remove a runtimeClassName that selects gVisor",
        "kubectl get runtimeclass",
      ],
    },
  ],
  // Kernels that a distribution offers in addition to its original one.
  oldKernel: anywhere(
    "# on the machine itself, one of these, then reboot",
    "sudo apt-get install linux-generic-hwe-$(. /etc/os-release; echo $VERSION_ID)  # Ubuntu LTS",
    "sudo apt-get install -t $(. /etc/os-release; echo $VERSION_CODENAME)-backports linux-image-$(dpkg --print-architecture)  # Debian with backports",
    "sudo dnf upgrade kernel  # Fedora",
  ),
  notLinux: [
    ...anywhere(
      "# Docker runs containers on a Linux kernel here, too. Its default seccomp profile refuses io_uring, so use another:",
    ),
    ...seccompSteps.filter(({ place }) => place === "docker"),
  ],
  oldBun: anywhere("bun upgrade"),
  compilerOff: anywhere(
    "# --no-ffi-cc is on the command line, or in one of these",
    'echo "$BUN_OPTIONS"',
    "grep -r no-ffi-cc package.json Dockerfile",
  ),
  noShim: anywhere(
    "bun install --force",
    "# for a bundled program: one of these",
    "bun build --target bun ENTRY",
    "esbuild --bundle --external:bun-uring ENTRY",
  ),
  noTemporaryFile: anywhere("TMPDIR=/dev/shm PROGRAM"),
  noLiburing: anywhere(...liburingInstalls.map(([command, distributions]) => `sudo ${command}  # ${distributions}`)),
  lockedMemory: raised("memlock", "LimitMEMLOCK", "-1:-1", "unlimited", [
    "# Kubernetes: in the pod's manifest, for a container that runs as root",
    "securityContext:",
    "  capabilities:",
    '    add: ["IPC_LOCK"]',
  ]),
  descriptors: raised("nofile", "LimitNOFILE", "65536:65536", 65536, [
    "# Kubernetes, on each node: the limit of the container runtime, here containerd",
    ...inUnit("LimitNOFILE=65536", "containerd"),
  ]),
  openFilesOfMachine: anywhere("sudo sysctl -w fs.file-max=1000000"),
  noMemory: anywhere("free -m", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.current"),
  noProc: anywhere("sudo mount -t proc proc /proc"),
};
