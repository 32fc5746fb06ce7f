/**
 * Who waits for a slot, and whose turn it is, in memory shared by the threads of a pool. A slot that is free is anybody's who is there first, until one has waited
 * through too many releases: then it has its turn, and nobody else takes the last one until it has got one or waits no more. A turn is a word that
 * any thread may take back from one who does not wait, so none is lost with a thread that ends.
 */

/** Releases that others are ahead in, before the one who has waited longest has its turn. */
const patience = 128;
const largestStamp = 2 ** 30;

/** 32-bit words of the shared head, and of each participant. */
export interface TurnWords {
  /** One past the highest participant there ever was. */
  readonly participantLimit: number;
  /** 0, or the participant whose turn it is + 1. */
  readonly turn: number;
  /** Releases since the last turn began, while somebody waited. */
  readonly passes: number;
  /** Numbers waits: each has a stamp of its own. */
  readonly waits: number;
  /** Of participant 0; and from one participant's to the next's: 0, or the stamp of its wait. */
  readonly firstWaiting: number;
  readonly stride: number;
}

export class Turns {
  readonly #words: Int32Array;
  readonly #at: TurnWords;

  constructor(words: Int32Array, at: TurnWords) {
    this.#words = words;
    this.#at = at;
  }

  /** Notes that a participant begins to wait, or waits no more: whoever frees a slot signals its eventfd until then. */
  setWaiting(participant: number, waiting: boolean): void {
    const stamp = waiting ? (Atomics.add(this.#words, this.#at.waits, 1) & (largestStamp - 1)) + 1 : 0;
    Atomics.store(this.#words, this.#waitingOf(participant), stamp);
  }

  isWaiting(participant: number): boolean {
    return this.#stampOf(participant) !== 0;
  }

  /** Whether a participant other than `except` waits. */
  othersWait(except: number): boolean {
    for (let participant = 0; participant < this.#limit; participant++) if (participant !== except && this.isWaiting(participant)) return true;
    return false;
  }

  /**
   * Whether a participant may take the only slot that is free: not while it is another's turn. One who takes a turn back here takes that slot, too, and its release
   * has those look again who were refused meanwhile.
   */
  mayTakeLast(participant: number): boolean {
    const turn = Atomics.load(this.#words, this.#at.turn);
    if (turn === 0 || turn === participant + 1) return true;
    if (this.isWaiting(turn - 1)) return false;
    Atomics.compareExchange(this.#words, this.#at.turn, turn, 0);
    return true;
  }

  /** Notes a release while somebody waits: after so many it is the turn of the one who has waited longest. */
  notePass(): void {
    if (Atomics.add(this.#words, this.#at.passes, 1) < patience) return;
    Atomics.store(this.#words, this.#at.passes, 0);
    let longest = -1;
    for (let participant = 0; participant < this.#limit; participant++)
      if (this.isWaiting(participant) && (longest === -1 || this.#stampOf(participant) < this.#stampOf(longest))) longest = participant;
    if (longest !== -1) Atomics.compareExchange(this.#words, this.#at.turn, 0, longest + 1);
  }

  /** Ends a participant's turn, where it is that: it has got a slot, or waits no more. Returns whether it was; then the others have to look again. */
  end(participant: number): boolean {
    if (Atomics.load(this.#words, this.#at.turn) !== participant + 1) return false;
    if (this.isWaiting(participant)) this.setWaiting(participant, true); // who wants more begins to wait anew
    return Atomics.compareExchange(this.#words, this.#at.turn, participant + 1, 0) === participant + 1;
  }

  get #limit(): number {
    return Atomics.load(this.#words, this.#at.participantLimit);
  }

  #waitingOf(participant: number): number {
    return this.#at.firstWaiting + participant * this.#at.stride;
  }

  #stampOf(participant: number): number {
    return Atomics.load(this.#words, this.#waitingOf(participant));
  }
}
