/** A first-in, first-out queue. `push` and `shift` take amortised constant time. */
export class ItemQueue<Item> {
  #items: (Item | undefined)[] = [];
  #first = 0;

  get size(): number {
    return this.#items.length - this.#first;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** The item that `shift` would return. */
  peek(): Item | undefined {
    return this.#items[this.#first];
  }

  /** Iterates over the items, oldest first. */
  *[Symbol.iterator](): Generator<Item> {
    for (let index = this.#first; index < this.#items.length; index++) {
      const item = this.#items[index];
      if (item !== undefined) yield item;
    }
  }

  shift(): Item | undefined {
    const item = this.#items[this.#first];
    if (this.size === 0) return undefined;
    this.#items[this.#first++] = undefined;
    // More than half of the array has been consumed: drop that part.
    if (this.#first > 1024 && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }
}
