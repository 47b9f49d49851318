/** The door of layer 5, collaboration. */
export { type Bus, EmbeddedBus, type Handler, NoResponders, type Unsubscribe } from "./bus.ts";
