/** A file's methods as a program without types can call them: with any values. */
export type Loose = Readonly<Record<string, (...values: readonly unknown[]) => unknown>>;

/** Wraps a RingFile or a FileHandle for such calls. */
export function loose(file: object): Loose {
  return new Proxy(file, {
    get:
      (_, name) =>
      (...values: readonly unknown[]) =>
        Reflect.apply(Reflect.get(file, name, file), file, values),
  }) as Loose;
}
