/** What `bun-uring doctor` examines besides io_uring itself. */
import { Bun, process } from "../base/globals.ts";
import { openFiles } from "../base/machine.ts";
import { type Refusing, refusing } from "../errors/refusal.ts";
import { type Probe, probe } from "../uring/probe.ts";
import type { Host } from "./steps.ts";
import { type Trial, trial } from "./trial.ts";

export interface Surroundings {
  readonly platform: string;
  readonly architecture: string;
  readonly bun: string;
  /** Whether /proc is readable. If it is not, everything that is read from it is unknown. */
  readonly hasProc: boolean;
  readonly refusing: Refusing;
  /** The kind of container that the process runs in. Undefined outside a container, or if it cannot be detected. */
  readonly container: Host | undefined;
  readonly openFiles: {
    /** How many descriptors the process may have. Infinity if unknown. */
    readonly limit: number;
    /** How many it has open. */
    readonly open: number;
  };
  /** Undefined if io_uring is not available, so that there was nothing to try. */
  readonly trial: Trial | undefined;
}

function container(): Host | undefined {
  const { existsSync } = process.getBuiltinModule("node:fs");
  if (process.env["KUBERNETES_SERVICE_HOST"] !== undefined) return "kubernetes";
  if (existsSync("/run/.containerenv")) return "podman";
  return existsSync("/.dockerenv") ? "docker" : undefined;
}

function openFilesIfKnown(): Surroundings["openFiles"] {
  try {
    return openFiles();
  } catch {
    return { limit: Number.POSITIVE_INFINITY, open: 0 };
  }
}

/** Collects everything that `diagnose` needs, and runs the trial. */
export async function examine(): Promise<{ probe: Probe; surroundings: Surroundings }> {
  const descriptors = openFilesIfKnown(); // before the probe opens some
  const found = probe();
  return {
    probe: found,
    surroundings: {
      platform: process.platform,
      architecture: process.arch,
      bun: Bun.version,
      hasProc: process.getBuiltinModule("node:fs").existsSync("/proc/self/status"),
      refusing: refusing(),
      container: container(),
      openFiles: descriptors,
      trial: found.available ? await trial(found) : undefined,
    },
  };
}
