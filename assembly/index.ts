export * from "./batch/abi";
