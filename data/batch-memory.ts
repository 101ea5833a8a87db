/**
 * Memory for batches, used again once nothing refers to a batch any more. Fresh memory for each costs more than the
 * augmentation: the system hands out zeroed pages, and Node collects garbage for every 64 MB of it.
 */

/** How many batches may be lent at a time: what bounds the memory. */
const most = 16

/** At so many lent ones the collector is called: shared memory, unlike other, never makes it look for garbage by itself. */
const callAt = 8

/** Bytes of other memory that make it start; they are never touched, so the system gives nothing for them. */
const calling = 80 * 2 ** 20

export class BatchMemory {
  readonly #least: number
  #free: Array<SharedArrayBuffer> = []
  #lent = 0
  readonly #collected = new FinalizationRegistry<SharedArrayBuffer>((memory) => {
    this.#lent--
    this.#free.push(memory)
  })

  /** A batch of less than `least` bytes takes fresh memory, which costs it less than looking for garbage does. */
  constructor(least = 8 * 2 ** 20) {
    this.#least = least
  }

  /**
   * Memory of so many bytes, of any content; undefined where the batch takes its own: it is small, or as much is lent as may be.
   */
  take(bytes: number): SharedArrayBuffer | undefined {
    if (bytes < this.#least) return undefined
    const free = this.#free.pop()
    if (free === undefined && this.#lent >= most) return undefined
    this.#lent++
    if (this.#lent === callAt) new ArrayBuffer(calling)
    return free?.byteLength === bytes ? free : new SharedArrayBuffer(bytes)
  }

  /** `batch` lies in the taken memory, by another buffer object, which all views of it refer to. Comes back when that is gone. */
  returnAfter(batch: ArrayBufferLike, memory: SharedArrayBuffer): void {
    this.#collected.register(batch, memory)
  }

  /** Taken memory that holds no batch and that a thread may still write: it is not used again. */
  drop(): void {
    this.#lent--
  }
}
