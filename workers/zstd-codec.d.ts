/** What is used of `zstd-codec`, which comes without types. `null` is its way to say that it failed. */
declare module "zstd-codec" {
  export interface ZstdSimple {
    compress(bytes: Uint8Array, level: number): Uint8Array | null;
  }
  export interface ZstdStreaming {
    decompressChunks(chunks: readonly Uint8Array[], sizeHint: number): Uint8Array | null;
  }
  export interface ZstdBinding {
    readonly Simple: new () => ZstdSimple;
    readonly Streaming: new () => ZstdStreaming;
  }
  const zstd: { readonly ZstdCodec: { run(ready: (binding: ZstdBinding) => void): void } };
  // biome-ignore lint/style/noDefaultExport: a CommonJS package has no other
  export default zstd;
}
