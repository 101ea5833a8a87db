/**
 * Memory for batches, used again once nothing refers to a batch any more. Fresh memory for each costs more than the
 * augmentation: the system hands out zeroed pages, and Node collects garbage for every 64 MB of it.
 */

/** How many bytes may be lent at a time: what bounds the memory. */
const mostBytes = 512 * 2 ** 20

/** Milliseconds after which memory that nobody took again goes back to the system. */
const idle = 5000

/** Bytes of other memory that make it start; they are never touched, so the system gives nothing for them. */
const calling = 80 * 2 ** 20

export class BatchMemory {
  readonly #most: number
  #free: Array<SharedArrayBuffer> = []
  #lent = 0
  #uncalled = 0
  #letGo: NodeJS.Timeout | undefined
  readonly #collected = new FinalizationRegistry<SharedArrayBuffer>((memory) => {
    this.drop(memory)
    this.#uncalled = Math.max(0, this.#uncalled - memory.byteLength)
    this.#free.push(memory)
    this.#letGo ??= setTimeout(() => {
      this.#free = []
      this.#letGo = undefined
    }, idle).unref()
    this.#letGo.refresh()
  })

  /** Lends up to `most` bytes. */
  constructor(most = mostBytes) {
    this.#most = most
  }

  /** Memory of so many bytes, of any content; undefined where as much is lent as may be, and the batch takes its own. */
  take(bytes: number): SharedArrayBuffer | undefined {
    if (this.#lent + bytes > this.#most) return undefined
    // Shared memory, unlike other, never makes the collector look for garbage by itself: it is called each time that
    // another half of what may be lent is lent and has not come back.
    this.#uncalled += bytes
    if (this.#uncalled >= this.#most / 2) {
      new ArrayBuffer(calling)
      this.#uncalled = 0
    }
    this.#lent += bytes
    const free = this.#free.pop()
    return free?.byteLength === bytes ? free : new SharedArrayBuffer(bytes)
  }

  /** `batch` lies in the taken memory, by another buffer object, which all views of it refer to. Comes back when that is gone. */
  returnAfter(batch: ArrayBufferLike, memory: SharedArrayBuffer): void {
    this.#collected.register(batch, memory)
  }

  /** Taken memory that holds no batch and that a thread may still write: it is not used again. */
  drop(memory: SharedArrayBuffer): void {
    this.#lent -= memory.byteLength
  }
}
