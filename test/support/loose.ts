/** A file's methods as a program without types calls them, with anything. */
export type Loose = Readonly<Record<string, (...values: readonly unknown[]) => unknown>>;

/** A RingFile or a FileHandle, for such calls. */
export function loose(file: object): Loose {
  return new Proxy(file, {
    get:
      (_, name) =>
      (...values: readonly unknown[]) =>
        Reflect.apply(Reflect.get(file, name, file), file, values),
  }) as Loose;
}
