import { Ring } from "bun-uring";

new Ring();
