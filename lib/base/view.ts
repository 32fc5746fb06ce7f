/**
 * The bounds of memory as the engine knows them. A subclass, a Proxy or an own property can make `length`, `byteOffset`
 * or `buffer` return something else, and the kernel would write past the end of the memory. All code that passes memory
 * to the kernel, or copies out of memory that the kernel wrote, reads the bounds here, and only once.
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

/** Whether `value` is a typed array or a DataView. A Proxy of one is not, nor is an object with its prototype. */
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

/** Whether `value` is a Uint8Array, or an instance of a subclass. */
export function isBytes(value: unknown): value is Uint8Array {
  return isView(value) && value instanceof PlainBytes && has(typedArrayByteLength, value);
}

/**
 * Whether `value` is a SharedArrayBuffer. Checks the class first: calling the getter on anything else throws, which is
 * slow.
 */
export function isSharedMemory(value: unknown): value is SharedArrayBuffer {
  return value instanceof SharedMemory && has(sharedByteLength, value);
}

/** The present length of a SharedArrayBuffer, in bytes: it may grow. */
export function sharedByteLengthOf(memory: SharedArrayBuffer): number {
  return sharedByteLength.call(memory);
}

/** Whether a SharedArrayBuffer can grow. Views without a fixed length grow with it. */
export function isGrowable(memory: SharedArrayBuffer): boolean {
  return sharedGrowable.call(memory);
}

/** Whether `value` is an ArrayBuffer, whatever its prototype. */
export function isUnsharedMemory(value: unknown): value is ArrayBuffer {
  return has(unsharedByteLength, value);
}

/** The length of a Uint8Array in bytes, or -1 for any other value. For hot paths. */
export function lengthIfBytes(value: unknown): number {
  if (!(value instanceof PlainBytes)) return -1;
  try {
    return typedArrayByteLength.call(value);
  } catch {
    return -1;
  }
}

/** The buffer of a typed array. */
export function bufferOf(bytes: Uint8Array): ArrayBufferLike {
  return typedArrayBuffer.call(bytes);
}

/** The length of a typed array in bytes. */
export function byteLengthOf(bytes: Uint8Array): number {
  return typedArrayByteLength.call(bytes);
}

/** The offset of a typed array in its buffer, in bytes. */
export function byteOffsetOf(bytes: Uint8Array): number {
  return typedArrayByteOffset.call(bytes);
}

/**
 * A view's memory as a new plain Uint8Array. The program has not modified it, so its getters and methods can be
 * trusted.
 * @throws TypeError: a DataView whose buffer was detached
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
