export * from "./batch/abi";
export * from "./batch/summary";
export * from "./codec/abi";
export * from "./window/abi";
export * from "./parse/abi";
export * from "./expression/abi";
export * from "./window/clocks-abi";
export * from "./window/keyed/abi";
