/** What is used of it: the types of Node declare no more than the name. */
declare namespace WebAssembly {
  class Module {
    private constructor();
  }
  class Instance {
    readonly exports: Readonly<Record<string, unknown>>;
    private constructor();
  }
}
