/**
 * Who waits for a slot, and whose turn it is, in memory shared by the threads of a pool.
 *
 * Normally the first participant to try gets a free slot. That can starve one that waits: by the time it wakes, others
 * have taken the slot. So after a number of releases while somebody waits, the turn goes to the participant that has
 * waited longest. From then on no other participant takes the last free slot, until the one with the turn has got a
 * slot or stops waiting.
 *
 * The turn is one word. Any participant may clear it once its holder does not wait, so a thread that ends with the turn
 * does not block the others. Turns only decide who may try: slots.ts alone decides who gets a slot, so a race here can
 * be unfair, but never grants a slot twice.
 */

/**
 * After this many releases while somebody waits, the next one gives the turn to the participant that has waited
 * longest.
 */
const patience = 128;
const largestStamp = 2 ** 30;

/** Indexes of 32-bit words, at the head of the shared memory and in each participant. */
export interface TurnWords {
  /** One past the highest participant index ever used. */
  readonly participantLimit: number;
  /** 0, or 1 + the participant whose turn it is. */
  readonly turn: number;
  /** Releases while somebody waited, since a turn was last due. */
  readonly passes: number;
  /**
   * A counter of waits, which gives each its own stamp. The smallest stamp has waited longest, except when the counter
   * wraps around at 2^30.
   */
  readonly waits: number;
  /**
   * Participant 0's word for waiting: 0, or the stamp of its wait. `stride` is the distance to the next participant's.
   */
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

  /**
   * Records that a participant begins or stops waiting. While it waits, every thread that frees a slot signals its
   * eventfd.
   */
  setWaiting(participant: number, waiting: boolean): void {
    const stamp = waiting ? (Atomics.add(this.#words, this.#at.waits, 1) & (largestStamp - 1)) + 1 : 0;
    Atomics.store(this.#words, this.#waitingOf(participant), stamp);
  }

  isWaiting(participant: number): boolean {
    return this.#stampOf(participant) !== 0;
  }

  /** Whether a participant other than `except` waits. */
  othersWait(except: number): boolean {
    for (let participant = 0; participant < this.#limit; participant++)
      if (participant !== except && this.isWaiting(participant)) return true;
    return false;
  }

  /**
   * Whether a participant may take the last free slot: not while it is the turn of another that waits. If the one with
   * the turn does not wait any more, clears the turn.
   *
   * Others that were refused in the meantime need not be woken for that: the caller goes on to take the slot (or
   * another participant was faster), and the release of the slot wakes them.
   */
  mayTakeLast(participant: number): boolean {
    const turn = Atomics.load(this.#words, this.#at.turn);
    if (turn === 0 || turn === participant + 1) return true;
    if (this.isWaiting(turn - 1)) return false;
    Atomics.compareExchange(this.#words, this.#at.turn, turn, 0);
    return true;
  }

  /**
   * Counts a release while somebody waits. After `patience` of them, the next gives the turn to the participant that
   * has waited longest, unless somebody still has the turn.
   */
  notePass(): void {
    if (Atomics.add(this.#words, this.#at.passes, 1) < patience) return;
    Atomics.store(this.#words, this.#at.passes, 0);
    let longest = -1;
    for (let participant = 0; participant < this.#limit; participant++)
      if (this.isWaiting(participant) && (longest === -1 || this.#stampOf(participant) < this.#stampOf(longest)))
        longest = participant;
    if (longest !== -1) Atomics.compareExchange(this.#words, this.#at.turn, 0, longest + 1);
  }

  /**
   * Ends a participant's turn, if it has the turn: it has got a slot, or stopped waiting. Returns whether it had the
   * turn; then the caller has to wake the others, which may have been refused.
   */
  end(participant: number): boolean {
    if (Atomics.load(this.#words, this.#at.turn) !== participant + 1) return false;
    // It wants more slots: a new stamp puts it after the others.
    if (this.isWaiting(participant)) this.setWaiting(participant, true);
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
