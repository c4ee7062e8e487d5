export * from "./batch/abi";
export * from "./batch/summary";
