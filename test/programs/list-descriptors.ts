/** Writes a list of its own descriptors to a file: list-descriptors.ts PATH. */
import { writeFileSync } from "node:fs";
import { ownDescriptors } from "../support/identities.ts";

writeFileSync(process.argv[2] ?? "", JSON.stringify(ownDescriptors()));
process.exit();
