/**
 * The bounds of memory as the engine has them. A subclass, a Proxy or an own property may have `length`, `byteOffset` or `buffer` say something else, and the kernel would
 * write past the memory's end. Whoever gives memory to the kernel, or copies out of what it wrote, takes its bounds from here, once.
 */

const { isView: isArrayBufferView } = ArrayBuffer;
const PlainBytes = Uint8Array;
const SharedMemory = SharedArrayBuffer;

type Getter<Value> = (this: unknown) => Value;

function getter<Value>(prototype: object, name: string): Getter<Value> {
  const get: unknown = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  if (typeof get !== "function") throw new TypeError(`bun-uring: ${name} is not a getter of this engine`);
  return get as Getter<Value>;
}

const typedArray: object = Object.getPrototypeOf(Uint8Array.prototype);
const typedArrayBuffer = getter<ArrayBufferLike>(typedArray, "buffer");
const typedArrayByteLength = getter<number>(typedArray, "byteLength");
const typedArrayByteOffset = getter<number>(typedArray, "byteOffset");
const dataViewBuffer = getter<ArrayBufferLike>(DataView.prototype, "buffer");
const dataViewByteLength = getter<number>(DataView.prototype, "byteLength");
const dataViewByteOffset = getter<number>(DataView.prototype, "byteOffset");
const sharedByteLength = getter<number>(SharedArrayBuffer.prototype, "byteLength");
const sharedGrowable = getter<boolean>(SharedArrayBuffer.prototype, "growable");
const unsharedByteLength = getter<number>(ArrayBuffer.prototype, "byteLength");

/** Whether it is a typed array or a DataView: a Proxy of one, or an object with its prototype, is not. */
export function isView(value: unknown): value is NodeJS.ArrayBufferView {
  return isArrayBufferView(value);
}

function has<Value>(get: Getter<Value>, object: unknown): boolean {
  try {
    get.call(object);
    return true;
  } catch {
    return false;
  }
}

/** Whether it is a Uint8Array, or a subclass's. */
export function isBytes(value: unknown): value is Uint8Array {
  return isView(value) && value instanceof PlainBytes && has(typedArrayByteLength, value);
}

/** Whether it is a SharedArrayBuffer. That its getter throws for what is none takes longer than all else, so its class is looked at first. */
export function isSharedMemory(value: unknown): value is SharedArrayBuffer {
  return value instanceof SharedMemory && has(sharedByteLength, value);
}

/** Bytes of a SharedArrayBuffer, by now. */
export function sharedByteLengthOf(memory: SharedArrayBuffer): number {
  return sharedByteLength.call(memory);
}

/** Whether a SharedArrayBuffer can grow, and with it views that have no length of their own. */
export function isGrowable(memory: SharedArrayBuffer): boolean {
  return sharedGrowable.call(memory);
}

/** Whether it is an ArrayBuffer, whatever its prototype. */
export function isUnsharedMemory(value: unknown): value is ArrayBuffer {
  return has(unsharedByteLength, value);
}

/** Bytes of a Uint8Array, or -1 where it is none: for where each nanosecond counts. */
export function lengthIfBytes(value: unknown): number {
  if (!(value instanceof PlainBytes)) return -1;
  try {
    return typedArrayByteLength.call(value);
  } catch {
    return -1;
  }
}

/** The memory that a typed array lies in. */
export function bufferOf(bytes: Uint8Array): ArrayBufferLike {
  return typedArrayBuffer.call(bytes);
}

/** Bytes of a typed array. */
export function byteLengthOf(bytes: Uint8Array): number {
  return typedArrayByteLength.call(bytes);
}

/** Where a typed array begins in its memory, in bytes. */
export function byteOffsetOf(bytes: Uint8Array): number {
  return typedArrayByteOffset.call(bytes);
}

/**
 * The memory of a view as a plain Uint8Array, which no program has touched: its own getters and methods can be relied on.
 * @throws TypeError: a DataView whose memory was detached
 */
export function bytesOfView(view: NodeJS.ArrayBufferView): Uint8Array {
  let buffer: ArrayBufferLike;
  try {
    buffer = typedArrayBuffer.call(view);
  } catch {
    return new PlainBytes(dataViewBuffer.call(view), dataViewByteOffset.call(view), dataViewByteLength.call(view));
  }
  return new PlainBytes(buffer, typedArrayByteOffset.call(view), typedArrayByteLength.call(view));
}
