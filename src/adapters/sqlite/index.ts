export { SqlitePlacement, type SqlitePlacementOptions } from "./placement.ts";
export { SqliteStore, type SqliteStoreOptions } from "./store.ts";
